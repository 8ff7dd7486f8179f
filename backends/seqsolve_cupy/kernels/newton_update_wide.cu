// y[t] becomes f[t] + A[t] d[t-1] with the increments d[t] = f[t] - y[t] + A[t] d[t-1], for more
// states. A[0] is not read.
#include "wide.cuh"

namespace seqsolve {

template <typename T, int n, int threads>
__global__ void __launch_bounds__(threads) newton_update_steps(
    const T* A, int64 A_step, int64 A_outer, int64 A_inner, int64 A_row, int64 A_column,
    const T* f, int64 f_step, int64 f_outer, int64 f_inner, int64 f_row,
    T* y, int64 y_step, int64 y_outer, int64 y_inner, int64 y_row,
    int64 n_steps, int64 chunk_steps, int64 n_chunks, int64 n_batch, const Wide<T>* ends) {
    const Newton<T> task{{A, A_step, A_outer, A_inner, A_row, A_column},
                         {f, f_step, f_outer, f_inner, f_row},
                         {y, y_step, y_outer, y_inner, y_row}};
    wide_steps<Newton<T>, n, threads>(task, ends, n_steps, chunk_steps, n_chunks, n_batch);
}

template <typename T, int n>
__global__ void __launch_bounds__(threads_of_map<n>) newton_update_map(
    const T* A, int64 A_step, int64 A_outer, int64 A_inner, int64 A_row, int64 A_column,
    const T* f, int64 f_step, int64 f_outer, int64 f_inner, int64 f_row,
    T* y, int64 y_step, int64 y_outer, int64 y_inner, int64 y_row,
    int64 chunk_steps, int64 n_batch, Wide<T>* P, Wide<T>* q) {
    const Newton<T> task{{A, A_step, A_outer, A_inner, A_row, A_column},
                         {f, f_step, f_outer, f_inner, f_row},
                         {y, y_step, y_outer, y_inner, y_row}};
    wide_map<Newton<T>, n>(task, P, q, chunk_steps, n_batch);
}

}  // namespace seqsolve
