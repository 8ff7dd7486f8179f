"""When functions of the trajectory cross zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqsolve import _checks
from seqsolve.ivp._dense import DenseOutput
from seqsolve.ivp._method import NDArray
from seqsolve.ivp._returned import as_numpy
from seqsolve.ivp._rhs import RightHandSide

_TOLERANCE = 4 * float(np.finfo(float).eps)


@dataclass(frozen=True)
class Event:
    """A function of the trajectory whose zeros are looked for.

    Parameters
    ----------
    function : callable
        ``function(t, y, *args) -> float``.
    direction : float
        Positive: only where it increases; negative: only where it decreases.
    occurrences : float
        After how many zeros the integration ends.
    """

    function: Callable[..., Any]
    direction: float
    occurrences: float
    name: str

    def value(self, rhs: RightHandSide, t: float, y: NDArray, lane: Any = None) -> float:
        """Return the function's value at one point."""
        given = rhs.called(self.function, t, y.copy(), lane)
        array = as_numpy(given, rhs.backend)
        if array.size != 1 or array.dtype.kind not in "biuf":
            raise TypeError(f"`{self.name}` must return a real number; got {given!r}.")
        return float(array.reshape(()))


def parse_events(events: Any) -> list[Event] | None:
    """Return the events that a user gave: None, a function or several."""
    if events is None:
        return None
    try:
        functions = (events,) if callable(events) else tuple(events)
    except TypeError:
        raise TypeError(f"`events` must be a function, several, or None; got {events!r}.") from None
    parsed = []
    for i, function in enumerate(functions):
        _checks.function(f"events[{i}]", function)
        terminal = getattr(function, "terminal", None) or 0
        occurrences = _number(terminal)
        if not (occurrences >= 0 and occurrences.is_integer()):
            raise ValueError(
                f"`events[{i}].terminal` must be a boolean or a positive integer; got {terminal!r}."
            )
        given = getattr(function, "direction", None) or 0
        direction = _number(given)
        if np.isnan(direction):
            raise ValueError(f"`events[{i}].direction` must be a number; got {given!r}.")
        parsed.append(Event(function, direction, occurrences or np.inf, f"events[{i}]"))
    return parsed


def _number(value: Any) -> float:
    """Return a number as it is, NaN for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


class EventFinder:
    """Finds the zeros of all events, stretch after stretch.

    Parameters
    ----------
    events : list of Event, or None
        What to look for.
    rhs : RightHandSide
        The equation, whose further arguments are those of the events.
    """

    def __init__(self, events: list[Event] | None, rhs: RightHandSide) -> None:
        self._wanted = events is not None
        self._events, self._rhs = events or [], rhs
        self._last: NDArray | None = None
        self._times: list[list[float]] = [[] for _ in self._events]
        self._states: list[list[NDArray]] = [[] for _ in self._events]

    def found_times(self) -> list[NDArray] | None:
        """Return the times of each event, None if no events were asked for."""
        return [np.array(t) for t in self._times] if self._wanted else None

    def found_states(self, y0: NDArray) -> list[NDArray] | None:
        """Return the states ``(n_happened, n)`` at each event; `y0` is such a state."""
        if not self._wanted:
            return None
        return [np.array(y, y0.dtype).reshape(-1, y0.size) for y in self._states]

    def search(self, t: NDArray, y: NDArray, sol: DenseOutput) -> float | None:
        """Record the events of a stretch; return when a terminal one ended the integration."""
        if not self._events:
            return None
        first = 0 if self._last is None else 1
        rows = [
            [e.value(self._rhs, float(s), v) for e in self._events]
            for s, v in zip(t[first:], y[first:], strict=True)
        ]
        g = np.array(rows).reshape(len(rows), len(self._events))
        if self._last is not None:
            g = np.concatenate([self._last[None], g])
        self._last = g[-1]
        directions = np.array([e.direction for e in self._events])
        up = (g[:-1] <= 0) & (g[1:] >= 0) & (directions >= 0)
        down = (g[:-1] >= 0) & (g[1:] <= 0) & (directions <= 0)
        crossed = up | down
        for i in np.flatnonzero(crossed.any(axis=1)):
            end = self._record(np.flatnonzero(crossed[i]), float(t[i]), float(t[i + 1]), sol)
            if end is not None:
                return end
        return None

    def _record(self, which: NDArray, a: float, b: float, sol: DenseOutput) -> float | None:
        found = [
            (find_root(lambda t, e=self._events[k]: e.value(self._rhs, t, sol(t)), a, b), int(k))  # type: ignore[misc]
            for k in which
        ]
        found.sort(key=lambda pair: abs(pair[0] - a))
        for root, k in found:
            self._times[k].append(root)
            self._states[k].append(sol(root))
            if len(self._times[k]) >= self._events[k].occurrences:
                return root
        return None


def find_root(value: Callable[[float], float], a: float, b: float) -> float:
    """Return where a function is zero between two times at which its signs differ.

    Where they do not, because the polynomial differs from the states in the
    last digits, the time with the smaller value.
    """
    from scipy.optimize import brentq

    at_a, at_b = value(a), value(b)
    if at_a * at_b > 0:
        return a if abs(at_a) < abs(at_b) else b
    return float(brentq(value, a, b, xtol=_TOLERANCE, rtol=_TOLERANCE))
