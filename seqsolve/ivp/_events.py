"""When functions of the trajectory cross zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqsolve import _checks
from seqsolve.ivp._dense import DenseOutput
from seqsolve.ivp._method import NDArray

_TOLERANCE = 4 * float(np.finfo(float).eps)


@dataclass(frozen=True)
class Event:
    """A function of the trajectory whose zeros are looked for.

    Parameters
    ----------
    function : callable
        ``function(t, y) -> float``.
    direction : float
        Positive: only where it increases; negative: only where it decreases.
    occurrences : float
        After how many zeros the integration ends.
    """

    function: Callable[[float, NDArray], float]
    direction: float
    occurrences: float


def parse_events(events: Any, args: tuple[Any, ...]) -> list[Event]:
    """Return the events that a user gave: None, a function or several."""
    if events is None:
        return []
    try:
        functions = (events,) if callable(events) else tuple(events)
    except TypeError:
        raise TypeError(f"`events` must be a function, several, or None; got {events!r}.") from None
    parsed = []
    for i, function in enumerate(functions):
        _checks.function(f"events[{i}]", function)
        terminal = getattr(function, "terminal", None)
        occurrences = np.inf
        if isinstance(terminal, bool | np.bool_) or terminal is None:
            occurrences = 1 if terminal else np.inf
        elif terminal == int(terminal) and terminal > 0:
            occurrences = int(terminal)
        else:
            raise ValueError(
                f"`events[{i}].terminal` must be a boolean or a positive integer; got {terminal!r}."
            )
        direction = float(getattr(function, "direction", 0) or 0)
        parsed.append(Event(_with_args(function, args), direction, occurrences))
    return parsed


class EventFinder:
    """Finds the zeros of all events, stretch after stretch.

    Parameters
    ----------
    events : list of Event
        What to look for.
    """

    def __init__(self, events: list[Event]) -> None:
        self._events = events
        self._last: NDArray | None = None
        self.times: list[list[float]] = [[] for _ in events]
        self.states: list[list[NDArray]] = [[] for _ in events]

    def search(self, t: NDArray, y: NDArray, sol: DenseOutput) -> float | None:
        """Record the events of a stretch; return when a terminal one ended the integration."""
        if not self._events:
            return None
        first = 0 if self._last is None else 1
        rows = [
            [float(np.real(e.function(float(s), v))) for e in self._events]
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
        found = [(self._root(self._events[k], a, b, sol), int(k)) for k in which]
        found.sort(key=lambda pair: abs(pair[0] - a))
        for root, k in found:
            self.times[k].append(root)
            self.states[k].append(sol(root))
            if len(self.times[k]) >= self._events[k].occurrences:
                return root
        return None

    def _root(self, event: Event, a: float, b: float, sol: DenseOutput) -> float:
        from scipy.optimize import brentq

        def value(t: float) -> float:
            return float(np.real(event.function(t, sol(t))))

        at_a, at_b = value(a), value(b)
        if at_a * at_b > 0:
            return a if abs(at_a) < abs(at_b) else b
        return float(brentq(value, a, b, xtol=_TOLERANCE, rtol=_TOLERANCE))


def _with_args(function: Callable[..., Any], args: tuple[Any, ...]) -> Callable[..., Any]:
    return (lambda t, y: function(t, y, *args)) if args else function
