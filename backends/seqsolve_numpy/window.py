"""How many steps the CPU solves together, and when it rather steps through time."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

#: Working values per state entry that one iteration touches besides the Jacobian.
VALUES_PER_STATE = 12

#: Newton iterations, the closing evaluation included, of a typical contracting recurrence.
ITERATIONS = 4

#: Nanoseconds of one iteration for each state entry and for each Jacobian entry of a step, and
#: of one step through time: the calls it makes, and its work for each state entry. Measured on
#: GRU cells of 1 to 64 units; only ratios matter, and only to within a factor of two.
ITERATE_STATE, ITERATE_JACOBIAN, STEP_CALLS, STEP_STATE = 13.0, 0.8, 10_000.0, 6.0


def default_window(
    *, n_steps: int, n_batch: int, n_state: int, n_jacobian: int, itemsize: int
) -> int:
    """Return the number of steps to solve together.

    The working vectors of a window fit the second-level cache, its Jacobians
    an eighth of the last-level one. Where a step of the whole batch keeps the
    processor busy by itself, iterating over windows only adds arithmetic: then
    the window is 1.

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
    iterating = ITERATIONS * n_batch * (ITERATE_STATE * n_state + ITERATE_JACOBIAN * n_jacobian)
    if iterating > STEP_CALLS + STEP_STATE * n_batch * n_state:
        return 1
    second_level, last_level = cache_sizes()
    in_second = second_level // max(1, VALUES_PER_STATE * n_batch * n_state * itemsize)
    in_last = last_level // 8 // max(1, n_batch * n_jacobian * itemsize)
    return max(1, min(n_steps, in_second, in_last))


@functools.cache
def cache_sizes() -> tuple[int, int]:
    """Return the sizes of the second- and the last-level cache in bytes.

    1 MiB and 8 MiB where the system does not tell.
    """
    sizes: dict[int, int] = {}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        with contextlib.suppress(OSError, ValueError):
            level = int((index / "level").read_text())
            size = (index / "size").read_text().strip()
            sizes[level] = int(size.rstrip("KMG")) << {"K": 10, "M": 20, "G": 30}.get(size[-1], 0)
    second = sizes.get(2, 2**20)
    return second, max(second, sizes.get(max(sizes, default=0), 2**23))
