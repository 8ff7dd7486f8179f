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
struct State {
    W v[n];
};

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

    // The state becomes P state + q.
    __device__ void apply(State<W, n>& state) const {
        W next[n];
#pragma unroll
        for (int row = 0; row < n; ++row) {
            W sum = q[row];
#pragma unroll
            for (int k = 0; k < n; ++k) sum = multiply_add(P[row][k], state.v[k], sum);
            next[row] = sum;
        }
#pragma unroll
        for (int row = 0; row < n; ++row) state.v[row] = next[row];
    }

    // Becomes `later` after this map.
    __device__ void extend(const Affine& later) {
        State<W, n> moved;
#pragma unroll
        for (int k = 0; k < n; ++k) moved.v[k] = q[k];
        later.apply(moved);
#pragma unroll
        for (int k = 0; k < n; ++k) q[k] = moved.v[k];
#pragma unroll
        for (int column = 0; column < n; ++column) {
            W product[n];
#pragma unroll
            for (int row = 0; row < n; ++row) {
                product[row] = later.P[row][0] * P[0][column];
#pragma unroll
                for (int k = 1; k < n; ++k)
                    product[row] = multiply_add(later.P[row][k], P[k][column], product[row]);
            }
#pragma unroll
            for (int row = 0; row < n; ++row) P[row][column] = product[row];
        }
    }

    // Becomes this map after that of the thread `distance` before, where it `follows` that.
    __device__ void follow(int distance, bool follows) {
        Affine before = shuffled_up(distance);
        if (!follows) return;
        before.extend(*this);
        *this = before;
    }

    // Becomes the map of the thread `distance` before; the identity, where that is `absent`.
    __device__ void take_from(int distance, bool absent) {
        *this = shuffled_up(distance);
        if (absent) set_identity();
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
template <typename Map>
constexpr bool fits_unrolled = sizeof(Map) <= 64;

// Leaves in each lane the map of all chunks of its warp up to its own. Chunks of one sequence lie
// `stride` lanes apart.
template <int stride, typename Map>
__device__ inline void scan_warp(Map& map) {
    const int lane = threadIdx.x % warp_size;
#pragma unroll(fits_unrolled<Map> ? 5 : 1)
    for (int distance = stride; distance < warp_size; distance *= 2)
        map.follow(distance, lane >= distance);
}

}  // namespace seqsolve

#endif
