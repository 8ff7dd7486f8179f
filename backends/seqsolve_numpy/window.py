"""How many steps the CPU solves together."""

from __future__ import annotations

import functools
import os

#: Working values per state entry that one iteration touches besides the Jacobian.
_VALUES_PER_STATE = 12

_MIN_WINDOW = 16


def default_window(
    *, n_steps: int, n_batch: int, n_state: int, n_jacobian: int, itemsize: int
) -> int:
    """Return the number of steps whose working set fits the second-level cache.

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
        At least 16, but at most `n_steps` (and at least 1).
    """
    bytes_per_step = n_batch * (n_jacobian + _VALUES_PER_STATE * n_state) * itemsize
    return max(1, min(n_steps, max(_MIN_WINDOW, cache_size() // max(1, bytes_per_step))))


@functools.cache
def cache_size() -> int:
    """Return the size of the second-level cache in bytes, 1 MiB where unknown."""
    try:
        size = os.sysconf("SC_LEVEL2_CACHE_SIZE")
    except (AttributeError, ValueError, OSError):
        size = 0
    return size if size > 0 else 2**20
