// What translated functions are made of: arrays, tuples, and Python's operators and functions of
// numbers where C++ has others.
#ifndef SEQSOLVE_ELEMENT_CUH
#define SEQSOLVE_ELEMENT_CUH

#include "scalar.cuh"

namespace seqsolve {

// Beside those of complex numbers, below.
using ::cos;
using ::cosh;
using ::exp;
using ::log;
using ::sin;
using ::sinh;
using ::sqrt;
using ::tan;
using ::tanh;

namespace element {

using seqsolve::complex128;
using seqsolve::complex64;

struct Nothing {};

__device__ inline int64 wrapped(int64 i, int64 size) { return i < 0 ? i + size : i; }

// A contiguous array; sizes are known when it is compiled.
template <typename Item, int64... sizes>
struct View;

template <typename Item>
struct View<Item> {
    Item* data;

    __device__ Item& at() const { return *data; }
};

template <typename Item, int64 size, int64... sizes>
struct View<Item, size, sizes...> {
    Item* data;

    __device__ View<Item, sizes...> row(int64 i) const {
        return {data + wrapped(i, size) * (int64(1) * ... * sizes)};
    }
    template <typename... Indices>
    __device__ auto row(int64 i, Indices... others) const {
        return row(i).row(others...);
    }
    template <typename... Indices>
    __device__ Item& at(int64 i, Indices... others) const {
        return row(i).at(others...);
    }
};

template <typename... Items>
struct Tuple;

template <>
struct Tuple<> {};

template <typename First, typename... Rest>
struct Tuple<First, Rest...> {
    First first;
    Tuple<Rest...> rest;
};

template <int i, typename First, typename... Rest>
__device__ inline auto get(const Tuple<First, Rest...>& tuple) {
    if constexpr (i == 0)
        return tuple.first;
    else
        return get<i - 1>(tuple.rest);
}

template <typename Number>
__device__ inline Number pick(const Tuple<>&, int64) {
    return Number(0);
}

template <typename Number, typename First, typename... Rest>
__device__ inline Number pick(const Tuple<First, Rest...>& tuple, int64 i) {
    return i == 0 ? Number(tuple.first) : pick<Number>(tuple.rest, i - 1);
}

template <typename Real>
__device__ inline Real not_a_number() {
    return infinity<Real>() - infinity<Real>();
}

template <typename Real>
__device__ inline bool is_nan(Real a) {
    return a != a;
}

template <typename Real>
__device__ inline bool is_nan(Complex<Real> a) {
    return is_nan(a.re) || is_nan(a.im);
}

template <typename Real>
__device__ inline bool is_finite_number(Real a) {
    return a - a == 0;
}

template <typename Real>
__device__ inline bool is_finite_number(Complex<Real> a) {
    return is_finite_number(a.re) && is_finite_number(a.im);
}

template <typename Real>
__device__ inline bool is_infinite(Real a) {
    return !is_nan(a) && !is_finite_number(a);
}

__device__ inline bool is_true(int64 a) { return a != 0; }
__device__ inline bool is_true(float a) { return a != 0; }
__device__ inline bool is_true(double a) { return a != 0; }

template <typename Real>
__device__ inline bool is_true(Complex<Real> a) {
    return a.re != 0 || a.im != 0;
}

// Towards minus infinity; by zero, zero, as NumPy has it.
__device__ inline int64 floor_divide(int64 a, int64 b) {
    if (b == 0) return 0;
    if (b == -1) return int64(0 - static_cast<unsigned long long>(a));
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

// With the sign of b.
__device__ inline int64 modulo(int64 a, int64 b) {
    if (b == 0 || b == -1) return 0;
    const int64 rest = a % b;
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

template <typename Real>
__device__ inline Real modulo(Real a, Real b) {
    Real rest = fmod(a, b);
    if (rest != 0) {
        if ((rest < 0) != (b < 0)) rest += b;
    } else {
        rest = copysign(Real(0), b);
    }
    return rest;
}

template <typename Real>
__device__ inline Real floor_divide(Real a, Real b) {
    if (b == 0) return a / b;
    const Real rest = fmod(a, b);
    Real quotient = (a - rest) / b;
    if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1;
    if (quotient == 0) return copysign(Real(0), a / b);
    const Real below = floor(quotient);
    return quotient - below > Real(0.5) ? below + 1 : below;
}

__device__ inline int64 shifted_left(int64 a, int64 count) {
    return count < 0 || count > 63 ? 0 : int64(static_cast<unsigned long long>(a) << count);
}

__device__ inline int64 shifted_right(int64 a, int64 count) {
    return count < 0 ? 0 : a >> (count > 63 ? 63 : count);
}

template <int exponent, typename Number>
__device__ inline Number power(Number a) {
    if constexpr (exponent == 0) {
        return Number(1);
    } else if constexpr (exponent == 1) {
        return a;
    } else {
        const Number half = power<exponent / 2>(a);
        if constexpr (exponent % 2 == 0)
            return half * half;
        else
            return half * half * a;
    }
}

__device__ inline int64 integer_power(int64 a, int64 exponent) {
    unsigned long long result = 1, base = a;
    for (; exponent > 0; exponent >>= 1, base *= base)
        if (exponent & 1) result *= base;
    return int64(result);
}

// Python's `min` and `max`: the first of equals, and of what does not compare.
template <typename Number>
__device__ inline Number lesser(Number a, Number b) {
    return b < a ? b : a;
}

template <typename Number>
__device__ inline Number greater(Number a, Number b) {
    return b > a ? b : a;
}

// NumPy's: NaN if either is.
template <typename Number>
__device__ inline Number minimum(Number a, Number b) {
    return a < b || a != a ? a : b;
}

template <typename Number>
__device__ inline Number maximum(Number a, Number b) {
    return a > b || a != a ? a : b;
}

__device__ inline int64 absolute(int64 a) { return a < 0 ? -a : a; }
__device__ inline float absolute(float a) { return fabs(a); }
__device__ inline double absolute(double a) { return fabs(a); }

template <typename Number>
__device__ inline Number square(Number a) {
    return a * a;
}

template <typename Number>
__device__ inline Number sign_of(Number a) {
    return a != a ? a : Number((a > 0) - (a < 0));
}

template <typename Real>
__device__ inline bool has_sign(Real a) {
    return copysign(Real(1), a) < 0;
}

template <typename Real>
__device__ inline Real heaviside(Real a, Real at_zero) {
    return a != a ? a : a < 0 ? Real(0) : a > 0 ? Real(1) : at_zero;
}

template <typename Real>
__device__ inline Real log_add_exp(Real a, Real b) {
    if (a == b) return a + Real(0.6931471805599453);
    const Real difference = a - b;
    if (difference > 0) return a + log1p(exp(-difference));
    return difference <= 0 ? b + log1p(exp(difference)) : difference;
}

template <typename Number>
__device__ inline Number conjugate(Number a) {
    return a;
}

template <typename Real>
__device__ inline Complex<Real> conjugate(Complex<Real> a) {
    return {a.re, -a.im};
}

template <typename Real>
__device__ inline Real magnitude(Complex<Real> a) {
    return hypot(a.re, a.im);
}

}  // namespace element

// Found beside `Complex`.
template <typename Real>
__device__ inline Complex<Real> operator-(Complex<Real> a) {
    return {-a.re, -a.im};
}

template <typename Real>
__device__ inline Complex<Real> operator+(Complex<Real> a) {
    return a;
}

template <typename Real>
__device__ inline bool operator==(Complex<Real> a, Complex<Real> b) {
    return a.re == b.re && a.im == b.im;
}

template <typename Real>
__device__ inline bool operator!=(Complex<Real> a, Complex<Real> b) {
    return !(a == b);
}

// By the larger part first: neither overflows nor loses digits where the quotient does not.
template <typename Real>
__device__ inline Complex<Real> operator/(Complex<Real> a, Complex<Real> b) {
    if (fabs(b.re) >= fabs(b.im)) {
        const Real ratio = b.im / b.re, scale = b.re + b.im * ratio;
        return {(a.re + a.im * ratio) / scale, (a.im - a.re * ratio) / scale};
    }
    const Real ratio = b.re / b.im, scale = b.re * ratio + b.im;
    return {(a.re * ratio + a.im) / scale, (a.im * ratio - a.re) / scale};
}

template <typename Real>
__device__ inline Complex<Real> exp(Complex<Real> a) {
    const Real size = exp(a.re);
    if (a.im == 0) return {size, a.im};
    return {size * cos(a.im), size * sin(a.im)};
}

template <typename Real>
__device__ inline Complex<Real> log(Complex<Real> a) {
    return {log(hypot(a.re, a.im)), atan2(a.im, a.re)};
}

template <typename Real>
__device__ inline Complex<Real> sqrt(Complex<Real> a) {
    if (a.re == 0 && a.im == 0) return {Real(0), a.im};
    const Real root = sqrt((fabs(a.re) + hypot(a.re, a.im)) / 2), other = a.im / (2 * root);
    if (a.re >= 0) return {root, other};
    return {fabs(other), copysign(root, a.im)};
}

template <typename Real>
__device__ inline Complex<Real> sinh(Complex<Real> a) {
    return {sinh(a.re) * cos(a.im), cosh(a.re) * sin(a.im)};
}

template <typename Real>
__device__ inline Complex<Real> cosh(Complex<Real> a) {
    return {cosh(a.re) * cos(a.im), sinh(a.re) * sin(a.im)};
}

// With `t = tanh x` and `u = tan y`: `tanh(x + iy) = (t + iu) / (1 + itu)`.
template <typename Real>
__device__ inline Complex<Real> tanh(Complex<Real> a) {
    const Real t = tanh(a.re), u = tan(a.im);
    return Complex<Real>{t, u} / Complex<Real>{Real(1), t * u};
}

template <typename Real>
__device__ inline Complex<Real> sin(Complex<Real> a) {
    const Complex<Real> turned = sinh(Complex<Real>{-a.im, a.re});
    return {turned.im, -turned.re};
}

template <typename Real>
__device__ inline Complex<Real> cos(Complex<Real> a) {
    return cosh(Complex<Real>{-a.im, a.re});
}

template <typename Real>
__device__ inline Complex<Real> tan(Complex<Real> a) {
    const Complex<Real> turned = tanh(Complex<Real>{-a.im, a.re});
    return {turned.im, -turned.re};
}

}  // namespace seqsolve

#endif
