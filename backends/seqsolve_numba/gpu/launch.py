# mypy: disable-error-code="attr-defined,no-untyped-call"
"""Compiles kernels for the device and launches them, on arrays of CuPy or of the simulator."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from numba import cuda

from seqsolve.backend import FusedOutcome
from seqsolve_numba.device import simulated
from seqsolve_numba.gpu.memory import memory_errors

#: Threads that work on a sequence together. The simulator's are threads of Python.
TEAM = 4 if simulated() else 128

#: Threads of a block where each works on its own.
BLOCK = 8 if simulated() else 128

#: Steps that a thread takes alone, at least, where several share a recurrence.
SPAN = 4 if simulated() else 32

#: Rounds that are queued before the host looks whether the device is done: at first, at most.
FIRST_ROUNDS, MOST_ROUNDS = 8, 64

#: Bytes of shared memory that a block may use on every device.
SHARED = 40 * 1024

Function = Callable[..., Any]
Grid = int | tuple[int, int]


def device_function(function: Function) -> Any:
    """Return `function` as kernels call it: compiled once, and inlined by the optimiser."""
    if simulated():
        return function
    return cuda.jit(device=True, forceinline=True)(function)  # type: ignore[call-arg]


def view_function(function: Function) -> Any:
    """Return `function`, which may return a view of its argument, as kernels call it."""
    if simulated():
        return function
    return cuda.jit(device=True, inline="always")(function)


def kernel(function: Function) -> Any:
    """Return `function` as a kernel: compiled at its first launch, for the types that it gets."""
    return cuda.jit(function)


def run(compiled: Any, grid: Grid, n_threads: int, *arguments: Any) -> None:
    """Launch a kernel on the stream that CuPy uses; arrays are shared, not copied."""
    if grid != 0:
        ready(compiled, grid, n_threads, *arguments)()


def ready(compiled: Any, grid: Grid, n_threads: int, *arguments: Any) -> Callable[[], None]:
    """Return what launches a kernel, with its arguments prepared, as often as it is called."""
    shared = tuple(_shared(a) for a in arguments)
    if simulated():
        launcher = compiled[grid, n_threads]
    else:
        launcher = _launcher(compiled, grid, n_threads, _stream_handle())

    def launch() -> None:
        with memory_errors():
            launcher(*shared)

    return launch


def rounds(backend: Any, launches: Sequence[Callable[[], None]], left: Any) -> None:
    """Queue rounds of launches until no sequence is left.

    Nothing waits for the host within a round, or between rounds: a launch finds
    on the device what is to do. The host looks at `left` after some rounds,
    which cost little where nothing is left.

    Parameters
    ----------
    backend : CudaBackend
        Holds the array.
    launches : sequence of callable
        Those of one round, in order.
    left : array of int64, shape (1,)
        How many sequences are left, on the device.
    """
    n_rounds = FIRST_ROUNDS
    while True:
        for _ in range(n_rounds):
            for one in launches:
                one()
        if backend.to_numpy(left)[0] == 0:
            return
        n_rounds = min(2 * n_rounds, MOST_ROUNDS)


def each(compiled: Any, n_items: int, *arguments: Any) -> None:
    """Launch a kernel with one thread, at least, for each item."""
    run(compiled, -(-n_items // BLOCK), BLOCK, *arguments)


def team(n_bytes: int, besides: int = 0) -> int:
    """Return how many threads work on a sequence together.

    Parameters
    ----------
    n_bytes : int
        Shared memory that each of them needs.
    besides : int
        Shared memory that they need in common.
    """
    n_threads = TEAM
    while n_threads > 1 and n_threads * n_bytes + besides > SHARED:
        n_threads //= 2
    return n_threads


def synchronize() -> None:
    """Wait until the device is done."""
    cuda.synchronize()


class Report:
    """What a fused solve reports, on the device until it is asked for.

    Parameters
    ----------
    backend : CudaBackend
        Holds the arrays.
    y : array, shape (n_steps + 1, n_batch, n_state)
        The states.
    window : int
        Steps solved together.
    columns : int
        Most iterations of a window that are reported.
    """

    def __init__(self, backend: Any, y: Any, window: int, columns: int) -> None:
        xp, n_steps, n_batch = backend.xp, y.shape[0] - 1, y.shape[1]
        windows = (-(-n_steps // window), n_batch)
        self._backend = backend
        self.arrays = (
            xp.full(n_batch, n_steps, dtype="int64"),
            xp.zeros(n_batch, dtype="bool"),
            xp.zeros(windows, dtype="int64"),
            xp.zeros(windows, dtype="float64"),
            xp.zeros((windows[0], columns), dtype="float64"),
        )

    def outcome(self) -> FusedOutcome:
        """Return it, in host memory."""
        return FusedOutcome(*(self._backend.to_numpy(a) for a in self.arrays))


def n_multiprocessors() -> int:
    """Return how many multiprocessors the device has; a block runs on one."""
    return 2 if simulated() else _attribute("MultiProcessorCount")


def n_resident() -> int:
    """Return how many threads the device runs at the same time."""
    if simulated():
        return 16
    return n_multiprocessors() * _attribute("MaxThreadsPerMultiProcessor")


def _attribute(name: str) -> int:
    """Return an attribute of the device: Numba's names of them have changed, CuPy's have not."""
    import cupy

    return _attribute_of(cupy.cuda.Device().id, name)


@functools.cache
def _attribute_of(device: int, name: str) -> int:
    import cupy

    return int(cupy.cuda.Device(device).attributes[name])


def blocks_each(n_batch: int, most: int) -> int:
    """Return how many blocks work on a sequence, at most `most`, so that all fill the device."""
    return max(1, min(most, n_resident() // (TEAM * n_batch)))


def describe() -> str:
    """Return the device in words."""
    if simulated():
        return "simulated by Numba"
    device = cuda.get_current_device()
    name = device.name.decode() if isinstance(device.name, bytes) else device.name
    return "{} (sm_{}{})".format(name, *device.compute_capability)


@functools.lru_cache(maxsize=256)
def _launcher(compiled: Any, grid: Grid, n_threads: int, stream_handle: int) -> Any:
    """Return a kernel with its grid, without Numba's warning that a grid is small."""
    stream = cuda.external_stream(stream_handle) if stream_handle else 0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Grid size")
        return compiled[grid, n_threads, stream]


def _stream_handle() -> int:
    import cupy

    return int(cupy.cuda.get_current_stream().ptr)


def _shared(argument: Any) -> Any:
    """Return an array as kernels take it, on the same memory; other arguments as they are."""
    if isinstance(argument, tuple):
        return tuple(map(_shared, argument))
    if not hasattr(argument, "shape") or not argument.shape:
        return argument
    if simulated():
        from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

        return FakeCUDAArray(argument)
    return cuda.as_cuda_array(argument, sync=False)
