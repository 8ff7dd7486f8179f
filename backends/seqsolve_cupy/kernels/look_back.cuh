// How a tile learns the state before it from the tiles before.
//
// Tiles of a sequence are counted in two digits: `reach` tiles are a group, `reach` groups a
// stretch. A tile tells its map; the last of a group also the group's map; the last of a stretch
// also the state after it. A tile takes the state before its stretch, the maps of the groups
// before its own, and those of the tiles before it in its group: always these, whatever else is
// known already, so results do not depend on who came when.
//
// A map has `set_identity`, `extend`, `follow`, `take_from` and `apply`, as `Affine` has.
#ifndef SEQSOLVE_LOOK_BACK_CUH
#define SEQSOLVE_LOOK_BACK_CUH

#include "narrow.cuh"

namespace seqsolve {

// Items that blocks tell each other, `lanes` in a place, and a flag for each place: the number of
// the round in which its item was told last.
template <typename Item, int lanes>
struct Notices {
    int* flags;
    Item* items;
    int round;

    // By a whole warp. The lanes that speak are adjacent threads, one for each lane.
    __device__ void tell(int64 place, int lane, bool speaks, const Item& item) const {
        if (speaks) items[place * lanes + lane] = item;
        __syncwarp();
        if (speaks && lane == 0) store_release(flags + place, round);
    }

    __device__ const Item& ask(int64 place, int lane) const {
        wait_for(flags + place, round);
        return items[place * lanes + lane];
    }
};

template <typename Map_, typename State_, int lanes>
struct Board {
    using Map = Map_;
    using State = State_;

    int* ticket;                   // the next tile
    Notices<Map, lanes> maps;      // of tiles, then of groups of tiles
    Notices<State, lanes> states;  // after stretches
    int reach;

    // Of `flags` the first is the ticket; the others are less than `round`.
    template <typename Number>
    __device__ Board(int* flags, Number* map_data, Number* state_data, int reach_, int n_columns,
                     int n_tiles, int round)
        : ticket(flags),
          maps{flags + 1, reinterpret_cast<Map*>(map_data), round},
          states{flags + 1 + int64(n_tiles + n_tiles / reach_) * n_columns,
                 reinterpret_cast<State*>(state_data), round},
          reach(reach_) {}
};

// A tile among those of its lanes' sequences.
struct Seat {
    int64 tile, n_tiles, column, n_columns;

    __device__ bool is_followed() const { return tile + 1 < n_tiles; }
    __device__ int64 place(int64 number) const { return number * n_columns + column; }
};

// The composed maps of `count` places from `first` on, in the last lanes of the warp.
template <typename Map, typename State, int lanes>
__device__ inline Map composed(const Board<Map, State, lanes>& board, const Seat& seat, int64 first,
                               int count) {
    constexpr int runs = warp_size / lanes;
    const int lane = threadIdx.x % lanes, run = threadIdx.x % warp_size / lanes;
    const int each = (board.reach + runs - 1) / runs, begin = run * each;
    Map past;
    past.set_identity();
    if (count == 0) return past;
    for (int i = begin; i < begin + each && i < count; ++i) {
        const Map& later = board.maps.ask(seat.place(first + i), lane);
        if (i > begin)
            past.extend(later);
        else
            past = later;
    }
    scan_warp<lanes>(past);
    return past;
}

// The maps of all rows from `first` on, after `whole`.
template <typename Map, int rows, int lanes>
__device__ inline void fold(const Map (&totals)[rows][lanes], int first, int lane, Map& whole) {
#pragma unroll 1
    for (int row = first; row < rows; ++row) whole.extend(totals[row][lane]);
}

// The state before the tile is `since` of `carried`; that before the first tile is `initial()`. Only
// whole warps call: the first tells the tile's map and takes what is far, the last takes what is
// near and tells the group's map, so neither waits for the other.
template <typename Map, typename State, typename Initial, int rows, int lanes>
__device__ inline void look_back(const Board<Map, State, lanes>& board, const Seat& seat,
                                 const Initial& initial, const Map (&totals)[rows][lanes],
                                 Map (&since)[lanes], State (&carried)[lanes]) {
    const int lane = threadIdx.x % lanes, warp = threadIdx.x / warp_size;
    const bool is_first = int(threadIdx.x % warp_size) < lanes;
    const bool is_last = int(threadIdx.x % warp_size) >= warp_size - lanes;
    const int in_group = int(seat.tile % board.reach);
    const int64 group = seat.tile / board.reach, stretch = group / board.reach;
    if (warp == 0 && seat.is_followed()) {
        Map map;
        if (is_first) {
            map = totals[0][lane];
            fold(totals, 1, lane, map);
        }
        board.maps.tell(seat.place(seat.tile), lane, is_first, map);
    }
    if (warp == int(blockDim.x) / warp_size - 1) {
        Map map = composed(board, seat, seat.tile - in_group, in_group);
        if (is_last) since[lane] = map;
        if (in_group == board.reach - 1 && seat.is_followed()) {
            if (is_last) fold(totals, 0, lane, map);
            board.maps.tell(seat.place(seat.n_tiles + group), lane, is_last, map);
        }
    }
    if (warp == 0) {
        const int before = int(group % board.reach);
        const Map map = composed(board, seat, seat.n_tiles + group - before, before);
        if (is_last) {
            State state = stretch > 0 ? board.states.ask(seat.place(stretch - 1), lane) : initial();
            map.apply(state);
            carried[lane] = state;
        }
    }
}

// The state before the thread's run, from what looking back has found and the map of the runs
// before it in its warp. The last tile of a stretch tells the state after it.
template <typename Shape, typename Map, typename State, int rows, int lanes>
__device__ inline State state_before(const Board<Map, State, lanes>& board, const Seat& seat,
                                     const Map& in_warp, const Map (&totals)[rows][lanes],
                                     const Map (&since)[lanes], const State (&carried)[lanes]) {
    State state = carried[Shape::lane()];
    since[Shape::lane()].apply(state);
    const int64 stretch = int64(board.reach) * board.reach;
    if (seat.tile % stretch == stretch - 1 && seat.is_followed() && threadIdx.x < warp_size) {
        State after = state;
#pragma unroll 1
        for (int row = 0; row < Shape::rows; ++row) totals[row][Shape::lane()].apply(after);
        board.states.tell(seat.place(seat.tile / stretch), Shape::lane(), int(threadIdx.x) < lanes,
                          after);
    }
#pragma unroll 1
    for (int row = 0; row < Shape::row(); ++row) totals[row][Shape::lane()].apply(state);
    in_warp.apply(state);
    return state;
}

}  // namespace seqsolve

#endif
