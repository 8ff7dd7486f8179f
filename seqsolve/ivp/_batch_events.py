"""When functions of many trajectories cross zero."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqsolve.ivp._dense import polynomial
from seqsolve.ivp._events import Event, find_root
from seqsolve.ivp._method import NDArray, Points
from seqsolve.ivp._returned import as_numpy
from seqsolve.ivp._rhs import RightHandSide


class BatchEvents:
    """Finds the zeros of all events in all trajectories, as the steps are made.

    Parameters
    ----------
    events : list of Event
        What to look for.
    rhs : RightHandSide
        The equation, whose further arguments are those of the events.
    n_lanes : int
        How many trajectories there are.
    """

    def __init__(self, events: list[Event], rhs: RightHandSide, n_lanes: int) -> None:
        self._events, self._rhs = events, rhs
        self._last = np.empty((len(events), n_lanes))
        self._together = [True] * len(events)
        self._times: list[list[list[float]]] = [[[] for _ in range(n_lanes)] for _ in events]
        self._states: list[list[list[NDArray]]] = [[[] for _ in range(n_lanes)] for _ in events]

    def found_times(self, batch: tuple[int, ...]) -> list[NDArray]:
        """Return for each event an array of the batch's shape, whose entries hold its times."""
        return [_nested(batch, [np.array(t) for t in times]) for times in self._times]

    def found_states(self, batch: tuple[int, ...], y0: NDArray) -> list[NDArray]:
        """Return the same for the states ``(n_happened, n)``."""
        n = len(y0)
        return [
            _nested(batch, [np.array(y, y0.dtype).reshape(-1, n) for y in states])
            for states in self._states
        ]

    def start(self, t: float, y0: NDArray) -> None:
        """Note the events' values at the beginning, at states ``(n, n_lanes)``."""
        lane = np.arange(y0.shape[1])
        t0 = np.full(lane.size, t)
        for k in range(len(self._events)):
            self._together[k] = self._probe(k, t0, y0, lane)
            self._last[k] = self._values(k, t0, y0, lane)

    def search(
        self, at: Any, t: NDArray, y: NDArray, coefficients: NDArray
    ) -> tuple[NDArray, NDArray]:
        """Record the events of some steps.

        Parameters
        ----------
        at : Points
            Where the steps begin.
        t : ndarray, shape (m,)
            Where they end.
        y : ndarray, shape (n, m)
            The states there.
        coefficients : ndarray, shape (degree + 1, m, n)
            Of the polynomials on them.

        Returns
        -------
        until : ndarray, shape (m,)
            Where the trajectories end, or the steps.
        stopped : ndarray, shape (m,)
            Whether a terminal event happened.
        """
        lane = np.arange(t.size) if at.lane is None else at.lane
        until, stopped = t.copy(), np.zeros(t.size, bool)
        crossed = np.zeros((len(self._events), t.size), bool)
        for k, event in enumerate(self._events):
            old, new = self._last[k, lane], self._values(k, t, y, lane)
            up = (old <= 0) & (new >= 0) & (event.direction >= 0)
            down = (old >= 0) & (new <= 0) & (event.direction <= 0)
            crossed[k] = up | down
            self._last[k, lane] = new
        for i in np.flatnonzero(crossed.any(axis=0)):
            end = self._record(
                np.flatnonzero(crossed[:, i]), int(i), at, t, coefficients, int(lane[i])
            )
            if end is not None:
                until[i], stopped[i] = end, True
        return until, stopped

    def _record(
        self, which: NDArray, i: int, at: Points, t: NDArray, c: NDArray, lane: int
    ) -> float | None:
        start, size = float(at.t[i]), float(at.h[i])

        def state(s: float) -> NDArray:
            y: NDArray = polynomial(c[:, i : i + 1], np.array([(s - start) / size]))[0]
            return y

        def value(k: int, s: float) -> float:
            return self._value(k, s, state(s), lane)

        found = [
            (find_root(lambda s, k=k: value(k, s), start, float(t[i])), int(k))  # type: ignore[misc]
            for k in which
        ]
        for s, k in sorted(found, key=lambda pair: abs(pair[0] - start)):
            self._times[k][lane].append(s)
            self._states[k][lane].append(state(s))
            if len(self._times[k][lane]) >= self._events[k].occurrences:
                return s
        return None

    def _value(self, k: int, t: float, y: NDArray, lane: Any) -> float:
        return self._events[k].value(self._rhs, t, y, lane)

    def _values(self, k: int, t: NDArray, y: NDArray, lane: NDArray) -> NDArray:
        if self._together[k]:
            values = self._rhs.called(self._events[k].function, t.copy(), y.copy(), lane)
            return np.broadcast_to(as_numpy(values, self._rhs.backend), t.shape)
        alone = [self._value(k, float(t[i]), y[:, i], lane[i]) for i in range(t.size)]
        return np.array(alone)

    def _probe(self, k: int, t: NDArray, y: NDArray, lane: NDArray) -> bool:
        """Return whether an event gives the same for a few trajectories together as for each."""
        few = slice(0, 3)
        alone = [self._value(k, float(t[i]), y[:, i], lane[i]) for i in range(min(3, t.size))]
        if t.size < 2:
            return False
        try:
            together = self._values(k, t[few], y[:, few], lane[few])
            return bool(np.allclose(together, alone, equal_nan=True))
        except Exception:
            return False


def _nested(batch: tuple[int, ...], entries: list[NDArray]) -> NDArray:
    array = np.empty(len(entries), object)
    for i, entry in enumerate(entries):
        array[i] = entry
    return array.reshape(batch)
