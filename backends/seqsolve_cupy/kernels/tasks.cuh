// What is solved: v[t] = A[t] v[t-1] + r[t] from v[-1] = v0 (zero, and A[0] unread, if there is
// none), and what is written for it.
#ifndef SEQSOLVE_TASKS_CUH
#define SEQSOLVE_TASKS_CUH

#include "access.cuh"

namespace seqsolve {

__device__ inline bool is_finite(double a) { return a - a == 0; }
__device__ inline bool is_finite(complex128 a) { return is_finite(a.re) && is_finite(a.im); }

template <typename T>
struct Limits;

// The square root of the largest number.
template <>
struct Limits<float> {
    static constexpr double root = 0x1.fffffep+63;
};

template <>
struct Limits<double> {
    static constexpr double root = 0x1.fffffffffffffp+511;
};

template <typename Real>
__device__ inline bool within_root(Real a) {
    return (a < 0 ? -a : a) <= Limits<Real>::root;  // false for NaN
}

template <typename Real>
__device__ inline bool within_root(Complex<Real> a) {
    if (!within_root(a.re) || !within_root(a.im)) return false;
    const double re = a.re / Limits<Real>::root, im = a.im / Limits<Real>::root;
    return re * re + im * im <= 1;
}

// The recurrence itself: r is b, and v is written.
template <typename T_>
struct Linear {
    using T = T_;
    using W = Wide<T>;
    struct Row {
        T b;
    };
    static constexpr int n_vectors = 1;  // that a row is made of

    Matrices<T> A;
    Vectors<const T> b;
    Vectors<const T> v0;
    Vectors<T> y;
    bool has_initial;

    __device__ Linear of(Lane lane) const {
        return {A.of(lane), b.of(lane), v0.of(lane), y.of(lane), has_initial};
    }
    __device__ W initial(int row) const { return has_initial ? W(v0.data[row * v0.row]) : W(0.0); }
    __device__ void load(int64 t, int row, Row& item) const { item.b = b.at(t)[row * b.row]; }

    template <int>
    __device__ Vectors<const T> vectors() const { return b; }
    template <int>
    __device__ static void set(Row& item, T value) { item.b = value; }

    __device__ static W right_side(const Row& item) { return W(item.b); }
    __device__ static T result(const Row& item, W product) { return T(product + W(item.b)); }
};

// Newton's update: v is the increment of the iterate y, r[t] = f[t] - y[t], and y[t] becomes
// f[t] + A[t] v[t-1], repaired. The increment is kept as it was before that repair.
template <typename T_>
struct Newton {
    using T = T_;
    using W = Wide<T>;
    struct Row {
        T f, y;
    };
    static constexpr int n_vectors = 2;

    static constexpr bool has_initial = false;

    Matrices<T> A;
    Vectors<const T> f;
    Vectors<T> y;

    __device__ Newton of(Lane lane) const { return {A.of(lane), f.of(lane), y.of(lane)}; }
    __device__ W initial(int) const { return W(0.0); }
    __device__ void load(int64 t, int row, Row& item) const {
        item.f = f.at(t)[row * f.row];
        item.y = y.at(t)[row * y.row];
    }

    template <int which>
    __device__ Vectors<const T> vectors() const {
        if constexpr (which == 0)
            return f;
        else
            return {y.data, y.step, y.outer, y.inner, y.row};
    }
    template <int which>
    __device__ static void set(Row& item, T value) { (which == 0 ? item.f : item.y) = value; }

    __device__ static W right_side(const Row& item) { return W(item.f) - W(item.y); }
    __device__ static T result(const Row& item, W product) {
        const T updated = T(W(item.f) + product);
        if (within_root(updated)) return updated;
        return is_finite(W(item.f)) ? item.f : item.y;
    }
};

}  // namespace seqsolve

#endif
