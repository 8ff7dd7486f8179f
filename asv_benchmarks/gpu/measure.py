"""Time on a device: a budget, medians, and the floor that memory sets."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeVar

import cupy

T = TypeVar("T")

#: A measurement is repeated until it has taken so many seconds, within these numbers of repeats.
SECONDS, LEAST, MOST = 0.3, 3, 50


class Budget:
    """The time that the whole report may take.

    Parameters
    ----------
    seconds : float
        From now on.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left."""
        return self._end - time.monotonic()


@dataclass(frozen=True)
class Figure:
    """One measurement.

    Parameters
    ----------
    section : str
        The table that it belongs to.
    case : dict
        What was measured: shapes, dtype.
    variant : str
        What computed it.
    seconds : float or None
        Median of the repeats; None where there is none, and `note` says why.
    floor : float or None
        Seconds that reading every input and writing every output once would
        take at the copy bandwidth.
    note : str
        Iterations, deviation, or why there is no figure.
    """

    section: str
    case: dict[str, Any]
    variant: str
    seconds: float | None
    floor: float | None = None
    note: str = ""


@dataclass
class Session:
    """What the parts of the report share.

    Parameters
    ----------
    budget : Budget
        The time that is left.
    bandwidth : float
        Bytes that a copy reads and writes per second.
    tiny : bool
        Sizes that only show that the report runs.
    """

    budget: Budget
    bandwidth: float
    tiny: bool = False
    figures: list[Figure] = field(default_factory=list)

    def size(self, n: int) -> int:
        """Return a size, or a small one where the report itself is tested."""
        return min(n, 64) if self.tiny else n

    def cases(self, cases: Sequence[T]) -> Sequence[T]:
        """Return the cases, or a few where the report itself is tested."""
        return cases[:3] if self.tiny else cases

    def skip(self, section: str, case: dict[str, Any], variant: str) -> None:
        """Note that no time was left."""
        note = "skipped: no time left"
        self.figures.append(Figure(section, case, variant, None, note=note))

    def add(
        self,
        section: str,
        case: dict[str, Any],
        variant: str,
        call: Callable[[], Any],
        *,
        n_bytes: int = 0,
        note: Callable[[], str] = str,
        expected: float = 2.0,
        on_device: bool = False,
    ) -> None:
        """Measure one figure, if time is left.

        Parameters
        ----------
        section, case, variant
            As in `Figure`.
        call : callable
            What to time; it may return before the device is done.
        n_bytes : int
            Its inputs and outputs.
        note : callable
            Asked after the measurement.
        expected : float
            Seconds that it may take; with less time left, it is skipped.
        on_device : bool
            Time between events on the device, else on the host's clock.
        """
        if self.budget.left() < expected:
            self.skip(section, case, variant)
            return
        floor = n_bytes / self.bandwidth if n_bytes else None
        clock = median_on_device if on_device else median_seconds
        try:
            seconds = clock(call, 0.0 if self.tiny else SECONDS)
            figure = Figure(section, case, variant, seconds, floor, note())
        except Exception as error:  # out of memory has a type of its own in each library
            reason = f"{type(error).__name__}: {error}".replace("\n", " ")[:160]
            figure = Figure(section, case, variant, None, floor, reason)
        self.figures.append(figure)


def median_seconds(call: Callable[[], Any], duration: float = SECONDS) -> float:
    """Return the median time of a call, the device's work included, after one to warm up."""

    def once() -> float:
        start = time.perf_counter()
        call()
        cupy.cuda.Device().synchronize()
        return time.perf_counter() - start

    return _median(once, duration)


def median_on_device(call: Callable[[], Any], duration: float = SECONDS) -> float:
    """Return the median time between events on the device around a call, after one to warm up."""
    stream = cupy.cuda.get_current_stream()

    def once() -> float:
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record(stream)
        call()
        end.record(stream)
        end.synchronize()
        return 1e-3 * float(cupy.cuda.get_elapsed_time(start, end))

    return _median(once, duration)


def _median(once: Callable[[], float], duration: float) -> float:
    once()
    end = time.monotonic() + duration
    times = [once() for _ in range(LEAST)]
    while len(times) < MOST and time.monotonic() < end:
        times.append(once())
    return statistics.median(times)


def copy_bandwidth(n_bytes: int) -> float:
    """Return bytes read and written per second by a large copy on the device."""
    source = cupy.ones(n_bytes // 4, dtype=cupy.float32)
    target = cupy.empty_like(source)
    return 2 * source.nbytes / median_on_device(lambda: cupy.copyto(target, source))


def random(shape: tuple[int, ...], dtype: str, low: float, high: float) -> Any:
    """Return numbers that fill an array on the device; they repeat after a million."""
    n = prod(shape)
    base = cupy.random.default_rng(0).random(max(1, min(n, 2**20 + 7)))
    base = (low + (high - low) * base).astype(dtype)
    return cupy.tile(base, -(-n // base.size))[:n].reshape(shape)
