// Where each sequence first fails |y - f| <= atol + rtol |y|, and its largest |y - f|.
//
// A thread reads every so many steps of one lane (a state of a sequence) and keeps a step and a
// residual; warps reduce theirs by shuffles, and atomic maxima do the rest. Maxima do not depend on
// the order, so neither do the results.
#include "access.cuh"
#include "device.cuh"

namespace seqsolve {

__device__ inline float magnitude(float a) { return a < 0 ? -a : a; }
__device__ inline double magnitude(double a) { return a < 0 ? -a : a; }

// Scaled by a power of two where squares would overflow or underflow.
template <typename Real>
__device__ inline Real magnitude(Complex<Real> a) {
    const Real re = magnitude(a.re), im = magnitude(a.im);
    if constexpr (sizeof(Real) == 4) {
        return Real(sqrt(double(re) * double(re) + double(im) * double(im)));
    } else {
        const Real larger = re > im ? re : im, smaller = re > im ? im : re;
        if (!(larger - larger == 0) || larger == 0) return re + im;
        const Real scale = larger > Real(0x1p+500)   ? Real(0x1p-600)
                           : larger < Real(0x1p-500) ? Real(0x1p+600)
                                                     : Real(1);
        const Real x = larger * scale, y = smaller * scale;
        return sqrt(x * x + y * y) / scale;
    }
}

__device__ inline unsigned long long shuffle_xor(unsigned long long a, int distance) {
    return __shfl_xor_sync(full_warp, a, distance);
}

// `left` and `largest` have an item for each sequence, zero before: the number of steps from the
// first failing one on, and the bits of the largest residual, which order like the residuals.
template <typename T, int lanes, int threads>
__global__ void __launch_bounds__(threads) residual_test(
    const T* y_data, int64 y_step, int64 y_outer, int64 y_inner,
    const T* f_data, int64 f_step, int64 f_outer, int64 f_inner,
    const double* atol, double rtol, int64 n_steps, int64 n_lanes, int64 n_inner, int64 n_groups,
    unsigned long long* left, unsigned long long* largest) {
    constexpr int rows = threads / lanes, ahead = 4;
    const int64 lane = blockIdx.x % n_groups * lanes + threadIdx.x % lanes;
    const int64 slice = blockIdx.x / n_groups, n_slices = gridDim.x / n_groups;
    const bool in_use = lane < n_lanes;
    const int64 outer = in_use ? lane / n_inner : 0, inner = in_use ? lane % n_inner : 0;
    const T* y = y_data + outer * y_outer + inner * y_inner;
    const T* f = f_data + outer * f_outer + inner * f_inner;
    const double absolute = atol[inner];

    unsigned long long own_left = 0, own_largest = 0;
    const int64 stride = n_slices * rows;
    for (int64 t = slice * rows + threadIdx.x / lanes; in_use && t < n_steps; t += ahead * stride) {
        T ys[ahead], fs[ahead];
#pragma unroll
        for (int j = 0; j < ahead; ++j) {
            if (t + j * stride >= n_steps) continue;
            ys[j] = y[(t + j * stride) * y_step];
            fs[j] = f[(t + j * stride) * f_step];
        }
#pragma unroll
        for (int j = 0; j < ahead; ++j) {
            if (t + j * stride >= n_steps) continue;
            double residual = double(magnitude(ys[j] - fs[j]));
            const bool passes = residual - residual == 0 &&
                                residual <= absolute + rtol * double(magnitude(ys[j]));
            if (residual != residual) residual = infinity<double>();
            const unsigned long long from_here = passes ? 0 : n_steps - (t + j * stride);
            own_left = own_left > from_here ? own_left : from_here;
            own_largest = own_largest > to_bits(residual) ? own_largest : to_bits(residual);
        }
    }
#pragma unroll
    for (int distance = lanes; distance < warp_size; distance *= 2) {
        const unsigned long long other_left = shuffle_xor(own_left, distance);
        const unsigned long long other_largest = shuffle_xor(own_largest, distance);
        own_left = own_left > other_left ? own_left : other_left;
        own_largest = own_largest > other_largest ? own_largest : other_largest;
    }
    if (in_use && int(threadIdx.x % warp_size) < lanes) {
        if (own_left > __ldcg(left + outer)) atomicMax(left + outer, own_left);
        if (own_largest > __ldcg(largest + outer)) atomicMax(largest + outer, own_largest);
    }
}

}  // namespace seqsolve
