// y[t + 1] = step(y[t], x[t]), one step after the other: a thread for each sequence.
#include "step.cuh"

namespace seqsolve {

// The input of the next step is on its way while this one is computed, if it is small.
template <bool is_small>
struct Ahead {
    using X = Step::X;
    static constexpr int size = is_small && Step::n_inputs > 0 ? Step::n_inputs : 1;
    X items[size];

    __device__ void load(const X* x) {
#pragma unroll
        for (int i = 0; i < size; ++i)
            if (is_small && i < Step::n_inputs) items[i] = x[i];
    }
    __device__ const X* at(const X* x) const { return is_small ? items : x; }
};

template <int threads>
__global__ void __launch_bounds__(threads) element_march(
    const Step::X* __restrict__ x, int64 x_step, int64 x_batch,
    const Step::T* __restrict__ params, Step::T* __restrict__ y, int64 y_step, int64 y_batch, int64 y_state, int64 n_steps, int64 n_batch) {
    using T = Step::T;
    constexpr int n = Step::n, unrolled = n <= 16 ? n : 1;
    const int64 k = int64(blockIdx.x) * threads + threadIdx.x;
    if (k >= n_batch) return;
    y += k * y_batch;
    x += k * x_batch;
    T state[n], next[n];
#pragma unroll unrolled
    for (int i = 0; i < n; ++i) state[i] = y[i * y_state];
    Ahead<(Step::n_inputs <= 16)> now, later;
    now.load(x);
    for (int64 t = 0; t < n_steps; ++t, x += x_step) {
        if (t + 1 < n_steps) later.load(x + x_step);
#pragma unroll unrolled
        for (int i = 0; i < n; ++i) next[i] = T(element::not_a_number<element::Real>());
        Step::step(state, now.at(x), params, next);
        y += y_step;
#pragma unroll unrolled
        for (int i = 0; i < n; ++i) y[i * y_state] = state[i] = next[i];
        now = later;
    }
}

}  // namespace seqsolve
