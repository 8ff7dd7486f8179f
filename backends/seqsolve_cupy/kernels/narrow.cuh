// How the threads of a block share a tile: `lanes` adjacent sequences by runs of adjacent steps.
#ifndef SEQSOLVE_NARROW_CUH
#define SEQSOLVE_NARROW_CUH

#include "affine.cuh"

namespace seqsolve {

// Thread x owns run x / lanes of lane x % lanes.
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

// Scans the threads' maps within warps. Each map becomes that of the runs before it in its warp;
// the warps' totals go to shared memory.
template <typename Shape, typename Map, int lanes>
__device__ inline void scan_runs(Map& map, Map (&totals)[Shape::rows][lanes]) {
    scan_warp<Shape::lanes_of_warp>(map);
    if (Shape::is_last_of_warp()) totals[Shape::row()][Shape::lane()] = map;
    if constexpr (Shape::lanes_of_warp < warp_size)
        map.take_from(Shape::lanes_of_warp, Shape::is_first_of_warp());
    else
        map.set_identity();
}

}  // namespace seqsolve

#endif
