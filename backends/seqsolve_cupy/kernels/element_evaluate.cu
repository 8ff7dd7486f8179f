// The step or its Jacobian at many positions: a thread for each.
#include "step.cuh"

namespace seqsolve {

// Results up to this size stay in registers until they are written.
constexpr int largest_in_registers = 256;

template <bool jacobian, int threads>
__global__ void __launch_bounds__(threads) element_evaluate(
    const Step::X* x, int64 x_step, int64 x_batch, const Step::T* params,
    const Step::T* y, int64 y_step, int64 y_batch, int64 y_state,
    Step::T* out, int64 n_steps, int64 n_batch) {
    using T = Step::T;
    constexpr int n = Step::n, size = jacobian ? n * Step::width : n;
    constexpr bool is_small = size * sizeof(T) <= largest_in_registers;
    constexpr int unrolled = is_small ? size : 1;
    const int64 item = int64(blockIdx.x) * threads + threadIdx.x;
    if (item >= n_steps * n_batch) return;
    const int64 t = item / n_batch, k = item % n_batch;
    x += t * x_step + k * x_batch;
    y += t * y_step + k * y_batch;
    out += item * size;
    T state[n], own[is_small ? size : 1];
    T* const result = is_small ? own : out;
#pragma unroll unrolled
    for (int i = 0; i < n; ++i) state[i] = y[i * y_state];
#pragma unroll unrolled
    for (int i = 0; i < size; ++i) result[i] = T(element::not_a_number<element::Real>());
    if constexpr (jacobian)
        Step::jac(state, x, params, result);
    else
        Step::step(state, x, params, result);
    if constexpr (is_small) {
#pragma unroll
        for (int i = 0; i < size; ++i) out[i] = own[i];
    }
}

}  // namespace seqsolve
