// y[t] becomes f[t] + A[t] d[t-1] with the increments d[t] = f[t] - y[t] + A[t] d[t-1], for few
// states. A[0] is not read.
#include "tiles.cuh"
#include "walk.cuh"

namespace seqsolve {

template <typename T, int n, int threads>
__global__ void __launch_bounds__(threads) newton_update_walk(
    const T* A, int64 A_step, int64 A_outer, int64 A_inner, int64 A_row, int64 A_column,
    const T* f, int64 f_step, int64 f_outer, int64 f_inner, int64 f_row,
    T* y, int64 y_step, int64 y_outer, int64 y_inner, int64 y_row,
    int64 n_steps, int64 n_lanes, int64 n_inner) {
    const Newton<T> task{{A, A_step, A_outer, A_inner, A_row, A_column},
                         {f, f_step, f_outer, f_inner, f_row},
                         {y, y_step, y_outer, y_inner, y_row}};
    narrow_walk<Newton<T>, n, threads>(task, n_steps, n_lanes, n_inner);
}

template <typename T, int n, int lanes, int threads>
__global__ void __launch_bounds__(threads, blocks_of_tiles<T, n, threads>) newton_update_tiles(
    const T* A, int64 A_step, int64 A_outer, int64 A_inner, int64 A_row, int64 A_column,
    const T* f, int64 f_step, int64 f_outer, int64 f_inner, int64 f_row,
    T* y, int64 y_step, int64 y_outer, int64 y_inner, int64 y_row,
    int64 n_steps, int64 n_lanes, int64 n_inner,
    int n_columns, int n_tiles, int reach, int* flags, Wide<T>* maps, Wide<T>* states) {
    const Newton<T> task{{A, A_step, A_outer, A_inner, A_row, A_column},
                         {f, f_step, f_outer, f_inner, f_row},
                         {y, y_step, y_outer, y_inner, y_row}};
    const AffineBoard<Wide<T>, n, lanes> board(flags, maps, states, reach, n_columns, n_tiles, 1);
    narrow_tiles<Newton<T>, n, lanes, threads>(task, board, n_steps, n_lanes, n_inner, n_columns,
                                               n_tiles);
}

}  // namespace seqsolve
