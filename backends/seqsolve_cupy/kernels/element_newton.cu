// Newton's method on element steps, fused: an iteration evaluates step and Jacobian, tests the
// residual, scans the increments and writes the next iterate, in one pass; no Jacobian is stored.
//
// A tile is `lanes` adjacent sequences by the runs of a block's threads, as in narrow.cuh. Tiles
// begin at the first step that is not solved in all of their sequences, and get the increment before
// them from the tiles before, as in look_back.cuh. Iterates alternate between two arrays, which
// agree on all steps that are solved.
#include "control.cuh"
#include "increments.cuh"
#include "look_back.cuh"
#include "step.cuh"
#include "walk.cuh"

namespace seqsolve {

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
    int n_groups, int n_tiles, int reach, int round, int64* control_rows, int* flags,
    double* links, double* ends) {
    using T = Step::T;
    constexpr int n = Step::n, width = Step::width, length = steps_of_thread;
    using Shape = Tile<lanes, threads>;
    using Item = Link<n, width>;
    static_assert(lanes <= warp_size && Shape::runs > 1, "lanes of a group share every warp");
    __shared__ Item totals[Shape::rows][lanes];
    __shared__ Item since[lanes];
    __shared__ Increment<n> carried[lanes];
    __shared__ Held<threads> held_steps;
    __shared__ int ticket;

    const Board<Item, Increment<n>, lanes> board(flags, links, ends, reach, n_groups, n_tiles, round);
    if (threadIdx.x == 0) ticket = atomicAdd(board.ticket, 1);
    __syncthreads();
    const Control control{control_rows, n_batch};
    const int64 tile = ticket / n_groups, k = ticket % n_groups * lanes + Shape::lane();
    const bool in_use = k < n_batch && control.stage(k) == running;
    const int64 first = smallest_of_lanes<lanes>(in_use ? control.base(k) : size);
    if (first + tile * Shape::runs * length >= size) return;
    const int64 begin = first + (tile * Shape::runs + Shape::run()) * length;
    const int64 left = in_use ? size - begin : 0;
    const int count = left < 0 ? 0 : left < length ? int(left) : length;
    const int64 exact = hold ? size : in_use ? control.exact(k) : 0;  // no update can change these
    auto& mine = held_steps.items;
    const int place = threadIdx.x;

    Item link;
    link.set_identity();
    T state[n];
    int own_front = length;
    double peak = 0, solved_peak = 0;
    if (count > 0) {
#pragma unroll
        for (int i = 0; i < n; ++i) state[i] = y[begin * y_step + k * y_batch + i * y_state];
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
        Step::step(state, x + p * x_step + k * x_batch, params, image);
        Step::jac(state, x + p * x_step + k * x_batch, params, slope);
        bool passes = true;
        double error = 0;
#pragma unroll
        for (int i = 0; i < n; ++i) {
            state[i] = y[(p + 1) * y_step + k * y_batch + i * y_state];
            const double r = double(element::absolute(state[i] - image[i]));
            const double allowed = atol[i] + rtol * double(element::absolute(state[i]));
            passes = passes && r - r == 0 && r <= allowed;
            const double size_of_r = r == r ? r : infinity<double>();
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
        link.append(slope, difference, passes ? solved : p < exact ? held : failed);
        peak = peak > error ? peak : error;
        if (passes && own_front == length) solved_peak = solved_peak > error ? solved_peak : error;
        if (!passes && own_front == length) own_front = step;
    }
    const int64 failing = own_front < count ? size - (begin + own_front) : 0;
    keep_largest<lanes>(control.left(in_use ? k : 0), failing, in_use);
    keep_largest<lanes>(control.peak(in_use ? k : 0), to_bits(peak), in_use);

    scan_runs<Shape>(link, totals);
    __syncthreads();
    const Seat seat{ticket / n_groups, n_tiles, ticket % n_groups, n_groups};
    look_back(board, seat, [] { return Increment<n>{}; }, totals, since, carried);
    __syncthreads();
    Increment<n> change = state_before<Shape>(board, seat, link, totals, since, carried);

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
        if (fails_first) change.progress = p < exact ? held : failed;
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
        for (int i = 0; i < n; ++i) z[(p + 1) * z_step + k * z_batch + i * z_state] = next[i];
    }
}

}  // namespace seqsolve
