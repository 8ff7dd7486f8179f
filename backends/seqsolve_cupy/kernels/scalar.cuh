// Numbers: the four scalar types, and the wider one that long products are computed in.
#ifndef SEQSOLVE_SCALAR_CUH
#define SEQSOLVE_SCALAR_CUH

namespace seqsolve {

using int64 = long long;

// Aligned like CUDA's float2 and double2, so that one load fetches both parts.
template <typename Real>
struct alignas(2 * sizeof(Real)) Complex {
    Real re, im;

    Complex() = default;
    __device__ constexpr Complex(Real re_, Real im_ = Real(0)) : re(re_), im(im_) {}

    template <typename Other>
    __device__ explicit constexpr Complex(Complex<Other> z) : re(Real(z.re)), im(Real(z.im)) {}
};

using complex64 = Complex<float>;
using complex128 = Complex<double>;

template <typename Real>
__device__ inline Complex<Real> operator+(Complex<Real> a, Complex<Real> b) {
    return {a.re + b.re, a.im + b.im};
}

template <typename Real>
__device__ inline Complex<Real> operator-(Complex<Real> a, Complex<Real> b) {
    return {a.re - b.re, a.im - b.im};
}

template <typename Real>
__device__ inline Complex<Real> operator*(Complex<Real> a, Complex<Real> b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

// a * b + c
template <typename Real>
__device__ inline Real multiply_add(Real a, Real b, Real c) {
    return a * b + c;
}

// Rounds each partial sum once where the compiler contracts products, as it does for real numbers.
template <typename Real>
__device__ inline Complex<Real> multiply_add(Complex<Real> a, Complex<Real> b, Complex<Real> c) {
    return {a.re * b.re + (c.re - a.im * b.im), a.re * b.im + (c.im + a.im * b.re)};
}

template <typename T>
struct Widened {
    using type = double;
};

template <typename Real>
struct Widened<Complex<Real>> {
    using type = complex128;
};

// float64 for real numbers, complex128 for complex ones.
template <typename T>
using Wide = typename Widened<T>::type;

// Those of numbers that are not negative order like the numbers.
__device__ inline unsigned long long to_bits(double a) {
    union {
        double number;
        unsigned long long bits;
    } both;
    both.number = a;
    return both.bits;
}

__device__ inline double from_bits(unsigned long long a) {
    union {
        unsigned long long bits;
        double number;
    } both;
    both.bits = a;
    return both.number;
}

template <typename Real>
__device__ inline Real infinity() {
    return Real(from_bits(0x7ff0000000000000ull));
}

}  // namespace seqsolve

#endif
