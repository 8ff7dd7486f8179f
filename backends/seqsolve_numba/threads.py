"""Threads over the sequences of a batch."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise

#: Work below this many values is not worth handing to another thread.
MIN_VALUES = 2**15


def n_threads() -> int:
    """Return how many threads to use: NUMBA_NUM_THREADS, or all cores of this process."""
    told = os.environ.get("NUMBA_NUM_THREADS", "")
    if told.isdecimal() and int(told):
        return int(told)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def n_shares(n_sequences: int, n_values: int) -> int:
    """Return over how many threads `over_sequences` spreads so many sequences and values."""
    n_shares = min(n_sequences, 1 + n_values // MIN_VALUES)
    return min(n_shares, n_threads()) if n_shares > 1 else 1


def over_sequences(
    run: Callable[[int, int], None], n_sequences: int, n_values: int, multiple: int = 1
) -> None:
    """Call ``run(start, stop)`` on pieces of the batch, one piece a thread.

    The kernels release the interpreter lock. Numba's own pool is not involved:
    any number of Python threads may do this at once, and processes may fork.
    Where a piece fails, the error is raised when all are done.

    Parameters
    ----------
    run : callable
        Works on the sequences from `start` to `stop`.
    n_sequences : int
        Size of the batch.
    n_values : int
        How many values there are to work on, in all.
    multiple : int
        All pieces but the last begin and end at multiples of this.
    """
    n_groups = -(-n_sequences // multiple)
    n_pieces = n_shares(n_groups, n_values)
    if n_pieces == 1:
        run(0, n_sequences)
        return
    bounds = [multiple * (n_groups * i // n_pieces) for i in range(n_pieces)] + [n_sequences]
    others = [_pool(os.getpid()).submit(run, start, stop) for start, stop in pairwise(bounds[1:])]
    try:
        run(bounds[0], bounds[1])
    finally:
        wait(others)
    for future in others:
        future.result()


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Return the threads of a process: those of its parent do not survive a fork."""
    return ThreadPoolExecutor(n_threads(), thread_name_prefix="seqsolve")
