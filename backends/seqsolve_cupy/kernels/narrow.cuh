// Recurrences of few states: a thread owns a run of adjacent steps, in registers.
//
// A tile is `lanes` adjacent sequences by the runs of a block's threads: thread x of the block owns
// run x / lanes of lane x % lanes. A thread first composes its run into one affine map. The maps
// are scanned within the warps by shuffles and across the warps in shared memory, which gives each
// thread the state before its run; from there it steps through its run, and writes it. So each
// array is read once and the result written once. Products are formed in double precision.
//
// A block either walks its sequences tile by tile with a running state (`narrow_walk`), or does one
// tile and gets the state before it from the blocks before it (`narrow_look_back`).
#ifndef SEQSOLVE_NARROW_CUH
#define SEQSOLVE_NARROW_CUH

#include "affine.cuh"
#include "tasks.cuh"

namespace seqsolve {

__device__ constexpr int clamp_length(int length) { return length < 1 ? 1 : length > 8 ? 8 : length; }

// Steps that a thread holds: the matrices take at most 32 registers, unless one alone takes more.
template <typename T, int n>
constexpr int run_length = clamp_length(128 / int(n * n * sizeof(T)));

template <typename Task, int n>
struct Run {
    using T = typename Task::T;
    using W = typename Task::W;
    static constexpr int length = run_length<T, n>;

    int begin, end;  // of the steps that exist
    bool starts;     // with a step 0 whose matrix is not read
    T A[length][n * n];
    typename Task::Row rows[length][n];

    __device__ void load(const Task& task, int64 t, int64 n_steps, bool in_use) {
        const int64 left = in_use ? n_steps - t : 0;
        begin = t < 0 ? int(-t) : 0;
        end = left < 0 ? 0 : left < length ? int(left) : length;
        starts = t <= 0 && !task.has_initial;
        if constexpr (n == 1) {
            T entries[length];
            if (starts) {
#pragma unroll
                for (int k = 0; k < length; ++k)
                    entries[k] = k > begin && k < end ? *task.A.at(t + k) : T(0);
            } else {
                load_run(task.A.at(t), task.A.step, begin, end, entries);
            }
#pragma unroll
            for (int k = 0; k < length; ++k) A[k][0] = entries[k];
            typename Task::Row items[length];
            task.load_run(t, begin, end, items);
#pragma unroll
            for (int k = 0; k < length; ++k) rows[k][0] = items[k];
        } else {
#pragma unroll
            for (int k = 0; k < length; ++k) {
                if (k >= end) continue;
                if (starts && k == 0) {
#pragma unroll
                    for (int i = 0; i < n * n; ++i) A[k][i] = T(0);
                } else {
                    task.A.template load<n>(t + k, A[k]);
                }
#pragma unroll
                for (int row = 0; row < n; ++row) task.load(t + k, row, rows[k][row]);
            }
        }
    }

    __device__ W product(int k, int row, const W (&v)[n]) const {
        W sum = W(A[k][row * n]) * v[0];
#pragma unroll
        for (int j = 1; j < n; ++j) sum = multiply_add(W(A[k][row * n + j]), v[j], sum);
        return sum;
    }

    __device__ void compose(Affine<W, n>& map) const {
        map.set_identity();
#pragma unroll
        for (int k = 0; k < length; ++k) {
            if (k < begin || k >= end) continue;
            Affine<W, n> step;
#pragma unroll
            for (int row = 0; row < n; ++row) {
#pragma unroll
                for (int j = 0; j < n; ++j) step.P[row][j] = W(A[k][row * n + j]);
                step.q[row] = Task::right_side(rows[k][row]);
            }
            if (k > begin) step.compose_after(map);
            map = step;
        }
    }

    // Steps through the run from the state before it, and writes the results.
    __device__ void finish(const Task& task, int64 t, W (&v)[n]) const {
        T results[length][n];
#pragma unroll
        for (int k = 0; k < length; ++k) {
            if (k < begin || k >= end) continue;
            W next[n];
#pragma unroll
            for (int row = 0; row < n; ++row) {
                const W moved = starts && k == begin ? W(0.0) : product(k, row, v);
                results[k][row] = Task::result(rows[k][row], moved);
                next[row] = moved + Task::right_side(rows[k][row]);
            }
#pragma unroll
            for (int row = 0; row < n; ++row) v[row] = next[row];
        }
        if constexpr (n == 1) {
            T run[length];
#pragma unroll
            for (int k = 0; k < length; ++k) run[k] = results[k][0];
            store_run(task.y.at(t), task.y.step, begin, end, run);
        } else {
#pragma unroll
            for (int k = 0; k < length; ++k)
#pragma unroll
                for (int row = 0; row < n; ++row)
                    if (k < end) task.y.at(t + k)[row * task.y.row] = results[k][row];
        }
    }
};

// How the threads of a block share a tile.
template <int lanes, int threads>
struct Tile {
    static constexpr int runs = threads / lanes;
    static constexpr int lanes_of_warp = lanes < warp_size ? lanes : warp_size;
    // Rows of the table of what warps sum up: warps that follow each other in time.
    static constexpr int rows = threads / (lanes < warp_size ? warp_size : lanes);

    static_assert(threads % warp_size == 0 && threads % lanes == 0, "whole warps, whole rows");
    static_assert(warp_size % lanes == 0 || lanes % warp_size == 0, "lanes divide warps");

    __device__ static int lane() { return threadIdx.x % lanes; }
    __device__ static int run() { return threadIdx.x / lanes; }
    __device__ static int row() { return threadIdx.x / (lanes < warp_size ? warp_size : lanes); }
    __device__ static bool is_first_of_warp() {
        return int(threadIdx.x % warp_size) < lanes_of_warp;
    }
    __device__ static bool is_last_of_warp() {
        return int(threadIdx.x % warp_size) >= warp_size - lanes_of_warp;
    }
};

// The steps by which a lane's runs begin before step 0, so that they are aligned in memory.
template <int n, int lanes, typename Task>
__device__ inline int lead_of(const Task& task) {
    if constexpr (n > 1 || lanes > 1)
        return 0;
    else
        return steps_to_alignment(task.A.data, task.A.step);
}

// Scans the threads' maps within warps. Each map becomes that of the runs before it in its warp;
// the warps' totals go to shared memory.
template <typename Shape, typename W, int n, int lanes>
__device__ inline void scan_runs(Affine<W, n>& map, Affine<W, n> (&totals)[Shape::rows][lanes]) {
    scan_warp<Shape::lanes_of_warp>(map);
    if (Shape::is_last_of_warp()) totals[Shape::row()][Shape::lane()] = map;
    if constexpr (Shape::lanes_of_warp < warp_size) {
        map = map.shuffled_up(Shape::lanes_of_warp);
        if (Shape::is_first_of_warp()) map.set_identity();
    } else {
        map.set_identity();
    }
}

template <typename Task, int n, int lanes, int threads>
__device__ inline void narrow_walk(const Task& all, int64 n_steps, int64 n_lanes, int64 n_inner) {
    using W = typename Task::W;
    using Shape = Tile<lanes, threads>;
    constexpr int length = Run<Task, n>::length;

    const int64 lane = int64(blockIdx.x) * lanes + Shape::lane();
    const bool in_use = lane < n_lanes;
    const Task task = in_use ? all.of({lane / n_inner, lane % n_inner}) : all;
    Run<Task, n> run;
    W v[n];
#pragma unroll
    for (int row = 0; row < n; ++row) v[row] = in_use ? task.initial(row) : W(0.0);

    if constexpr (Shape::runs == 1) {
        for (int64 t = 0; t < n_steps; t += length) {
            run.load(task, t, n_steps, in_use);
            run.finish(task, t, v);
        }
    } else {
        // Two tables in turn: one barrier a tile is enough.
        __shared__ Affine<W, n> totals[2][Shape::rows][lanes];
        int table = 0;
        const int lead = lead_of<n, lanes>(task);
        for (int64 begin = 0; begin < n_steps + lead; begin += Shape::runs * length, table ^= 1) {
            const int64 t = begin - lead + Shape::run() * length;
            run.load(task, t, n_steps, in_use);
            Affine<W, n> map;
            run.compose(map);
            scan_runs<Shape>(map, totals[table]);
            __syncthreads();
            W before[n];
            for (int row = 0; row < Shape::rows; ++row) {
                if (row == Shape::row()) {
#pragma unroll
                    for (int i = 0; i < n; ++i) before[i] = v[i];
                }
                totals[table][row][Shape::lane()].apply(v);
            }
            map.apply(before);
            run.finish(task, t, before);
        }
    }
}

// What the blocks tell each other: one item for each tile and lane, one flag for each tile.
template <typename W, int n>
struct Board {
    int* ticket;            // the next tile
    int* flags;             // 1: the map is there; 2: the state too
    Affine<W, n>* maps;     // of the tile alone
    W* states;              // after the tile
};

// A tile takes the state after the tile `reach` before it, and the maps of the tiles between. It
// always takes these, whatever else is known already, so results do not depend on who came when;
// and since tiles are begun in order, what a block waits for is always under way.
template <typename Task, int n, int lanes, int threads>
__device__ inline void narrow_look_back(
    const Task& all, const Board<typename Task::W, n>& board, int reach, int64 n_steps,
    int64 n_lanes, int64 n_inner, int64 n_groups) {
    using W = typename Task::W;
    using Shape = Tile<lanes, threads>;
    constexpr int length = Run<Task, n>::length;
    static_assert(Shape::runs > 1, "a tile is several runs long");
    __shared__ Affine<W, n> totals[Shape::rows][lanes];
    __shared__ Affine<W, n> past_totals[Shape::rows][lanes];
    __shared__ W start[lanes][n];
    __shared__ int ticket;

    if (threadIdx.x == 0) ticket = atomicAdd(board.ticket, 1);
    __syncthreads();
    const int64 slot = ticket, tile = slot / n_groups, group = slot % n_groups;
    const int64 lane = group * lanes + Shape::lane();
    const bool in_use = lane < n_lanes, speaks = Shape::run() == 0;
    const Task task = in_use ? all.of({lane / n_inner, lane % n_inner}) : all;
    const int64 t = (tile * Shape::runs + Shape::run()) * length - lead_of<n, lanes>(task);

    Run<Task, n> run;
    run.load(task, t, n_steps, in_use);
    Affine<W, n> map;
    run.compose(map);
    scan_runs<Shape>(map, totals);
    __syncthreads();
    if (speaks) {
        Affine<W, n> whole = totals[0][Shape::lane()];
        for (int row = 1; row < Shape::rows; ++row) {
            Affine<W, n> later = totals[row][Shape::lane()];
            later.compose_after(whole);
            whole = later;
        }
        board.maps[slot * lanes + Shape::lane()] = whole;
        __threadfence();
    }
    __syncthreads();
    if (threadIdx.x == 0) store_release(board.flags + slot, 1);

    // Run j of the threads takes the j-th of the tiles looked back on.
    Affine<W, n> past;
    past.set_identity();
    const int64 behind = tile - reach + 1 + Shape::run();
    if (behind >= 0 && behind < tile) {
        const int64 other = behind * n_groups + group;
        wait_for(board.flags + other, 1);
        past = board.maps[other * lanes + Shape::lane()];
    }
    scan_runs<Shape>(past, past_totals);
    __syncthreads();
    W v[n];
    if (speaks) {
        if (tile >= reach) {
            const int64 other = (tile - reach) * n_groups + group;
            wait_for(board.flags + other, 2);
#pragma unroll
            for (int row = 0; row < n; ++row)
                v[row] = board.states[(other * lanes + Shape::lane()) * n + row];
        } else {
#pragma unroll
            for (int row = 0; row < n; ++row) v[row] = in_use ? task.initial(row) : W(0.0);
        }
        for (int row = 0; row < Shape::rows; ++row) past_totals[row][Shape::lane()].apply(v);
#pragma unroll
        for (int row = 0; row < n; ++row) start[Shape::lane()][row] = v[row];
        for (int row = 0; row < Shape::rows; ++row) totals[row][Shape::lane()].apply(v);
#pragma unroll
        for (int row = 0; row < n; ++row)
            board.states[(slot * lanes + Shape::lane()) * n + row] = v[row];
        __threadfence();
    }
    __syncthreads();
    if (threadIdx.x == 0) store_release(board.flags + slot, 2);
#pragma unroll
    for (int row = 0; row < n; ++row) v[row] = start[Shape::lane()][row];
    for (int row = 0; row < Shape::row(); ++row) totals[row][Shape::lane()].apply(v);
    map.apply(v);
    run.finish(task, t, v);
}

}  // namespace seqsolve

#endif
