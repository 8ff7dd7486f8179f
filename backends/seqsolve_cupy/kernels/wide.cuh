// Recurrences of more states: a group of threads owns a sequence, or a chunk of one.
//
// `wide_steps` steps through time, a thread for each row of the matrix; the state is in shared
// memory. Where there are too few sequences to fill the device, they are cut into chunks:
// `wide_map` composes each chunk into an affine map, a thread for each column; the states between
// the chunks are a recurrence of their own, which is stepped through; then all chunks are stepped
// through at once. That reads the matrices twice.
#ifndef SEQSOLVE_WIDE_CUH
#define SEQSOLVE_WIDE_CUH

#include "device.cuh"
#include "tasks.cuh"

namespace seqsolve {

template <int n>
constexpr int group_of = n <= 4 ? 4 : n <= 8 ? 8 : n <= 16 ? 16 : n <= 32 ? 32 : 64;

// `ends` holds the states after the chunks but the last, (n_chunks - 1, n_batch, n).
template <typename Task, int n, int threads>
__device__ inline void wide_steps(const Task& all, const typename Task::W* ends, int64 n_steps,
                                  int64 chunk_steps, int64 n_chunks, int64 n_batch) {
    using T = typename Task::T;
    using W = typename Task::W;
    constexpr int group = group_of<n>, groups = threads / group;
    // Entries of a row in registers: of several steps, or a piece of one, at most 64 registers.
    constexpr int capacity = 256 / int(sizeof(T));
    constexpr int piece = n < capacity ? n : capacity;
    constexpr int ahead = capacity / piece < 8 ? capacity / piece : 8;
    static_assert(threads % group == 0, "whole groups");
    __shared__ W states[2][groups][n];

    const int own = threadIdx.x / group, row = threadIdx.x % group;
    const int64 item = int64(blockIdx.x) * groups + own;
    const int64 chunk = item / n_batch, sequence = item % n_batch;
    const bool in_use = chunk < n_chunks && row < n;
    const Task task = in_use ? all.of({sequence, 0}) : all;
    const int64 begin = chunk * chunk_steps;

    W v = W(0.0);
    if (in_use) {
        v = chunk > 0 ? ends[((chunk - 1) * n_batch + sequence) * n + row] : task.initial(row);
        states[0][own][row] = v;
    }
    const auto rendezvous = [] {
        if constexpr (group <= warp_size)
            __syncwarp();
        else
            __syncthreads();
    };
    rendezvous();
    int current = 0;
    for (int64 step = 0; step < chunk_steps; step += ahead) {
        T entries[ahead][piece];
        typename Task::Row items[ahead];
#pragma unroll
        for (int j = 0; j < ahead; ++j) {
            const int64 t = begin + step + j;
            if (!in_use || step + j >= chunk_steps || t >= n_steps) continue;
            if (t > 0 || task.has_initial)
                load_run(task.A.at(t) + row * task.A.row, task.A.column, piece, entries[j]);
            task.load(t, row, items[j]);
        }
#pragma unroll
        for (int j = 0; j < ahead; ++j) {
            const int64 t = begin + step + j;
            if (in_use && step + j < chunk_steps && t < n_steps) {
                W moved = W(0.0);
                if (t > 0 || task.has_initial) {
                    const W* state = states[current][own];
#pragma unroll
                    for (int k = 0; k < piece; ++k)
                        moved = multiply_add(W(entries[j][k]), state[k], moved);
                    for (int first = piece; first < n; first += piece) {
                        const int count = n - first < piece ? n - first : piece;
                        load_run(task.A.at(t) + row * task.A.row + first * task.A.column,
                                 task.A.column, count, entries[j]);
#pragma unroll
                        for (int k = 0; k < piece; ++k)
                            if (k < count)
                                moved = multiply_add(W(entries[j][k]), state[first + k], moved);
                    }
                }
                task.y.at(t)[row * task.y.row] = Task::result(items[j], moved);
                v = moved + Task::right_side(items[j]);
                states[current ^ 1][own][row] = v;
            }
            current ^= 1;
            rendezvous();
        }
    }
}

// Threads that share a column of a chunk's map.
template <int n>
constexpr int parts_of = n <= 16 ? 1 : n <= 32 ? 2 : 4;

template <int n>
constexpr int threads_of_map = ((n + 1) * parts_of<n> + 31) / 32 * 32;

// A block composes one chunk: P of (n_chunks - 1, n_batch, n, n) and q of (n_chunks - 1, n_batch,
// n). Shared memory holds a matrix and the next columns, n (2 n + 1) numbers.
template <typename Task, int n>
__device__ inline void wide_map(const Task& all, typename Task::W* P, typename Task::W* q,
                                int64 chunk_steps, int64 n_batch) {
    using W = typename Task::W;
    constexpr int columns = n + 1, parts = parts_of<n>;
    extern __shared__ Sixteen memory[];
    W* matrix = reinterpret_cast<W*>(memory);
    W* next = matrix + n * n;

    const int column = threadIdx.x % columns, part = threadIdx.x / columns;
    const bool in_use = part < parts, is_q = column == n;
    const int64 chunk = blockIdx.x / n_batch, sequence = blockIdx.x % n_batch;
    const Task task = all.of({sequence, 0});
    const bool by_columns = task.A.row == 1;

    W v[n];
#pragma unroll
    for (int row = 0; row < n; ++row) v[row] = W(row == column ? 1.0 : 0.0);
    for (int64 t = chunk * chunk_steps; t < (chunk + 1) * chunk_steps; ++t) {
        const bool moves = t > 0 || task.has_initial;
        for (int i = threadIdx.x; i < n * n; i += threads_of_map<n>) {
            const int row = by_columns ? i % n : i / n, k = by_columns ? i / n : i % n;
            matrix[row * n + k] =
                moves ? W(task.A.at(t)[row * task.A.row + k * task.A.column]) : W(0.0);
        }
        __syncthreads();
        if (in_use) {
            for (int row = part; row < n; row += parts) {
                W sum = W(0.0);
                if (is_q) {
                    typename Task::Row item;
                    task.load(t, row, item);
                    sum = Task::right_side(item);
                }
#pragma unroll
                for (int k = 0; k < n; ++k) sum = multiply_add(matrix[row * n + k], v[k], sum);
                next[row * columns + column] = sum;
            }
        }
        __syncthreads();
        if (in_use) {
#pragma unroll
            for (int row = 0; row < n; ++row) v[row] = next[row * columns + column];
        }
    }
    if (part == 0) {
        const int64 slot = chunk * n_batch + sequence;
        for (int row = 0; row < n; ++row) {
            const W entry = next[row * columns + column];
            if (is_q)
                q[slot * n + row] = entry;
            else
                P[(slot * n + row) * n + column] = entry;
        }
    }
}

}  // namespace seqsolve

#endif
