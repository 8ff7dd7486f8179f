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
            typename Task::Row items[length];
            task.load_run(t, end, items);
#pragma unroll
            for (int k = 0; k < length; ++k) rows[k][0] = items[k];
        } else {
#pragma unroll
            for (int k = 0; k < length; ++k) {
                if (k >= end) continue;
                task.A.template load<n>(t + k, A[k]);
#pragma unroll
                for (int row = 0; row < n; ++row) task.load(t + k, row, rows[k][row]);
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
#pragma unroll
                for (int row = 0; row < n; ++row)
                    if (k < end) task.y.at(t + k)[row * task.y.row] = results[k][row];
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
