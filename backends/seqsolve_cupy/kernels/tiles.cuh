// Recurrences of few states: a block solves tiles, a thread the runs of adjacent steps in them.
//
// A tile is `lanes` adjacent sequences by the runs of a block's threads: thread x of the block owns
// run x / lanes of lane x % lanes. A thread first composes its run into one affine map. The maps
// are scanned within the warps by shuffles and across the warps in shared memory, and the state
// before the tile comes from the tiles before it; that gives each thread the state before its run,
// from which it steps through it. Each array is read once and the result written once. Products
// are formed in double precision.
//
// A block solves one tile after the other, and copies the next into shared memory meanwhile. It
// takes tiles in order and finishes them in order. So the first tile that is not finished is under
// way, and waits for finished ones only: some block always goes on.
#ifndef SEQSOLVE_TILES_CUH
#define SEQSOLVE_TILES_CUH

#include "look_back.cuh"
#include "staging.cuh"

namespace seqsolve {

// Blocks that a multiprocessor has at least: what shared memory leaves room for. Without it the
// compiler spills to make room for more.
template <typename T, int n, int threads>
constexpr int blocks_of_tiles = (fits_unrolled<Affine<Wide<T>, n>> ? 384 : 256) / threads;

// A block's part of the work: the tile at a place in the order of tiles.
template <typename Task, int lanes, int threads, int length>
struct Share {
    Seat seat;
    Task task;    // of this thread's lane
    bool in_use;  // that lane
    int64 t;      // the tile's first step

    __device__ Share(const Task& all, unsigned place, int64 n_steps, int64 n_lanes, int64 n_inner,
                     unsigned n_columns, unsigned n_tiles)
        : seat{place / n_columns, n_tiles, place % n_columns, n_columns}, task(all) {
        const int64 lane = seat.column * lanes + threadIdx.x % lanes;
        in_use = lane < n_lanes;
        if (in_use) task = all.of(n_inner == 1 ? Lane{lane, 0} : Lane{lane / n_inner, lane % n_inner});
        t = seat.tile * (threads / lanes * length);
    }
};

template <typename W, int n, int lanes>
using AffineBoard = Board<Affine<W, n>, State<W, n>, lanes>;

template <typename Task, int n, int lanes, int threads>
__device__ inline void narrow_tiles(const Task& all,
                                    const AffineBoard<typename Task::W, n, lanes>& board,
                                    int64 n_steps, int64 n_lanes, int64 n_inner,
                                    unsigned n_columns, unsigned n_tiles) {
    using T = typename Task::T;
    using W = typename Task::W;
    using Shape = Tile<lanes, threads>;
    using Buffer = Stage<Task, n, lanes, threads>;
    constexpr int length = Buffer::length;
    extern __shared__ Sixteen memory[];
    __shared__ Affine<W, n> totals[Shape::rows][lanes];
    __shared__ Affine<W, n> since[lanes];
    __shared__ State<W, n> carried[lanes];
    __shared__ unsigned tickets[2];

    const unsigned n_places = n_tiles * n_columns;
    const auto share = [&](unsigned place) {
        return Share<Task, lanes, threads, length>(all, place, n_steps, n_lanes, n_inner, n_columns,
                                                   n_tiles);
    };
    const auto buffer = [&](int which) {
        return Buffer{reinterpret_cast<unsigned char*>(memory) + which * Buffer::bytes};
    };
    const auto fetch = [&](unsigned place, int which) {
        const auto next = share(place);
        if (next.in_use) buffer(which).fetch(next.task, next.t, n_steps);
    };

    // Of thread 0: the next tile. The second is taken when the first is there, so that every block
    // has its first by then.
    int drawn = -1;
    if (threadIdx.x == 0) tickets[1] = atomicAdd(board.ticket, 1);
    __syncthreads();
    unsigned place = tickets[1];
    if (place < n_places) fetch(place, 0);

    for (int now = 0; place < n_places; now ^= 1) {
        wait_for_copies();
        if (threadIdx.x == 0) tickets[now] = drawn < 0 ? atomicAdd(board.ticket, 1) : drawn;
        __syncthreads();
        const unsigned next = tickets[now];
        if (next < n_places) fetch(next, now ^ 1);

        const auto own = share(place);
        const Buffer steps = buffer(now);
        const int64 t = own.t + Shape::run() * length, left = own.in_use ? n_steps - t : 0;
        const int count = left < 0 ? 0 : left < length ? int(left) : length;
        const bool starts = t == 0 && !all.has_initial;

        Affine<W, n> map;
        map.set_identity();
        steps.template each_step<false>(count, [&](int k, typename Buffer::Step& item) {
            Affine<W, n> step;
#pragma unroll
            for (int row = 0; row < n; ++row) {
#pragma unroll
                for (int j = 0; j < n; ++j)
                    step.P[row][j] = starts && k == 0 ? W(0.0) : W(item.A[row * n + j]);
                step.q[row] = Task::right_side(item.rows[row]);
            }
            if (k > 0)
                map.extend(step);
            else
                map = step;
        });
        scan_runs<Shape>(map, totals);
        __syncthreads();
        look_back(
            board, own.seat,
            [&] {
                State<W, n> state;
#pragma unroll
                for (int row = 0; row < n; ++row)
                    state.v[row] = own.in_use ? own.task.initial(row) : W(0.0);
                return state;
            },
            totals, since, carried);
        __syncthreads();

        if (threadIdx.x == 0) drawn = atomicAdd(board.ticket, 1);
        State<W, n> state = state_before<Shape>(board, own.seat, map, totals, since, carried);
        steps.template each_step<true>(count, [&](int k, typename Buffer::Step& item) {
            W after[n];
#pragma unroll
            for (int row = 0; row < n; ++row) {
                W moved = W(0.0);
                if (!(starts && k == 0)) {
                    moved = W(item.A[row * n]) * state.v[0];
#pragma unroll
                    for (int j = 1; j < n; ++j)
                        moved = multiply_add(W(item.A[row * n + j]), state.v[j], moved);
                }
                item.result[row] = Task::result(item.rows[row], moved);
                after[row] = moved + Task::right_side(item.rows[row]);
            }
#pragma unroll
            for (int row = 0; row < n; ++row) state.v[row] = after[row];
        });
        __syncthreads();
        if (own.in_use) steps.store(own.task, own.t, n_steps);
        place = next;
    }
}

}  // namespace seqsolve

#endif
