"""The emulation of kernels finds faults: one planted at a time, beside a kernel without it."""

from __future__ import annotations

import numpy as np
import pytest
from support.emulation import reason_not_to_emulate

if reason_not_to_emulate():
    pytest.skip(reason_not_to_emulate(), allow_module_level=True)

from cuda_host import CompileError, KernelFault, LaunchError, Module, Pointer, schedule

SEEDS = range(20)

SOURCE = r"""
#if FAULT == 1
#define BARRIER
#else
#define BARRIER __syncthreads();
#endif

template <class T, int B>
__global__ void reverse_block(const T *x, T *y) {
    __shared__ T tile[B];
    const int i = threadIdx.x;
    tile[i] = x[blockIdx.x * B + i];
    BARRIER
    y[blockIdx.x * B + i] = tile[B - 1 - i];
}

template <int B>
__global__ void sum_warps(const float *x, float *y, long long n) {
    const long long i = static_cast<long long>(blockIdx.x) * B + threadIdx.x;
    float v = i < n ? x[i] : 0.0f;
    for (int d = 16; d > 0; d >>= 1) v += __shfl_down_sync(0xffffffffu, v, d);
    if (threadIdx.x % 32 == 0) atomicAdd(y, v);
}

__global__ void dynamic_sum(const double *x, double *y) {
    extern __shared__ unsigned char raw[];
    double *tile = reinterpret_cast<double *>(raw);
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    double sum = 0;
    for (unsigned i = 0; i < blockDim.x; ++i) sum += tile[i];
    y[threadIdx.x] = sum;
}

// Blocks hand a sum on from one to the next.
__global__ void chain(volatile int *flags, int *tickets, double *sums, int dynamic) {
    __shared__ int number;
    if (threadIdx.x == 0) number = dynamic ? atomicAdd(tickets, 1) : blockIdx.x;
    __syncthreads();
    if (threadIdx.x == 0) {
        double before = 0;
        if (number > 0) {
            while (flags[number - 1] == 0) __nanosleep(20);
            __threadfence();
            before = sums[number - 1];
        }
        sums[number] = before + number;
        __threadfence();
        flags[number] = 1;
    }
    __syncthreads();
}

__global__ void indices(int *out) {
    const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const int size = blockDim.x * blockDim.y * blockDim.z;
    out[block * size + thread] = blockIdx.z * 10000 + blockIdx.y * 1000 + blockIdx.x * 100
        + threadIdx.z * 16 + threadIdx.y * 4 + threadIdx.x;
}

__global__ void copies(const int *x, int *out) {
    __shared__ int tile[32];
    cuda_host::copy_async(tile + threadIdx.x, x + threadIdx.x, 4);
    out[threadIdx.x] = tile[threadIdx.x];
    cuda_host::wait_for_copies();
    out[32 + threadIdx.x] = tile[threadIdx.x];
}

__global__ void collectives(int *out) {
    const int lane = threadIdx.x;
    out[lane] = __shfl_up_sync(0xffffffffu, lane, 3);
    out[32 + lane] = __shfl_down_sync(0xffffffffu, lane, 3);
    out[64 + lane] = __shfl_xor_sync(0xffffffffu, lane, 5);
    out[96 + lane] = __shfl_sync(0xffffffffu, lane, lane + 40);
    out[128 + lane] = __shfl_up_sync(0xffffffffu, lane, 1, 8);
    out[160 + lane] = __shfl_down_sync(0xffffffffu, lane, 1, 8);
    out[192 + lane] = __shfl_sync(0xffffffffu, lane, 2, 8);
    out[224 + lane] = __ballot_sync(0xffffffffu, lane % 3 == 0);
    out[256 + lane] = __any_sync(0xffffffffu, lane == 7) + 2 * __all_sync(0xffffffffu, lane < 31);
    out[288 + lane] = lane < 8 ? __shfl_xor_sync(0x000000ffu, lane, 1) : -1;
    __syncwarp();
    out[320 + lane] = __syncthreads_count(lane < 5) + 100 * __syncthreads_or(lane == 9)
        + 1000 * __syncthreads_and(lane < 32);
}
"""

FAULTS = r"""
__global__ void mask_lacks_the_caller(int *y) {
    y[threadIdx.x] = __shfl_sync(0x0000ffffu, y[threadIdx.x], 0);
}
__global__ void mask_names_absent_lanes(int *y) {
    if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0xffffffffu, y[threadIdx.x], 0);
}
__global__ void mask_names_waiting_lanes(int *y) {
    if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0xffffffffu, y[threadIdx.x], 0);
    __syncthreads();
}
__global__ void masks_differ(int *y) {
    const unsigned mask = threadIdx.x % 2 ? 0xffffffffu : 0x7fffffffu | (threadIdx.x == 31) << 31;
    y[threadIdx.x] = __shfl_sync(mask, y[threadIdx.x], 0);
}
__global__ void operations_differ(int *y) {
    if (threadIdx.x % 2) __syncwarp();
    else y[threadIdx.x] = __shfl_sync(0xffffffffu, y[threadIdx.x], 0);
}
__global__ void reads_outside_the_mask(int *y) {
    if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0x0000ffffu, y[threadIdx.x], 16);
}
__global__ void barrier_without_some(int *y) {
    if (threadIdx.x < 16) return;
    __syncthreads();
    y[threadIdx.x] = 1;
}
__global__ void barriers_differ(int *y) {
    if (threadIdx.x < 16)
        __syncthreads();
    else
        __syncthreads();
    y[threadIdx.x] = 1;
}
__global__ void barrier_and_shuffle(int *y) {
    if (threadIdx.x < 16) __syncthreads();
    else y[threadIdx.x] = __shfl_sync(0xffffffffu, 1, 0);
}
__global__ void spins_for_ever(int *y) {
    while (*static_cast<volatile int *>(y) != 17) __nanosleep(10);
}
__global__ void traps(int *y) {
    if (y[threadIdx.x] == 0 && threadIdx.x == 5) __trap();
}
__global__ void ends_while_it_copies(int *y) {
    __shared__ int tile[32];
    cuda_host::copy_async(tile + threadIdx.x, y + threadIdx.x, 4);
}
__global__ void copies_to_odd_places(int *y) {
    __shared__ int tile[64];
    cuda_host::copy_async(tile + 1 + threadIdx.x, y, 8);
    cuda_host::wait_for_copies();
}
__global__ void writes_beside_shared_memory(int *y) {
    __shared__ int tile[31];
    tile[threadIdx.x] = 1;
    y[threadIdx.x] = 2;
}
__global__ void writes_before_shared_memory(int *y) {
    extern __shared__ int dynamic[];
    dynamic[-1] = 1;
    y[threadIdx.x] = 2;
}
__global__ void too_much_shared_memory(int *y) {
    __shared__ double tile[8192];
    tile[threadIdx.x] = 1;
    y[threadIdx.x] = tile[threadIdx.x];
}
"""

EXPECTED = {
    "mask_lacks_the_caller": r"thread \((1[6-9]|2\d|3[01]), 0, 0\): a shuffle at kernel.cu:3: mask "
    r"0x0000ffff lacks the caller",
    "mask_names_absent_lanes": r"(have ended|never arrive)",
    "mask_names_waiting_lanes": r"wait for others that never arrive:(\n.*)*waits in a shuffle at "
    r"kernel.cu:9 with mask 0xffffffff",
    "masks_differ": r"a shuffle at kernel.cu:14 with mask 0x\w+ and width 32, but",
    "operations_differ": r"but block \(\d, 0, 0\), thread .* waits in",
    "reads_outside_the_mask": r"reads lane 16, which mask 0x0000ffff lacks",
    "barrier_without_some": r"(threads of the block have ended|never arrive)",
    "barriers_differ": r"__syncthreads at kernel.cu:\d+, but other threads wait in __syncthreads",
    "barrier_and_shuffle": r"never arrive:(\n.*)*waits in __syncthreads",
    "spins_for_ever": r"threads spin for ever",
    "traps": r"block \(\d, 0, 0\), thread \(5, 0, 0\): the kernel trapped",
    "ends_while_it_copies": r"it ends while it copies",
    "copies_to_odd_places": r"it copies 8 bytes from \w+ to \w+, which is not aligned",
    "writes_beside_shared_memory": r"wrote outside of its shared memory, .* of 124 bytes",
    "writes_before_shared_memory": r"wrote outside of its shared memory, .* of 64 bytes",
    "too_much_shared_memory": r"declares 65536 bytes of shared memory",
}

CORRECT = (
    "reverse_block<float, 64>",
    "reverse_block<double, 128>",
    "sum_warps<64>",
    "dynamic_sum",
    "chain",
    "indices",
    "copies",
    "collectives",
)


@pytest.fixture(scope="module")
def kernels():
    return Module(SOURCE, CORRECT, ["-DFAULT=0"])


@pytest.fixture(scope="module")
def faulty():
    return Module(FAULTS, tuple(EXPECTED), [])


def pointer(a):
    return Pointer(a.ctypes.data, a.itemsize)


def reverse_blocks(kernel, dtype, n_threads, seed):
    x = np.arange(5 * n_threads, dtype=dtype)
    y = np.zeros_like(x)
    with schedule(seed=seed):
        kernel.launch((5,), (n_threads,), (pointer(x), pointer(y)), 0)
    return y, x.reshape(5, -1)[:, ::-1].ravel()


@pytest.mark.parametrize(("dtype", "n_threads"), [("float32", 64), ("float64", 128)])
def test_barriers(kernels, dtype, n_threads):
    name = {"float32": "float", "float64": "double"}[dtype]
    for seed in SEEDS:
        y, expected = reverse_blocks(
            kernels[f"reverse_block<{name}, {n_threads}>"], dtype, n_threads, seed
        )
        np.testing.assert_array_equal(y, expected)


def test_a_missing_barrier_shows_with_every_seed():
    faulty = Module(SOURCE, CORRECT[:1], ["-DFAULT=1"])
    for seed in SEEDS:
        y, expected = reverse_blocks(faulty["reverse_block<float, 64>"], "float32", 64, seed)
        assert not np.array_equal(y, expected)
        assert np.isnan(y).any(), "what was not yet written is NaN"


def test_shuffles_and_atomics(kernels):
    x = np.arange(1000, dtype=np.float32)
    for seed in SEEDS:
        y = np.zeros(1, np.float32)
        with schedule(seed=seed):
            kernels["sum_warps<64>"].launch(
                (16,), (64,), (pointer(x), pointer(y), np.int64(1000)), 0
            )
        assert y[0] == x.sum()


def test_dynamic_shared_memory(kernels):
    x, y = np.arange(96.0), np.zeros(96)
    kernels["dynamic_sum"].launch((1,), (96,), (pointer(x), pointer(y)), 96 * 8)
    assert (y == x.sum()).all()
    assert kernels["dynamic_sum"].shared_bytes == 96 * 8
    with pytest.raises(KernelFault, match="wrote outside of its shared memory"):
        kernels["dynamic_sum"].launch((1,), (96,), (pointer(x), pointer(y)), 95 * 8)


def test_indices(kernels):
    out = np.full(2 * 3 * 2 * 24, -1, np.int32)
    kernels["indices"].launch((2, 3, 2), (4, 3, 2), (pointer(out),), 0)
    z, y, x, c, b, a = np.meshgrid(*map(np.arange, (2, 3, 2, 2, 3, 4)), indexing="ij")
    expected = z * 10000 + y * 1000 + x * 100 + c * 16 + b * 4 + a
    np.testing.assert_array_equal(out, expected.ravel())


def test_collectives(kernels):
    lane = np.arange(32)
    expected = [
        np.where(lane < 3, lane, lane - 3),
        np.where(lane > 28, lane, lane + 3),
        lane ^ 5,
        (lane + 40) % 32,
        np.where(lane % 8 == 0, lane, lane - 1),
        np.where(lane % 8 == 7, lane, lane + 1),
        lane // 8 * 8 + 2,
        np.full(32, sum(1 << i for i in range(0, 32, 3))).astype(np.int32),
        np.full(32, 1),
        np.where(lane < 8, lane ^ 1, -1),
        np.full(32, 5 + 100 + 1000),
    ]
    for seed in SEEDS:
        out = np.full((11, 32), -9, np.int32)
        with schedule(seed=seed):
            kernels["collectives"].launch((1,), (32,), (pointer(out),), 0)
        np.testing.assert_array_equal(out, expected)


def run_chain(kernels, n_blocks, dynamic, **how):
    flags, tickets = np.zeros(n_blocks, np.int32), np.zeros(1, np.int32)
    sums = np.zeros(n_blocks)
    with schedule(**how):
        kernels["chain"].launch(
            (n_blocks,),
            (32,),
            (pointer(flags), pointer(tickets), pointer(sums), np.int32(dynamic)),
            0,
        )
    np.testing.assert_array_equal(sums, np.cumsum(np.arange(n_blocks)))


def test_copies_are_there_after_the_wait_and_not_before(kernels):
    x, out = np.arange(32, dtype="int32"), np.zeros((2, 32), "int32")
    kernels["copies"].launch((1,), (32,), (pointer(x), pointer(out)), 0)
    np.testing.assert_array_equal(out, [np.full(32, -1), x])


@pytest.mark.parametrize("resident", [1, 2, 5, 40])
def test_blocks_wait_for_earlier_blocks(kernels, resident):
    for seed in SEEDS:
        run_chain(kernels, 20, False, resident=resident, seed=seed)
        run_chain(kernels, 20, True, resident=resident, seed=seed, shuffle=True)


def test_waiting_for_a_block_that_cannot_start_is_reported(kernels):
    with pytest.raises(KernelFault, match=r"chain: threads spin for ever:\n  block \(\d+, 0, 0\)"):
        run_chain(kernels, 20, False, resident=3, seed=1, shuffle=True)
    run_chain(kernels, 20, False, resident=3)


def test_blocks_overlap_and_seeds_differ(kernels):
    """The order in which warps add up in floating point is another one with each seed."""
    x = np.logspace(-8, 8, 4096).astype(np.float32)
    sums = set()
    for seed in SEEDS:
        y = np.zeros(1, np.float32)
        with schedule(seed=seed):
            kernels["sum_warps<64>"].launch(
                (64,), (64,), (pointer(x), pointer(y), np.int64(4096)), 0
            )
        sums.add(float(y[0]))
    assert len(sums) > 2


def test_a_seed_repeats_its_order(kernels):
    x = np.logspace(-8, 8, 4096).astype(np.float32)
    sums = []
    for _ in range(2):
        y = np.zeros(1, np.float32)
        with schedule(seed=7):
            kernels["sum_warps<64>"].launch(
                (64,), (64,), (pointer(x), pointer(y), np.int64(4096)), 0
            )
        sums.append(float(y[0]))
    assert sums[0] == sums[1]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_planted_fault_is_found(faulty, name):
    for seed in SEEDS:
        y = np.zeros(32, np.int32)
        with schedule(seed=seed), pytest.raises(KernelFault, match=EXPECTED[name]) as caught:
            faulty[name].launch((2,), (32,), (pointer(y),), 64)
        assert str(caught.value).startswith(f"{name}: ")


def test_kernels_run_after_a_fault(faulty, kernels):
    with pytest.raises(KernelFault):
        faulty["barriers_differ"].launch((1,), (32,), (pointer(np.zeros(32, np.int32)),), 0)
    y, expected = reverse_blocks(kernels["reverse_block<float, 64>"], "float32", 64, 0)
    np.testing.assert_array_equal(y, expected)


FLOATS = Pointer(4, 4)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "takes 3 arguments; got 0"),
        ((Pointer(8, 8), FLOATS, np.int64(1)), "parameter 0 is a pointer to elements of 4 bytes"),
        ((FLOATS, FLOATS, np.int32(1)), "parameter 2 is a int of 8 bytes; got int32"),
        ((FLOATS, FLOATS, np.float64(1)), "parameter 2 .* got float64"),
        ((FLOATS, np.uint64(0), np.int64(1)), "parameter 1 is a pointer .* got uint64"),
    ],
)
def test_arguments_are_compared_with_parameters(kernels, args, message):
    with pytest.raises(KernelFault, match=message):
        kernels["sum_warps<64>"].launch((1,), (64,), args, 0)


@pytest.mark.parametrize(
    ("grid", "block", "shared"),
    [
        ((0,), (32,), 0),
        ((1, 65536), (32,), 0),
        ((1,), (1025,), 0),
        ((1,), (0,), 0),
        ((1,), (1, 1, 65), 0),
        ((1,), (32,), 49153),
        ((1,), (32,), -1),
    ],
)
def test_launches_that_a_driver_refuses(kernels, grid, block, shared):
    with pytest.raises(LaunchError):
        kernels["indices"].launch(grid, block, (pointer(np.zeros(2048, np.int32)),), shared)


@pytest.mark.parametrize(
    "code",
    [
        "__global__ void k() { undeclared(); }",
        "__global__ void k() { __shared__ int a[2], b[2]; }",
        "__global__ void k() { __shared__ int a = 3; }",
        "template <class T> __global__ void k(T *) {}",
    ],
)
def test_source_that_is_refused(code):
    with pytest.raises(CompileError, match="error"):
        Module(code, ("k",), [])
