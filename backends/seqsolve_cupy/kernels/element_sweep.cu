// A Jacobi sweep of an element step: a thread for each block of positions, which it goes through in
// order; blocks of one position are all swept at once.
#include "control.cuh"
#include "step.cuh"

namespace seqsolve {

template <int threads>
__global__ void __launch_bounds__(threads) element_sweep(
    const Step::X* x, int64 x_step, int64 x_batch, const Step::T* params,
    const Step::T* y, int64 y_step, int64 y_batch, int64 y_state,
    Step::T* z, int64 z_step, int64 z_batch, int64 z_state,
    double rtol, const double* atol, int64 block_size, int64 size, int64 n_batch,
    int64* control_rows) {
    using T = Step::T;
    constexpr int n = Step::n, unrolled = n <= 16 ? n : 1;
    const int64 item = int64(blockIdx.x) * threads + threadIdx.x;
    const int64 k = item % n_batch, n_threads = int64(gridDim.x) * threads / n_batch;
    const Control control{control_rows, n_batch};
    if (item / n_batch >= n_threads || control.stage(k) != running) return;
    x += k * x_batch;
    y += k * y_batch;
    z += k * z_batch;
    const int64 stride = control.is_verifying(k) ? 1 : block_size;
    int64 front = size;
    double peak = 0;
    for (int64 begin = control.base(k) + item / n_batch * stride; begin < size;
         begin += n_threads * stride) {
        const int64 end = begin + stride < size ? begin + stride : size;
        T state[n], image[n];
#pragma unroll unrolled
        for (int i = 0; i < n; ++i) state[i] = y[begin * y_step + i * y_state];
        for (int64 p = begin; p < end; ++p) {
#pragma unroll unrolled
            for (int i = 0; i < n; ++i) image[i] = element::not_a_number<T>();
            Step::step(state, x + p * x_step, params, image);
            bool passes = true;
#pragma unroll unrolled
            for (int i = 0; i < n; ++i) {
                const T old = y[(p + 1) * y_step + i * y_state];
                const double change = double(element::absolute(image[i] - old));
                const double allowed = atol[i] + rtol * double(element::absolute(old));
                passes = passes && change - change == 0 && change <= allowed;
                const double known = change == change ? change : infinity<double>();
                peak = peak > known ? peak : known;
                z[(p + 1) * z_step + i * z_state] = state[i] = image[i];
            }
            if (!passes && p < front) front = p;
        }
    }
    if (front < size) atomicMax(control.left(k), static_cast<unsigned long long>(size - front));
    if (peak > 0) atomicMax(control.peak(k), to_bits(peak));
}

}  // namespace seqsolve
