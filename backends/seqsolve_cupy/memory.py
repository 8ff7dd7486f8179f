"""How many steps the device solves together, from its memory and its width."""

from __future__ import annotations

import cupy

from seqsolve_cupy import layout

#: Arrays of states that one iteration holds at a time, a step function's temporaries included,
#: and arrays of Jacobians: the step's own, its parts, and one in wider numbers.
STATE_ARRAYS, JACOBIAN_ARRAYS = 16, 4

#: The part of the free memory that a window may take: half is left to the trajectory, the input
#: and the user.
MEMORY_SHARE = 0.5

#: Numbers for each multiprocessor from which a single step, vectorised over the batch, keeps the
#: device busy: its threads, several times over.
BUSY_NUMBERS = 2048 * 16


def default_window(
    *, n_steps: int, n_batch: int, n_state: int, n_jacobian: int, itemsize: int
) -> int:
    """Return the number of steps to solve together on the current device.

    As many as fit the free memory; 1, stepping through time, where one step of
    the whole batch fills the device and the iterations would only repeat its
    work.

    Parameters
    ----------
    n_steps, n_batch, n_state : int
        Sizes of the whole problem.
    n_jacobian : int
        Jacobian entries per step and sequence.
    itemsize : int
        Bytes per number.

    Returns
    -------
    int
        At least 1, and at most `n_steps` where there are steps.
    """
    busy = BUSY_NUMBERS * layout.n_multiprocessors()
    if n_batch * n_state > busy:
        return 1
    numbers = STATE_ARRAYS * n_state + JACOBIAN_ARRAYS * n_jacobian
    fits = int(MEMORY_SHARE * free_bytes()) // max(1, n_batch * numbers * itemsize)
    return max(1, min(n_steps, fits))


def free_bytes() -> int:
    """Return how much memory the current device could still give: free, or kept by the pool."""
    pool = cupy.get_default_memory_pool()
    free, _ = cupy.cuda.Device().mem_info
    available = int(free) + int(pool.free_bytes())
    limit = int(pool.get_limit())
    return min(available, limit - int(pool.used_bytes())) if limit else available
