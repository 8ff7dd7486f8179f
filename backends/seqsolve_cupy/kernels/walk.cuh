// Recurrences of few states, where there are many: a thread owns one and walks it, run by run.
//
// A run of adjacent steps is in registers, and the next is loaded before the present one is stepped
// through, so that there are always loads under way. Products are formed in double precision.
#ifndef SEQSOLVE_WALK_CUH
#define SEQSOLVE_WALK_CUH

#include "tasks.cuh"

namespace seqsolve {

__device__ constexpr int clamp_length(int length) { return length < 1 ? 1 : length > 8 ? 8 : length; }

// Steps that a thread holds, twice: the matrices take at most 16 registers, unless one alone takes
// more.
template <typename T, int n>
constexpr int run_length = clamp_length(64 / int(n * n * sizeof(T)));

template <typename Task, int n>
struct Run {
    using T = typename Task::T;
    using W = typename Task::W;
    static constexpr int length = run_length<T, n>;

    int end;  // the steps that exist
    T A[length][n * n];
    typename Task::Row rows[length][n];

    __device__ void load(const Task& task, int64 t, int64 n_steps) {
        const int64 left = n_steps - t;
        end = left < 0 ? 0 : left < length ? int(left) : length;
        if constexpr (n == 1) {
            T entries[length];
            load_run(task.A.at(t), task.A.step, end, entries);
#pragma unroll
            for (int k = 0; k < length; ++k) A[k][0] = entries[k];
        } else {
#pragma unroll
            for (int k = 0; k < length; ++k)
                if (k < end) task.A.template load<n>(t + k, A[k]);
        }
        load_vectors<0>(task, t);
        if constexpr (Task::n_vectors > 1) load_vectors<1>(task, t);
    }

    template <int which>
    __device__ void load_vectors(const Task& task, int64 t) {
        const auto vectors = task.template vectors<which>();
        if constexpr (n == 1) {
            T run[length];
            load_run(vectors.at(t), vectors.step, end, run);
#pragma unroll
            for (int k = 0; k < length; ++k) Task::template set<which>(rows[k][0], run[k]);
        } else {
#pragma unroll
            for (int k = 0; k < length; ++k) {
                if (k >= end) continue;
                T items[n];
                load_run(vectors.at(t + k), vectors.row, n, items);
#pragma unroll
                for (int row = 0; row < n; ++row) Task::template set<which>(rows[k][row], items[row]);
            }
        }
    }

    __device__ W product(int k, int row, const W (&v)[n]) const {
        W sum = W(A[k][row * n]) * v[0];
#pragma unroll
        for (int j = 1; j < n; ++j) sum = multiply_add(W(A[k][row * n + j]), v[j], sum);
        return sum;
    }

    // Steps through the run from the state before it, and writes the results. With `starts`, the
    // first matrix is not used.
    __device__ void finish(const Task& task, int64 t, bool starts, W (&v)[n]) const {
        T results[length][n];
#pragma unroll
        for (int k = 0; k < length; ++k) {
            if (k >= end) continue;
            W next[n];
#pragma unroll
            for (int row = 0; row < n; ++row) {
                const W moved = starts && k == 0 ? W(0.0) : product(k, row, v);
                results[k][row] = Task::result(rows[k][row], moved);
                next[row] = moved + Task::right_side(rows[k][row]);
            }
#pragma unroll
            for (int row = 0; row < n; ++row) v[row] = next[row];
        }
        if constexpr (n == 1) {
            T run[length];
#pragma unroll
            for (int k = 0; k < length; ++k) run[k] = results[k][0];
            store_run(task.y.at(t), task.y.step, end, run);
        } else {
#pragma unroll
            for (int k = 0; k < length; ++k)
                if (k < end) store_run(task.y.at(t + k), task.y.row, n, results[k]);
        }
    }
};

template <typename Task, int n, int threads>
__device__ inline void narrow_walk(const Task& all, int64 n_steps, int64 n_lanes, int64 n_inner) {
    using W = typename Task::W;
    constexpr int length = Run<Task, n>::length;

    const int64 lane = int64(blockIdx.x) * threads + threadIdx.x;
    if (lane >= n_lanes) return;
    const Task task = all.of({lane / n_inner, lane % n_inner});
    W v[n];
#pragma unroll
    for (int row = 0; row < n; ++row) v[row] = task.initial(row);
    Run<Task, n> run, next;
    run.load(task, 0, n_steps);
    for (int64 t = 0; t < n_steps; t += length) {
        next.load(task, t + length, n_steps);
        run.finish(task, t, t == 0 && !all.has_initial, v);
        run = next;
    }
}

}  // namespace seqsolve

#endif
