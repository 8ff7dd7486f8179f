// Before and after the iterations on a window of element steps: whatever step it is.
#include "control.cuh"

namespace seqsolve {

// Begins a window, the one after `size` steps of the window before: sequences that gave up stay.
template <typename T, int threads>
__global__ void element_begin(
    T* y, int64 y_step, int64 y_batch, int64 y_state,
    T* z, int64 z_step, int64 z_batch, int64 z_state,
    int guessed, int n_state, int64 size, int64 n_batch, int64* control_rows) {
    const int64 item = int64(blockIdx.x) * threads + threadIdx.x;
    if (item >= (size + 1) * n_batch) return;
    const int64 p = item / n_batch, k = item % n_batch;
    const Control control{control_rows, n_batch};
    const bool gone = control.stage(k) == gave_up;
    for (int i = 0; i < n_state; ++i) {
        const T value = y[(guessed ? p * y_step : 0) + k * y_batch + i * y_state];
        z[p * z_step + k * z_batch + i * z_state] = value;
        if (!guessed && p > 0 && !gone) y[p * y_step + k * y_batch + i * y_state] = value;
    }
    if (p == size && !gone) {
        control.stage(k) = running;
        control.base(k) = control.exact(k) = 0;
        *control.left(k) = *control.peak(k) = *control.solved_peak(k) = *control.old_peak(k) = 0;
    }
}

// Draws the conclusions of an iteration, a thread for each sequence.
template <typename T, int threads>
__global__ void element_settle(int64 begin, int64 size, int64 n_batch, int iteration, int maxiter,
                               int64* control_rows, int* ticket, int64* converged, int64* stuck,
                               int64* nit, double* residual, unsigned long long* trace) {
    const int64 k = int64(blockIdx.x) * threads + threadIdx.x;
    if (k == 0) *ticket = 0;
    const Control control{control_rows, n_batch};
    if (k >= n_batch || control.stage(k) != running) return;
    const unsigned long long old = *control.old_peak(k), now = *control.peak(k);
    const unsigned long long largest = old > now ? old : now;
    const unsigned long long solved_now = *control.solved_peak(k);
    const int64 front = size - int64(*control.left(k));
    atomicMax(trace + iteration, largest);
    *control.left(k) = *control.peak(k) = *control.solved_peak(k) = 0;
    nit[k] = iteration;
    residual[k] = from_bits(largest);
    const bool is_stuck = front < size && front < control.exact(k);
    if (front == size) {
        control.stage(k) = finished;
    } else if (is_stuck || iteration == maxiter) {
        control.stage(k) = gave_up;
        converged[k] = begin + front;
        stuck[k] = is_stuck;
    }
    control.base(k) = front;
    control.exact(k) = front + 1;
    *control.old_peak(k) = old > solved_now ? old : solved_now;
}

// Repeats the last state of the window in which a sequence gave up.
template <typename T, int threads>
__global__ void element_repeat(T* y, int64 y_step, int64 y_batch, int64 y_state, const int64* ends,
                               int n_state, int64 n_steps, int64 n_batch) {
    const int64 item = int64(blockIdx.x) * threads + threadIdx.x;
    if (item >= n_steps * n_batch) return;
    const int64 t = item / n_batch + 1, k = item % n_batch;
    if (t <= ends[k]) return;
    for (int i = 0; i < n_state; ++i)
        y[t * y_step + k * y_batch + i * y_state] = y[ends[k] * y_step + k * y_batch + i * y_state];
}

}  // namespace seqsolve
