// y[t] = A[t] y[t-1] + b[t] from y[-1] = y0, for more states. Directions and transpositions are
// strides.
#include "wide.cuh"

namespace seqsolve {

template <typename T, int n, int threads>
__global__ void __launch_bounds__(threads) linear_recurrence_steps(
    const T* A, int64 A_step, int64 A_outer, int64 A_inner, int64 A_row, int64 A_column,
    const T* b, int64 b_step, int64 b_outer, int64 b_inner, int64 b_row,
    const T* y0, int64 y0_outer, int64 y0_inner, int64 y0_row, int has_initial,
    T* y, int64 y_step, int64 y_outer, int64 y_inner, int64 y_row,
    int64 n_steps, int64 chunk_steps, int64 n_chunks, int64 n_batch, const Wide<T>* ends) {
    const Linear<T> task{{A, A_step, A_outer, A_inner, A_row, A_column},
                         {b, b_step, b_outer, b_inner, b_row},
                         {y0, 0, y0_outer, y0_inner, y0_row},
                         {y, y_step, y_outer, y_inner, y_row},
                         has_initial != 0};
    wide_steps<Linear<T>, n, threads>(task, ends, n_steps, chunk_steps, n_chunks, n_batch);
}

template <typename T, int n>
__global__ void __launch_bounds__(threads_of_map<n>) linear_recurrence_map(
    const T* A, int64 A_step, int64 A_outer, int64 A_inner, int64 A_row, int64 A_column,
    const T* b, int64 b_step, int64 b_outer, int64 b_inner, int64 b_row,
    const T* y0, int64 y0_outer, int64 y0_inner, int64 y0_row, int has_initial,
    T* y, int64 y_step, int64 y_outer, int64 y_inner, int64 y_row,
    int64 chunk_steps, int64 n_batch, Wide<T>* P, Wide<T>* q) {
    const Linear<T> task{{A, A_step, A_outer, A_inner, A_row, A_column},
                         {b, b_step, b_outer, b_inner, b_row},
                         {y0, 0, y0_outer, y0_inner, y0_row},
                         {y, y_step, y_outer, y_inner, y_row},
                         has_initial != 0};
    wide_map<Linear<T>, n>(task, P, q, chunk_steps, n_batch);
}

}  // namespace seqsolve
