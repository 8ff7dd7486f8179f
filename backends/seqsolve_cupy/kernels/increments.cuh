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

    // Becomes `later` after this link; `later` may lie in memory.
    __device__ void extend(const Link& later) {
        advance(&later.P[0][0], later.q, q);
        if (progress != solved) {
            advance(&later.P[0][0], later.q, s);
        } else {
#pragma unroll
            for (int i = 0; i < n; ++i) s[i] = later.s[i];
            progress = later.progress;
        }
#pragma unroll
        for (int j = 0; j < width; ++j) {
            double column[n], none[n];
#pragma unroll
            for (int i = 0; i < n; ++i) column[i] = P[i][j], none[i] = 0;
            advance(&later.P[0][0], none, column);
#pragma unroll
            for (int i = 0; i < n; ++i) P[i][j] = column[i];
        }
    }

    // Becomes this link after that of the thread `distance` before, where it `follows` that; column
    // by column, since two links at a time do not fit the registers.
    __device__ void follow(int distance, bool follows) {
        const double before = shuffle_up(progress, distance);
        double product[n][width], moved[n], begun[n];
#pragma unroll
        for (int i = 0; i < n; ++i) {
            moved[i] = shuffle_up(q[i], distance);
            begun[i] = shuffle_up(s[i], distance);
        }
        advance(&P[0][0], q, begun);
        if (follows && before != solved) {
#pragma unroll
            for (int i = 0; i < n; ++i) s[i] = begun[i];
            progress = before;
        }
        advance(&P[0][0], q, moved);
#pragma unroll
        for (int j = 0; j < width; ++j) {
            double column[n], none[n];
#pragma unroll
            for (int i = 0; i < n; ++i) column[i] = shuffle_up(P[i][j], distance), none[i] = 0;
            advance(&P[0][0], none, column);
#pragma unroll
            for (int i = 0; i < n; ++i) product[i][j] = column[i];
        }
        if (!follows) return;
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

    // Becomes the link of the thread `distance` before; none, where that is `absent`.
    __device__ void take_from(int distance, bool absent) {
#pragma unroll
        for (int i = 0; i < n; ++i) {
#pragma unroll
            for (int j = 0; j < width; ++j) P[i][j] = shuffle_up(P[i][j], distance);
            q[i] = shuffle_up(q[i], distance);
            s[i] = shuffle_up(s[i], distance);
        }
        progress = shuffle_up(progress, distance);
        if (absent) set_identity();
    }
};

}  // namespace seqsolve

#endif
