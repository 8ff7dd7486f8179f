// Block-bidiagonal systems y[t] - A[t] y[t-1] = b[t] by cyclic reduction.
//
// A block solves one segment of some sequences. The segment is cut into chunks, as many as the
// block has room for. Each chunk is eliminated: its last state is P y + q of the state before it.
// The chunks' ends are a bidiagonal system again; it is solved in log2(chunks) rounds, in each of
// which every chunk absorbs the one `distance` before it. Then every chunk is stepped through from
// its known start. A chunk belongs to n + 1 threads: one for each column of P, and one for q.
#include "access.cuh"

namespace seqsolve {

// One sequence: matrices and right-hand sides anywhere in memory, computed with in wider numbers.
template <typename T, int n>
struct Sequence {
    const T *A, *b;
    int64 A_step, A_row, A_column, b_step, b_row;

    __device__ Wide<T> matrix(int64 t, int row, int column) const {
        return Wide<T>(A[t * A_step + row * A_row + column * A_column]);
    }

    __device__ Wide<T> right_side(int64 t, int row) const {
        return Wide<T>(b[t * b_step + row * b_row]);
    }

    // Advances a column of [P, q] by a step; only q receives b.
    __device__ void advance(int64 t, bool is_q, Wide<T> (&v)[n]) const {
        Wide<T> next[n];
#pragma unroll
        for (int row = 0; row < n; ++row) {
            Wide<T> sum = is_q ? right_side(t, row) : Wide<T>(0);
#pragma unroll
            for (int k = 0; k < n; ++k) sum = multiply_add(matrix(t, row, k), v[k], sum);
            next[row] = sum;
        }
#pragma unroll
        for (int row = 0; row < n; ++row) v[row] = next[row];
    }
};

// Strides count elements. `lanes` adjacent sequences share a block, on adjacent threads.
// `starts`, (n_segments, n_sequences, n), holds the states before the segments; the first is
// read only if there is an initial state, and without it A[0] is not read. With `ends_only`,
// writes each segment's P and q, the coefficients of the system of segments; else the states.
template <typename T, int n, bool ends_only>
__global__ void __launch_bounds__(256) cyclic_reduction(
    const T* A, int64 A_step, int64 A_sequence, int64 A_row, int64 A_column,
    const T* b, int64 b_step, int64 b_sequence, int64 b_row,
    T* y, int64 y_step, int64 y_sequence, int64 y_row,
    const Wide<T>* starts, int has_initial, Wide<T>* P_out, Wide<T>* q_out,
    int64 n_steps, int64 n_sequences, int64 segment_steps, int64 chunk_steps,
    int n_chunks, int lanes) {
    using W = Wide<T>;
    constexpr int columns = n + 1;
    extern __shared__ Sixteen memory[];
    W* ends = reinterpret_cast<W*>(memory);  // (n_chunks, columns, n, lanes)

    const int lane = threadIdx.x % lanes, column = threadIdx.x / lanes % columns;
    const int chunk = threadIdx.x / lanes / columns;
    const int64 groups = (n_sequences + lanes - 1) / lanes;
    const int64 sequence = blockIdx.x % groups * lanes + lane;
    const int64 segment = blockIdx.x / groups;
    const bool in_use = chunk < n_chunks && sequence < n_sequences, is_q = column == n;

    const int64 segment_begin = segment * segment_steps;
    const int64 segment_end = min(segment_begin + segment_steps, n_steps);
    const int64 begin = min(segment_begin + chunk * chunk_steps, segment_end);
    const int64 end = min(begin + chunk_steps, segment_end);
    const bool begins_sequence = segment == 0 && chunk == 0;
    const bool known_start = chunk == 0 && (segment == 0 || !ends_only);
    const bool has_start = known_start && (segment > 0 || has_initial);

    const Sequence<T, n> system{A + (in_use ? sequence * A_sequence : 0),
                                b + (in_use ? sequence * b_sequence : 0),
                                A_step, A_row, A_column, b_step, b_row};
    const W* start = starts + (has_start && in_use ? segment * n_sequences + sequence : 0) * n;
    W v[n];
#pragma unroll
    for (int row = 0; row < n; ++row) {
        v[row] = W(row == column && !known_start ? 1 : 0);
        if (is_q && has_start && in_use) v[row] = start[row];
    }
    if (in_use && (is_q || !known_start)) {
        int64 t = begin;
        if (begins_sequence && !has_initial) {
#pragma unroll
            for (int row = 0; row < n; ++row) v[row] = system.right_side(t, row);
            ++t;
        }
        for (; t < end; ++t) system.advance(t, is_q, v);
    }

    auto element = [&](int of_chunk, int of_column, int row) -> W& {
        return ends[((of_chunk * columns + of_column) * n + row) * lanes + lane];
    };
    if (chunk < n_chunks) {
#pragma unroll
        for (int row = 0; row < n; ++row) element(chunk, column, row) = v[row];
    }
    __syncthreads();
    for (int distance = 1; distance < n_chunks; distance *= 2) {
        if (chunk < n_chunks && chunk >= distance) {
#pragma unroll
            for (int row = 0; row < n; ++row) {
                W sum = is_q ? v[row] : W(0);
#pragma unroll
                for (int k = 0; k < n; ++k)
                    sum = multiply_add(element(chunk, k, row),
                                       element(chunk - distance, column, k), sum);
                v[row] = sum;
            }
        }
        __syncthreads();
        if (chunk < n_chunks && chunk >= distance) {
#pragma unroll
            for (int row = 0; row < n; ++row) element(chunk, column, row) = v[row];
        }
        __syncthreads();
    }

    if (!in_use) return;
    if (ends_only) {
        if (chunk < n_chunks - 1) return;
        const int64 at = segment * n_sequences + sequence;
#pragma unroll
        for (int row = 0; row < n; ++row) {
            if (is_q)
                q_out[at * n + row] = v[row];
            else
                P_out[(at * n + row) * n + column] = v[row];
        }
        return;
    }
    if (is_q) return;
#pragma unroll
    for (int row = 0; row < n; ++row)
        v[row] = chunk > 0 ? element(chunk - 1, n, row) : has_start ? start[row] : W(0);
    for (int64 t = begin; t < end; ++t) {
        if (t == 0 && !has_initial) {
#pragma unroll
            for (int row = 0; row < n; ++row) v[row] = system.right_side(t, row);
        } else {
            system.advance(t, true, v);
        }
#pragma unroll
        for (int row = 0; row < n; ++row)
            if (row == column) y[t * y_step + sequence * y_sequence + row * y_row] = T(v[row]);
    }
}

}  // namespace seqsolve
