"""Time on a device: cold caches, full queues, medians between events."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from typing import Any

import cupy
import numpy as np

from gpu.figures import Session

Call = Callable[[], Any]

#: A measurement is repeated until it has taken so many seconds, within these numbers of repeats.
SECONDS, LEAST, MOST = 0.25, 3, 50

#: Inputs are rotated among so many times the second-level cache, and calls repeated between two
#: events until they have moved so many times as much.
ROTATED, MOVED = 4, 16

#: Calls between two events, at most, and sets of arrays.
MOST_CALLS, MOST_SETS = 16, 8

#: Bytes that are read before each measurement, so that launches queue up meanwhile.
AHEAD = 2**30


def measured(session: Session, calls: Sequence[Call], *, n_bytes: int = 0) -> dict[str, Any]:
    """Return the time of one call and its floor.

    Calls compute the same on arrays of their own. They are queued one behind
    the other between two events on the device, while it is busy with
    something else: Python's time shows only where it is longer than the work.

    Parameters
    ----------
    session : Session
        Knows the bandwidth.
    calls : sequence of callable
        Called in turn; called before, to compile.
    n_bytes : int
        Inputs and outputs of one call.
    """
    moved = max(1, n_bytes)
    wanted = math.ceil(MOVED * cache_bytes() / moved) if n_bytes else 1
    rounds = 1 if session.tiny else -(-max(1, min(MOST_CALLS, wanted)) // len(calls))
    queue = rounds * list(calls)
    ahead = _ahead(session.tiny)
    n_ahead = 1
    if not session.tiny:
        n_ahead = min(100, 1 + math.ceil(_launch_seconds(queue) / _span([ahead])))

    def once() -> float:
        for _ in range(n_ahead):
            ahead()
        return _span(queue) / len(queue)

    seconds = once() if session.tiny else _median(once, SECONDS)
    return {"seconds": seconds, "floor": n_bytes / session.bandwidth if n_bytes else None}


def measured_by_user(session: Session, call: Call, *, n_bytes: int = 0) -> dict[str, Any]:
    """Return the time that passes on the host until a call's work is done; called before."""

    def once() -> float:
        cupy.cuda.Device().synchronize()
        start = time.perf_counter()
        call()
        cupy.cuda.Device().synchronize()
        return time.perf_counter() - start

    seconds = once() if session.tiny else _median(once, SECONDS)
    return {"seconds": seconds, "floor": n_bytes / session.bandwidth if n_bytes else None}


def n_sets(session: Session, n_bytes: int) -> int:
    """Return how many sets of arrays are larger than the cache together."""
    if session.tiny:
        return 2
    return max(1, min(MOST_SETS, math.ceil(ROTATED * cache_bytes() / max(1, n_bytes))))


def copy_bandwidth(tiny: bool) -> float:
    """Return bytes read and written per second by a large copy on the device."""
    source = random((2**18 if tiny else 2**29,), "float32", -1.0, 1.0)
    target = cupy.empty_like(source)
    seconds = _median(lambda: _span([lambda: cupy.copyto(target, source)]))
    if not bool((target == source).all()):
        raise RuntimeError("the copy differs from what was copied")
    return 2 * source.nbytes / seconds


def random(shape: tuple[int, ...], dtype: str, low: float, high: float, seed: int = 0) -> Any:
    """Return numbers that fill an array on the device; they repeat after a million."""
    n = prod(shape)
    rng = np.random.default_rng(seed)
    base = rng.uniform(low, high, max(1, min(n, 2**20 + 7)))
    if np.dtype(dtype).kind == "c":
        base = (base + 1j * rng.permutation(base)) / np.sqrt(2)
    on_device = cupy.asarray(base.astype(dtype))
    return cupy.tile(on_device, -(-n // base.size))[:n].reshape(shape)


def release() -> None:
    """Give back the memory that the pool keeps."""
    cupy.get_default_memory_pool().free_all_blocks()


@cache
def cache_bytes() -> int:
    """Return the size of the second-level cache."""
    return int(cupy.cuda.Device().attributes["L2CacheSize"])


@cache
def _ahead(tiny: bool) -> Call:
    """Return a call that reads much memory, and leaves nothing to be written in the cache."""
    scratch = cupy.ones(2**10 if tiny else AHEAD // 4, dtype="float32")
    result = cupy.max(scratch)  # compiles what is called below
    return lambda: cupy.max(scratch, out=result)


def _launch_seconds(queue: Sequence[Call]) -> float:
    """Return how long the host takes to queue some calls."""
    cupy.cuda.Device().synchronize()
    start = time.perf_counter()
    for call in queue:
        call()
    seconds = time.perf_counter() - start
    cupy.cuda.Device().synchronize()
    return seconds


def _span(queue: Sequence[Call]) -> float:
    """Return the seconds between events before and behind some calls."""
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    start.record()
    for call in queue:
        call()
    end.record()
    end.synchronize()
    return 1e-3 * float(cupy.cuda.get_elapsed_time(start, end))


def _median(once: Callable[[], float], duration: float = 0.05) -> float:
    once()
    end = time.monotonic() + duration
    times = [once() for _ in range(LEAST)]
    while len(times) < MOST and time.monotonic() < end:
        times.append(once())
    return statistics.median(times)
