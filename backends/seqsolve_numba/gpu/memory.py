"""What the memory of the device has room for, and what is raised where it ends."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

from seqsolve_numba.device import simulated

#: Arrays of states that an iteration on arrays holds at a time, temporaries of the step function
#: included, and arrays of Jacobians.
STATE_ARRAYS, JACOBIAN_ARRAYS = 16, 4

#: Arrays of states that fused iterations and sweeps hold: two iterates.
FUSED_ARRAYS = 2

#: The part of the free memory that a window may take: half is left to the trajectory, the input
#: and the user.
MEMORY_SHARE = 0.5

#: The part of the device's memory that the threads' own may take: the driver sets it aside for as
#: many threads as the device can run, and keeps it.
LOCAL_SHARE = 1 / 8

#: Memory of the device that Numba simulates.
_SIMULATED = 1 << 28


def fitting_steps(n_steps: int, n_bytes: int) -> int:
    """Return how many of `n_steps` fit the free memory, at least 1, of `n_bytes` each."""
    return max(1, min(n_steps, int(MEMORY_SHARE * free_bytes()) // max(1, n_bytes)))


def free_bytes() -> int:
    """Return how much memory the current device could still give: free, or kept by CuPy's pool."""
    if simulated():
        return _SIMULATED
    import cupy

    pool = cupy.get_default_memory_pool()
    available = int(cupy.cuda.Device().mem_info[0]) + int(pool.free_bytes())
    limit = int(pool.get_limit())
    return min(available, limit - int(pool.used_bytes())) if limit else available


def total_bytes() -> int:
    """Return the size of the current device's memory."""
    if simulated():
        return _SIMULATED
    import cupy

    return _total_bytes_of(cupy.cuda.Device().id)


@functools.cache
def _total_bytes_of(device: int) -> int:
    import cupy

    return int(cupy.cuda.Device(device).mem_info[1])


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise `MemoryError` where a kernel does not fit in memory.

    Libraries raise errors of their own for that, which have the driver's name of it in common.
    """
    try:
        yield
    except Exception as error:
        if "CUDA_ERROR_OUT_OF_MEMORY" not in str(error):
            raise
        raise MemoryError(
            "the device has no memory left for a kernel, or for what its threads keep for "
            "themselves"
        ) from error
