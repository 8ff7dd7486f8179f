// The affine map v -> P v + q: what a run of steps does to the state before it.
#ifndef SEQSOLVE_AFFINE_CUH
#define SEQSOLVE_AFFINE_CUH

#include "device.cuh"
#include "scalar.cuh"

namespace seqsolve {

__device__ inline double shuffle_up(double a, int distance) {
    return __shfl_up_sync(full_warp, a, distance);
}

__device__ inline complex128 shuffle_up(complex128 a, int distance) {
    return {shuffle_up(a.re, distance), shuffle_up(a.im, distance)};
}

template <typename W, int n>
struct Affine {
    W P[n][n], q[n];

    __device__ void set_identity() {
#pragma unroll
        for (int row = 0; row < n; ++row) {
#pragma unroll
            for (int k = 0; k < n; ++k) P[row][k] = W(row == k ? 1.0 : 0.0);
            q[row] = W(0.0);
        }
    }

    // v = P v + q
    __device__ void apply(W (&v)[n]) const {
        W next[n];
#pragma unroll
        for (int row = 0; row < n; ++row) {
            W sum = q[row];
#pragma unroll
            for (int k = 0; k < n; ++k) sum = multiply_add(P[row][k], v[k], sum);
            next[row] = sum;
        }
#pragma unroll
        for (int row = 0; row < n; ++row) v[row] = next[row];
    }

    // Becomes this map after `earlier`.
    __device__ void compose_after(const Affine& earlier) {
#pragma unroll
        for (int row = 0; row < n; ++row) {
            W product[n], sum = q[row];
#pragma unroll
            for (int column = 0; column < n; ++column) {
                W entry = P[row][0] * earlier.P[0][column];
#pragma unroll
                for (int k = 1; k < n; ++k)
                    entry = multiply_add(P[row][k], earlier.P[k][column], entry);
                product[column] = entry;
            }
#pragma unroll
            for (int k = 0; k < n; ++k) sum = multiply_add(P[row][k], earlier.q[k], sum);
#pragma unroll
            for (int column = 0; column < n; ++column) P[row][column] = product[column];
            q[row] = sum;
        }
    }

    __device__ Affine shuffled_up(int distance) const {
        Affine other;
#pragma unroll
        for (int row = 0; row < n; ++row) {
#pragma unroll
            for (int k = 0; k < n; ++k) other.P[row][k] = shuffle_up(P[row][k], distance);
            other.q[row] = shuffle_up(q[row], distance);
        }
        return other;
    }
};

// Whether several maps fit a thread's registers besides much else. Loops over larger ones are not
// unrolled: the compiler would fetch ahead, and spill.
template <typename W, int n>
constexpr bool fits_unrolled = sizeof(Affine<W, n>) <= 64;

// Leaves in each lane the map of all chunks of its warp up to its own. Chunks of one sequence lie
// `stride` lanes apart.
template <int stride, typename W, int n>
__device__ inline void scan_warp(Affine<W, n>& map) {
    const int lane = threadIdx.x % warp_size;
#pragma unroll(fits_unrolled<W, n> ? 5 : 1)
    for (int distance = stride; distance < warp_size; distance *= 2) {
        const Affine<W, n> earlier = map.shuffled_up(distance);
        if (lane >= distance) map.compose_after(earlier);
    }
}

}  // namespace seqsolve

#endif
