// How a tile learns the state before it from the tiles before.
//
// Tiles of a sequence are counted in two digits: `reach` tiles are a group, `reach` groups a
// stretch. A tile tells its map; the last of a group also the group's map; the last of a stretch
// also the state after it. A tile takes the state before its stretch, the maps of the groups
// before its own, and those of the tiles before it in its group: always these, whatever else is
// known already, so results do not depend on who came when.
#ifndef SEQSOLVE_LOOK_BACK_CUH
#define SEQSOLVE_LOOK_BACK_CUH

#include "affine.cuh"
#include "access.cuh"

namespace seqsolve {

template <typename W, int n>
struct State {
    W v[n];
};

// Items that blocks tell each other, `lanes` in a place, and a flag for each place.
template <typename Item, int lanes>
struct Notices {
    int* flags;
    Item* items;

    // By a whole warp. The lanes that speak are adjacent threads, one for each lane.
    __device__ void tell(int64 place, int lane, bool speaks, const Item& item) const {
        if (speaks) items[place * lanes + lane] = item;
        __syncwarp();
        if (speaks && lane == 0) store_release(flags + place, 1);
    }

    __device__ Item ask(int64 place, int lane) const {
        wait_for(flags + place, 1);
        return items[place * lanes + lane];
    }
};

template <typename W, int n, int lanes>
struct Board {
    int* ticket;                             // the next tile
    Notices<Affine<W, n>, lanes> maps;       // of tiles, then of groups of tiles
    Notices<State<W, n>, lanes> states;      // after stretches
    int reach;
};

// With `flags` zero: the ticket, the flags of maps, those of states.
template <int n, int lanes, typename W>
__device__ inline Board<W, n, lanes> board_of(int* flags, W* maps, W* states, int reach,
                                              int n_columns, int n_tiles) {
    const int64 n_maps = int64(n_tiles + n_tiles / reach) * n_columns;
    return {flags,
            {flags + 1, reinterpret_cast<Affine<W, n>*>(maps)},
            {flags + 1 + n_maps, reinterpret_cast<State<W, n>*>(states)},
            reach};
}

// A tile among those of its lanes' sequences.
struct Seat {
    int64 tile, n_tiles, column, n_columns;

    __device__ bool is_followed() const { return tile + 1 < n_tiles; }
    __device__ int64 place(int64 number) const { return number * n_columns + column; }
};

// The composed maps of `count` places from `first` on, in the last lanes of the warp.
template <typename W, int n, int lanes>
__device__ inline Affine<W, n> composed(const Board<W, n, lanes>& board, const Seat& seat,
                                        int64 first, int count) {
    constexpr int runs = warp_size / lanes;
    const int lane = threadIdx.x % lanes, run = threadIdx.x % warp_size / lanes;
    const int each = (board.reach + runs - 1) / runs, begin = run * each;
    Affine<W, n> past;
    past.set_identity();
    if (count == 0) return past;
    for (int i = begin; i < begin + each && i < count; ++i) {
        Affine<W, n> later = board.maps.ask(seat.place(first + i), lane);
        if (i > begin) later.compose_after(past);
        past = later;
    }
    scan_warp<lanes>(past);
    return past;
}

// The maps of all rows from `first` on, after `whole`.
template <typename W, int n, int rows, int lanes>
__device__ inline void fold(const Affine<W, n> (&totals)[rows][lanes], int first, int lane,
                            Affine<W, n>& whole) {
#pragma unroll 1
    for (int row = first; row < rows; ++row) {
        Affine<W, n> later = totals[row][lane];
        later.compose_after(whole);
        whole = later;
    }
}

// The state before the tile is `since` of `carried`. Only whole warps call: the first tells the
// tile's map and takes what is far, the last takes what is near and tells the group's map, so
// neither waits for the other.
template <typename Task, typename W, int n, int rows, int lanes>
__device__ inline void look_back(const Board<W, n, lanes>& board, const Seat& seat,
                                 const Task& task, bool in_use,
                                 const Affine<W, n> (&totals)[rows][lanes],
                                 Affine<W, n> (&since)[lanes], State<W, n> (&carried)[lanes]) {
    const int lane = threadIdx.x % lanes, warp = threadIdx.x / warp_size;
    const bool is_first = int(threadIdx.x % warp_size) < lanes;
    const bool is_last = int(threadIdx.x % warp_size) >= warp_size - lanes;
    const int in_group = int(seat.tile % board.reach);
    const int64 group = seat.tile / board.reach, stretch = group / board.reach;
    if (warp == 0 && seat.is_followed()) {
        Affine<W, n> map;
        if (is_first) {
            map = totals[0][lane];
            fold(totals, 1, lane, map);
        }
        board.maps.tell(seat.place(seat.tile), lane, is_first, map);
    }
    if (warp == int(blockDim.x) / warp_size - 1) {
        Affine<W, n> map = composed(board, seat, seat.tile - in_group, in_group);
        if (is_last) since[lane] = map;
        if (in_group == board.reach - 1 && seat.is_followed()) {
            if (is_last) fold(totals, 0, lane, map);
            board.maps.tell(seat.place(seat.n_tiles + group), lane, is_last, map);
        }
    }
    if (warp == 0) {
        const int before = int(group % board.reach);
        const Affine<W, n> map = composed(board, seat, seat.n_tiles + group - before, before);
        if (is_last) {
            State<W, n> state;
            if (stretch > 0) {
                state = board.states.ask(seat.place(stretch - 1), lane);
            } else {
#pragma unroll
                for (int row = 0; row < n; ++row) state.v[row] = in_use ? task.initial(row) : W(0.0);
            }
            map.apply(state.v);
            carried[lane] = state;
        }
    }
}

}  // namespace seqsolve

#endif
