// y[t] = A[t] y[t-1] + b[t] from y[-1] = y0, for few states. Directions and transpositions are
// strides.
#include "tiles.cuh"
#include "walk.cuh"

namespace seqsolve {

template <typename T, int n, int threads>
__global__ void __launch_bounds__(threads) linear_recurrence_walk(
    const T* A, int64 A_step, int64 A_outer, int64 A_inner, int64 A_row, int64 A_column,
    const T* b, int64 b_step, int64 b_outer, int64 b_inner, int64 b_row,
    const T* y0, int64 y0_outer, int64 y0_inner, int64 y0_row, int has_initial,
    T* y, int64 y_step, int64 y_outer, int64 y_inner, int64 y_row,
    int64 n_steps, int64 n_lanes, int64 n_inner) {
    const Linear<T> task{{A, A_step, A_outer, A_inner, A_row, A_column},
                         {b, b_step, b_outer, b_inner, b_row},
                         {y0, 0, y0_outer, y0_inner, y0_row},
                         {y, y_step, y_outer, y_inner, y_row},
                         has_initial != 0};
    narrow_walk<Linear<T>, n, threads>(task, n_steps, n_lanes, n_inner);
}

template <typename T, int n, int lanes, int threads>
__global__ void __launch_bounds__(threads, blocks_of_tiles<T, n, threads>) linear_recurrence_tiles(
    const T* A, int64 A_step, int64 A_outer, int64 A_inner, int64 A_row, int64 A_column,
    const T* b, int64 b_step, int64 b_outer, int64 b_inner, int64 b_row,
    const T* y0, int64 y0_outer, int64 y0_inner, int64 y0_row, int has_initial,
    T* y, int64 y_step, int64 y_outer, int64 y_inner, int64 y_row,
    int64 n_steps, int64 n_lanes, int64 n_inner,
    int n_columns, int n_tiles, int reach, int* flags, Wide<T>* maps, Wide<T>* states) {
    const Linear<T> task{{A, A_step, A_outer, A_inner, A_row, A_column},
                         {b, b_step, b_outer, b_inner, b_row},
                         {y0, 0, y0_outer, y0_inner, y0_row},
                         {y, y_step, y_outer, y_inner, y_row},
                         has_initial != 0};
    const AffineBoard<Wide<T>, n, lanes> board(flags, maps, states, reach, n_columns, n_tiles, 1);
    narrow_tiles<Linear<T>, n, lanes, threads>(task, board, n_steps, n_lanes, n_inner, n_columns,
                                               n_tiles);
}

}  // namespace seqsolve
