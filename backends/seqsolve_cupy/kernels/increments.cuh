// Increments of Newton's method from a first iterate that need not meet the tolerance anywhere.
//
// Up to the first step that fails the test nothing changes: the increments are zero. That step
// takes the value of the step function, and every later one d[t] = A[t] d[t-1] + f[t] - y[t]. A run
// of steps is therefore an affine map where a step before it has failed, and else what its own first
// failing step begins. Both compose, so tests and increments are one scan.
#ifndef SEQSOLVE_INCREMENTS_CUH
#define SEQSOLVE_INCREMENTS_CUH

#include "affine.cuh"

namespace seqsolve {

// What has happened up to a step. `held`: a step failed that no update can change, or none may be
// made: everything stays as it is.
enum Progress { solved = 0, failed = 1, held = 2 };

template <int n>
struct Increment {
    double v[n];
    double progress;
};

// Of matrices whose rows store `width` entries: those of the row's block.
template <int n, int width>
struct Link {
    double P[n][width], q[n];  // the map of an increment before
    double s[n];               // the increment where the first failing step is one of these
    double progress;           // of these steps alone

    __device__ void set_identity() {
#pragma unroll
        for (int i = 0; i < n; ++i) {
#pragma unroll
            for (int j = 0; j < width; ++j) P[i][j] = i % width == j;
            q[i] = s[i] = 0;
        }
        progress = solved;
    }

    // A v + d, for rows A[i * width + j].
    template <typename T>
    __device__ static void advance(const T* A, const double (&d)[n], double (&v)[n]) {
        double next[n];
#pragma unroll
        for (int i = 0; i < n; ++i) {
            next[i] = d[i];
#pragma unroll
            for (int j = 0; j < width; ++j)
                next[i] = multiply_add(double(A[i * width + j]), v[i - i % width + j], next[i]);
        }
#pragma unroll
        for (int i = 0; i < n; ++i) v[i] = next[i];
    }

    // Takes one step more.
    template <typename T>
    __device__ void append(const T* A, const double (&d)[n], double how) {
#pragma unroll
        for (int j = 0; j < width; ++j) {
            double column[n], none[n];
#pragma unroll
            for (int i = 0; i < n; ++i) column[i] = P[i][j], none[i] = 0;
            advance(A, none, column);
#pragma unroll
            for (int i = 0; i < n; ++i) P[i][j] = column[i];
        }
        advance(A, d, q);
        if (progress != solved) {
            advance(A, d, s);
        } else if (how != solved) {
#pragma unroll
            for (int i = 0; i < n; ++i) s[i] = d[i];
            progress = how;
        }
    }

    // Becomes this link after `earlier`.
    __device__ void compose_after(const Link& earlier) {
        if (earlier.progress != solved) {
#pragma unroll
            for (int i = 0; i < n; ++i) s[i] = earlier.s[i];
            advance(&P[0][0], q, s);
            progress = earlier.progress;
        }
        double moved[n], product[n][width];
#pragma unroll
        for (int i = 0; i < n; ++i) moved[i] = earlier.q[i];
        advance(&P[0][0], q, moved);
#pragma unroll
        for (int i = 0; i < n; ++i)
#pragma unroll
            for (int j = 0; j < width; ++j) {
                double sum = P[i][0] * earlier.P[i - i % width][j];
#pragma unroll
                for (int k = 1; k < width; ++k)
                    sum = multiply_add(P[i][k], earlier.P[i - i % width + k][j], sum);
                product[i][j] = sum;
            }
#pragma unroll
        for (int i = 0; i < n; ++i) {
            q[i] = moved[i];
#pragma unroll
            for (int j = 0; j < width; ++j) P[i][j] = product[i][j];
        }
    }

    __device__ void apply(Increment<n>& before) const {
        if (before.progress != solved) {
            advance(&P[0][0], q, before.v);
        } else {
#pragma unroll
            for (int i = 0; i < n; ++i) before.v[i] = s[i];
            before.progress = progress;
        }
    }

    __device__ Link shuffled_up(int distance) const {
        Link other;
#pragma unroll
        for (int i = 0; i < n; ++i) {
#pragma unroll
            for (int j = 0; j < width; ++j) other.P[i][j] = shuffle_up(P[i][j], distance);
            other.q[i] = shuffle_up(q[i], distance);
            other.s[i] = shuffle_up(s[i], distance);
        }
        other.progress = shuffle_up(progress, distance);
        return other;
    }
};

// Scans the threads' links within warps. Each becomes that of the runs before it in its warp; the
// warps' totals go to shared memory. `Shape` says how threads share a tile.
template <typename Shape, typename Item, int lanes>
__device__ inline void scan_links(Item& link, Item (&totals)[Shape::rows][lanes]) {
    const int place = threadIdx.x % warp_size;
#pragma unroll
    for (int distance = lanes; distance < warp_size; distance *= 2) {
        const Item earlier = link.shuffled_up(distance);
        if (place >= distance) link.compose_after(earlier);
    }
    if (Shape::is_last_of_warp()) totals[Shape::row()][Shape::lane()] = link;
    link = link.shuffled_up(lanes);
    if (Shape::is_first_of_warp()) link.set_identity();
}

}  // namespace seqsolve

#endif
