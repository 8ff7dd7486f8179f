// Newton's method on element steps, fused: an iteration evaluates step and Jacobian, tests the
// residual, scans the increments and writes the next iterate, in one pass; no Jacobian is stored.
//
// A tile is `lanes` adjacent sequences by the runs of a block's threads, as in narrow.cuh. Tiles
// begin at the first step that is not solved in all of their sequences, and get the increment before
// them from the tiles before, always looking back the same number of tiles. Iterates alternate
// between two arrays, which agree on all steps that are solved.
#include "increments.cuh"
#include "narrow.cuh"
#include "step.cuh"

namespace seqsolve {

// States of a sequence within a window.
enum Stage { running = 0, finished = 1, gave_up = 2 };

// What is known of each sequence, and gathered of it in one iteration: rows of numbers.
struct Control {
    int64* rows;
    int64 n_batch;

    __device__ int64& base(int64 k) const { return rows[k]; }             // steps that are solved
    __device__ int64& exact(int64 k) const { return rows[n_batch + k]; }  // that must pass
    __device__ int64& stage(int64 k) const { return rows[2 * n_batch + k]; }
    // Maxima: steps from the first that fails on; bits of residuals, of all steps and of those that
    // are solved, in this iteration and before.
    __device__ unsigned long long* left(int64 k) const { return word(3, k); }
    __device__ unsigned long long* peak(int64 k) const { return word(4, k); }
    __device__ unsigned long long* solved_peak(int64 k) const { return word(5, k); }
    __device__ unsigned long long* old_peak(int64 k) const { return word(6, k); }

   private:
    __device__ unsigned long long* word(int row, int64 k) const {
        return reinterpret_cast<unsigned long long*>(rows + row * n_batch + k);
    }
};

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

// The maximum over the threads of a warp that have the same lane, into memory.
template <int lanes>
__device__ inline void keep_largest(unsigned long long* place, unsigned long long own, bool in_use) {
#pragma unroll
    for (int distance = lanes; distance < warp_size; distance *= 2) {
        const unsigned long long other = __shfl_xor_sync(full_warp, own, distance);
        own = own > other ? own : other;
    }
    if (in_use && int(threadIdx.x % warp_size) < lanes && own > 0) atomicMax(place, own);
}

// The smallest value of the lanes of a group: they lie side by side in every warp.
template <int lanes>
__device__ inline int64 smallest_of_lanes(int64 own) {
#pragma unroll
    for (int distance = 1; distance < lanes; distance *= 2) {
        const int64 other = __shfl_xor_sync(full_warp, own, distance);
        own = own < other ? own : other;
    }
    return own;
}

// Steps that a thread holds in shared memory: matrix, image and iterate of each.
constexpr int numbers_of_step = Step::n * Step::width + 2 * Step::n;
constexpr int steps_of_thread = clamp_length(256 / int(numbers_of_step * sizeof(Step::T)));

template <int threads>
struct Held {
    Step::T items[steps_of_thread][numbers_of_step][threads];
};

template <int lanes, int threads>
__global__ void __launch_bounds__(threads) element_newton(
    const Step::X* x, int64 x_step, int64 x_batch, const Step::T* params,
    const Step::T* y, int64 y_step, int64 y_batch, int64 y_state,
    Step::T* z, int64 z_step, int64 z_batch, int64 z_state,
    double rtol, const double* atol, Step::T scale, int hold, int64 size, int64 n_batch,
    int64 n_groups, int reach, int epoch, int64* control_rows, int* ticket_and_flags,
    double* links_data, double* ends_data) {
    using T = Step::T;
    constexpr int n = Step::n, width = Step::width, length = steps_of_thread;
    using Shape = Tile<lanes, threads>;
    using Item = Link<n, width>;
    static_assert(lanes <= warp_size && Shape::runs > 1, "lanes of a group share every warp");
    __shared__ Item totals[Shape::rows][lanes];
    __shared__ Item past_totals[Shape::rows][lanes];
    __shared__ Increment<n> start[lanes];
    __shared__ Held<threads> held_steps;
    __shared__ int ticket;

    if (threadIdx.x == 0) ticket = atomicAdd(ticket_and_flags, 1);
    __syncthreads();
    int* const flags = ticket_and_flags + 1;
    Item* const links = reinterpret_cast<Item*>(links_data);
    Increment<n>* const ends = reinterpret_cast<Increment<n>*>(ends_data);
    const Control control{control_rows, n_batch};
    const int64 slot = ticket, tile = slot / n_groups, group = slot % n_groups;
    const int64 k = group * lanes + Shape::lane();
    const bool in_use = k < n_batch && control.stage(k) == running;
    const int64 first = smallest_of_lanes<lanes>(in_use ? control.base(k) : size);
    if (first + tile * Shape::runs * length >= size) return;
    const int64 exact = in_use ? control.exact(k) : 0;
    const int64 begin = first + (tile * Shape::runs + Shape::run()) * length;
    const int64 left = in_use ? size - begin : 0;
    const int count = left < 0 ? 0 : left < length ? int(left) : length;
    if (in_use) {
        x += k * x_batch;
        y += k * y_batch;
        z += k * z_batch;
    }
    auto& mine = held_steps.items;
    const int place = threadIdx.x;

    Item link;
    link.set_identity();
    T state[n];
    int own_front = length;
    double peak = 0, solved_peak = 0;
    if (count > 0) {
#pragma unroll
        for (int i = 0; i < n; ++i) state[i] = y[begin * y_step + i * y_state];
    }
#pragma unroll 1
    for (int step = 0; step < count; ++step) {
        const int64 p = begin + step;
        T image[n], slope[n * width];
        double difference[n];
#pragma unroll
        for (int i = 0; i < n; ++i) image[i] = element::not_a_number<T>();
#pragma unroll
        for (int i = 0; i < n * width; ++i) slope[i] = element::not_a_number<T>();
        Step::step(state, x + p * x_step, params, image);
        Step::jac(state, x + p * x_step, params, slope);
        bool passes = true;
        double error = 0;
#pragma unroll
        for (int i = 0; i < n; ++i) {
            state[i] = y[(p + 1) * y_step + i * y_state];
            const double r = double(element::absolute(state[i] - image[i]));
            const double allowed = atol[i] + rtol * double(element::absolute(state[i]));
            passes = passes && r - r == 0 && r <= allowed;
            const double size_of_r = r == r ? r : element::infinity<double>();
            error = error > size_of_r ? error : size_of_r;
            difference[i] = double(image[i]) - double(state[i]);
        }
#pragma unroll
        for (int i = 0; i < n * width; ++i) {
            slope[i] *= scale;
            mine[step][i][place] = slope[i];
        }
#pragma unroll
        for (int i = 0; i < n; ++i) {
            mine[step][n * width + i][place] = image[i];
            mine[step][n * width + n + i][place] = state[i];
        }
        link.append(slope, difference, passes ? solved : hold || p < exact ? held : failed);
        peak = peak > error ? peak : error;
        if (passes && own_front == length) solved_peak = solved_peak > error ? solved_peak : error;
        if (!passes && own_front == length) own_front = step;
    }
    const int64 failing = own_front < count ? size - (begin + own_front) : 0;
    keep_largest<lanes>(control.left(in_use ? k : 0), failing, in_use);
    keep_largest<lanes>(control.peak(in_use ? k : 0), to_bits(peak), in_use);

    scan_links<Shape>(link, totals);
    __syncthreads();
    const bool speaks = Shape::run() == 0;
    if (speaks) {
        Item whole = totals[0][Shape::lane()];
        for (int row = 1; row < Shape::rows; ++row) {
            Item later = totals[row][Shape::lane()];
            later.compose_after(whole);
            whole = later;
        }
        links[slot * lanes + Shape::lane()] = whole;
        __threadfence();
    }
    __syncthreads();
    if (threadIdx.x == 0) store_release(flags + slot, 2 * epoch + 1);

    // Run j of the threads takes the j-th of the tiles looked back on.
    Item past;
    past.set_identity();
    const int64 behind = tile - reach + 1 + Shape::run();
    if (behind >= 0 && behind < tile) {
        const int64 other = behind * n_groups + group;
        wait_for(flags + other, 2 * epoch + 1);
        past = links[other * lanes + Shape::lane()];
    }
    scan_links<Shape>(past, past_totals);
    __syncthreads();
    Increment<n> change;
    if (speaks) {
        if (tile >= reach) {
            const int64 other = (tile - reach) * n_groups + group;
            wait_for(flags + other, 2 * epoch + 2);
            change = ends[other * lanes + Shape::lane()];
        } else {
#pragma unroll
            for (int i = 0; i < n; ++i) change.v[i] = 0;
            change.progress = solved;
        }
        for (int row = 0; row < Shape::rows; ++row) past_totals[row][Shape::lane()].apply(change);
        start[Shape::lane()] = change;
        for (int row = 0; row < Shape::rows; ++row) totals[row][Shape::lane()].apply(change);
        ends[slot * lanes + Shape::lane()] = change;
        __threadfence();
    }
    __syncthreads();
    if (threadIdx.x == 0) store_release(flags + slot, 2 * epoch + 2);
    change = start[Shape::lane()];
    for (int row = 0; row < Shape::row(); ++row) totals[row][Shape::lane()].apply(change);
    link.apply(change);

    const bool nothing_failed = change.progress == solved;
    keep_largest<lanes>(control.solved_peak(in_use ? k : 0),
                        nothing_failed ? to_bits(solved_peak) : 0, in_use);
#pragma unroll 1
    for (int step = 0; step < count; ++step) {
        const int64 p = begin + step;
        T slope[n * width], image[n], next[n];
        double difference[n], none[n];
#pragma unroll
        for (int i = 0; i < n * width; ++i) slope[i] = mine[step][i][place];
#pragma unroll
        for (int i = 0; i < n; ++i) {
            image[i] = mine[step][n * width + i][place];
            next[i] = mine[step][n * width + n + i][place];
            difference[i] = double(image[i]) - double(next[i]);
            none[i] = 0;
        }
        const bool fails_first = nothing_failed && step == own_front;
        if (fails_first) change.progress = hold || p < exact ? held : failed;
        if (change.progress == failed) {
            double moved[n];
#pragma unroll
            for (int i = 0; i < n; ++i) moved[i] = fails_first ? 0 : change.v[i];
            if (!fails_first) Item::advance(slope, none, moved);
#pragma unroll
            for (int i = 0; i < n; ++i) {
                next[i] = Newton<T>::result({image[i], next[i]}, moved[i]);
                change.v[i] = moved[i] + difference[i];
            }
        }
#pragma unroll
        for (int i = 0; i < n; ++i) z[(p + 1) * z_step + i * z_state] = next[i];
    }
}

// Begins a window, the one after `size` steps of the window before: sequences that gave up stay.
template <int threads>
__global__ void element_begin(
    Step::T* y, int64 y_step, int64 y_batch, int64 y_state,
    Step::T* z, int64 z_step, int64 z_batch, int64 z_state,
    int guessed, int64 size, int64 n_batch, int64* control_rows) {
    const int64 item = int64(blockIdx.x) * threads + threadIdx.x;
    if (item >= (size + 1) * n_batch) return;
    const int64 p = item / n_batch, k = item % n_batch;
    const Control control{control_rows, n_batch};
    const bool gone = control.stage(k) == gave_up;
    for (int i = 0; i < Step::n; ++i) {
        const Step::T value = y[(guessed ? p * y_step : 0) + k * y_batch + i * y_state];
        z[p * z_step + k * z_batch + i * z_state] = value;
        if (!guessed && p > 0 && !gone) y[p * y_step + k * y_batch + i * y_state] = value;
    }
    if (p == size && !gone) {
        control.base(k) = control.exact(k) = 0;
        *control.left(k) = *control.peak(k) = *control.solved_peak(k) = *control.old_peak(k) = 0;
    }
}

// Draws the conclusions of an iteration, a thread for each sequence.
template <int threads>
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

// Lets sequences that finished a window run again.
template <int threads>
__global__ void element_go_on(int64 n_batch, int64* control_rows) {
    const int64 k = int64(blockIdx.x) * threads + threadIdx.x;
    const Control control{control_rows, n_batch};
    if (k < n_batch && control.stage(k) == finished) control.stage(k) = running;
}

// Repeats the last state of the window in which a sequence gave up.
template <int threads>
__global__ void element_repeat(Step::T* y, int64 y_step, int64 y_batch, int64 y_state,
                               const int64* ends, int64 n_steps, int64 n_batch) {
    const int64 item = int64(blockIdx.x) * threads + threadIdx.x;
    if (item >= n_steps * n_batch) return;
    const int64 t = item / n_batch + 1, k = item % n_batch;
    if (t <= ends[k]) return;
    for (int i = 0; i < Step::n; ++i)
        y[t * y_step + k * y_batch + i * y_state] = y[ends[k] * y_step + k * y_batch + i * y_state];
}

}  // namespace seqsolve
