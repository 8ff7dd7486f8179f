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

// Draws the conclusions of a sweep from y to z, a block for each sequence. The arrays agree
// afterwards on all positions that are not swept again.
template <typename T, int threads>
__global__ void __launch_bounds__(threads) element_settle_sweep(
    T* y, int64 y_step, int64 y_batch, int64 y_state,
    T* z, int64 z_step, int64 z_batch, int64 z_state,
    int n_state, int64 begin, int64 size, int64 n_batch, int64 block_size, int sweep, int maxiter,
    int64* control_rows, int64* converged, int64* stuck, int64* nit, double* residual,
    unsigned long long* trace) {
    __shared__ unsigned long long n_bad_left;  // from the first value on that is not finite
    __shared__ unsigned long long largest;     // change of what is solved
    const int64 k = blockIdx.x;
    const Control control{control_rows, n_batch};
    if (control.stage(k) != running) return;
    y += k * y_batch;
    z += k * z_batch;
    const bool is_verifying = block_size == 1 || control.is_verifying(k);
    const int64 stride = is_verifying ? 1 : block_size, first = control.base(k);
    int64 n_unverified = control.n_unverified(k);
    const int64 front = size - int64(*control.left(k));
    int64 exact = first + ((front - first) / stride + 1) * stride;
    exact = exact < size ? exact : size;
    if (threadIdx.x == 0) n_bad_left = largest = 0;
    __syncthreads();
    for (int64 p = first + threadIdx.x; p < exact; p += threads) {
        const bool keeps = is_verifying && p < front;
        for (int i = 0; i < n_state; ++i) {
            T& old = y[(p + 1) * y_step + i * y_state];
            T& now = z[(p + 1) * z_step + i * z_state];
            if (keeps) {
                const T change = now < old ? old - now : now - old;
                atomicMax(&largest, to_bits(double(change)));
                now = old;
            } else {
                if (p >= front && !(now - now == 0))
                    atomicMax(&n_bad_left, static_cast<unsigned long long>(size - p));
                old = now;
            }
        }
    }
    __syncthreads();
    bool is_finite = n_bad_left == 0, verifies = is_verifying;
    int64 next = is_finite ? exact : size - int64(n_bad_left);
    if (!is_verifying && exact > first + stride && size - first - stride > n_unverified)
        n_unverified = size - first - stride;
    const int64 unverified = size - n_unverified;
    bool ends = sweep + 1 == maxiter;
    if (!verifies && (ends ? next >= unverified
                           : next == size || (!is_finite && next >= unverified))) {
        next = unverified;
        verifies = is_finite = true;
    }
    ends = ends || next == size || !is_finite;
    if (ends) {
        for (int64 p = exact + threadIdx.x; p < size; p += threads)
            for (int i = 0; i < n_state; ++i)
                y[(p + 1) * y_step + i * y_state] = z[(p + 1) * z_step + i * z_state];
    }
    if (threadIdx.x > 0) return;
    atomicMax(trace + sweep, *control.peak(k));
    nit[k] = sweep + 1;
    const double solved = from_bits(largest);
    residual[k] = residual[k] > solved ? residual[k] : solved;
    if (ends) {
        control.stage(k) = next == size && is_finite ? finished : gave_up;
        if (control.stage(k) == gave_up) {
            converged[k] = begin + next;
            stuck[k] = !is_finite;
        }
    }
    control.base(k) = next;
    control.n_unverified(k) = n_unverified;
    control.is_verifying(k) = verifies;
    *control.left(k) = *control.peak(k) = 0;
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
