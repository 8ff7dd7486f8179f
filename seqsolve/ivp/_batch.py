"""Many trajectories at once: through time together, each with steps of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from seqsolve.backend import Backend
from seqsolve.ivp._batch_events import BatchEvents
from seqsolve.ivp._batch_record import MOST, Record
from seqsolve.ivp._control import Control
from seqsolve.ivp._dense import polynomial
from seqsolve.ivp._first_step import first_steps
from seqsolve.ivp._method import Attempt, NDArray, Points


class _Running(NamedTuple):
    """The trajectories that have not ended.

    Parameters
    ----------
    lane : ndarray, shape (m,)
        Which ones they are.
    t, h : ndarray, shape (m,)
        Times, and the sizes of the steps to try.
    rejected : ndarray, shape (m,)
        Whether the last step was rejected.
    y : array, shape (n, m)
        States.
    f : array, shape (n, m), or None
        Derivatives there, where the method has them.
    place : array, shape (m,)
        `lane`, where the states are.
    """

    lane: NDArray
    t: NDArray
    h: NDArray
    rejected: NDArray
    y: NDArray
    f: NDArray | None
    place: NDArray

    def kept(self, home: Backend, keep: NDArray) -> _Running:
        """Return some of them."""
        if keep.all():
            return self
        i = home.asarray(np.flatnonzero(keep))
        f = None if self.f is None else self.f[:, i]
        lane, t, h, rejected = (a[keep] for a in self[:4])
        return _Running(lane, t, h, rejected, self.y[:, i], f, self.place[i])


class _Steps(NamedTuple):
    """Where steps begin, in host memory.

    Parameters
    ----------
    t, h : ndarray, shape (m,)
        Times and signed sizes.
    lane : ndarray, shape (m,)
        The trajectories.
    """

    t: NDArray
    h: NDArray
    lane: NDArray

    def rows(self, index: NDArray) -> _Steps:
        """Return some of them."""
        return _Steps(*(a[index] for a in self))


@dataclass(frozen=True)
class Batch:
    """The trajectories of a batch.

    Parameters
    ----------
    y : array, shape (n, n_points, n_trajectories)
        States at the times asked for; NaN where a trajectory did not get there.
    status : ndarray, shape (n_trajectories,)
        0: the end was reached; 1: a terminal event; -1: steps shrank to nothing.
    record : Record
        The steps, if they were few enough.
    until : ndarray, shape (n_trajectories,)
        Where each trajectory ends.
    rounds : int
        Steps made one after the other, rejected ones included.
    """

    y: NDArray
    status: NDArray
    record: Record
    until: NDArray
    rounds: int


def integrate_batch(
    control: Control,
    start: float,
    y0: NDArray,
    h: float | None,
    times: NDArray,
    events: BatchEvents | None,
    *,
    dense: bool,
    most: float = MOST,
    until: NDArray | None = None,
) -> Batch:
    """Integrate every trajectory with adaptive steps of its own, one step of each at a time.

    Times, sizes and errors of steps are in host memory, states where the
    right-hand side has them.

    Parameters
    ----------
    control : Control
        What to integrate, how accurately.
    start : float
        Where to begin.
    y0 : ndarray, shape (n, n_trajectories)
        Initial states.
    h : float or None
        The first step to try.
    times : ndarray, shape (n_points,)
        Times at which the states are wanted, in the order of integration.
    events : BatchEvents or None
        What to look for on the way.
    dense : bool
        Whether the trajectories are wanted as functions.
    most : float
        Bytes of the record of steps at most, if it is not wanted.
    until : ndarray, shape (n_trajectories,), optional
        Where the step is that is each trajectory's last; by default the end.
    """
    home, (n, n_lanes) = control.rhs.home, y0.shape
    lane, t = np.arange(n_lanes), np.full(n_lanes, start)
    ends = np.full(n_lanes, control.end) if until is None else until
    states = home.asarray(y0)
    output = np.full_like(states, np.nan, shape=(n, times.size, n_lanes))
    for i in np.flatnonzero(times == start):
        output[:, i] = states
    place = home.asarray(lane)
    f = control.rhs(home.asarray(t), states.T, place)
    sizes = np.full(n_lanes, h)
    if h is None:
        sizes = home.to_numpy(first_steps(control, start, states.T, f, place))
    running = _Running(lane, t, sizes, np.zeros(n_lanes, bool), states, f.T, place)
    status = np.zeros(n_lanes, int)
    record = Record(home, np.inf if dense else most)
    record.add(lane, t, states)
    rounds = 0
    reached = t.copy()
    if events is not None:
        events.start(start, y0)
    while (going := (ends[running.lane] - running.t) * control.direction > 0).any():
        running = running.kept(home, going)
        rounds += 1
        running, was, attempt, accept = _round(control, running, times, dense or events is not None)
        failed = ~accept & (running.h < control.smallest_step(running.t))
        status[running.lane[failed]] = -1
        lane, t = running.lane[accept], running.t[accept]
        taken = home.asarray(np.flatnonzero(accept))
        c = attempt.coefficients[:, taken]
        record.add(lane, t, running.y[:, taken], c if dense else None)
        stop, going = t, ~failed
        steps = was.rows(accept)
        if events is not None:
            stop, stopped = events.search(steps, t, *map(home.to_numpy, (running.y[:, taken], c)))
            status[lane[stopped]] = 1
            going[accept] = ~stopped
        reached[lane] = stop
        _interpolate(home, output, times, control.direction, steps, stop, c)
        running = running.kept(home, going)
    return Batch(output, status, record, reached, rounds)


def _round(
    control: Control, running: _Running, times: NDArray, dense: bool
) -> tuple[_Running, _Steps, Attempt, NDArray]:
    """Try one step of every trajectory; return where they are then, and which were accepted."""
    lane, t, h, rejected, y, f, place = running
    home, direction = control.rhs.home, control.direction
    h = np.maximum(np.minimum(h, control.max_step), control.smallest_step(t))
    t_new = t + direction * h
    t_new = np.where((t_new - control.end) * direction > 0, control.end, t_new)
    steps = _Steps(t, t_new - t, lane)
    if not dense:
        ahead = np.searchsorted(direction * times, direction * np.stack([t, t_new]), side="right")
        dense = bool((ahead[0] < ahead[1]).any())
    at = Points(home.asarray(t), home.asarray(steps.h), y.T, place)
    attempt = control.attempt(at, f=None if f is None else f.T, dense=dense)
    error = home.to_numpy(control.errors(at, attempt))
    accept = error <= 1
    h = control.next_sizes(np.abs(steps.h), error, rejected)
    chosen = home.asarray(accept)
    f = None if attempt.f is None or f is None else np.where(chosen, attempt.f.T, f)
    t, y = np.where(accept, t_new, t), np.where(chosen, attempt.y.T, y)
    return _Running(lane, t, h, ~accept, y, f, place), steps, attempt, accept


def _interpolate(
    home: Backend,
    output: NDArray,
    times: NDArray,
    direction: float,
    steps: _Steps,
    until: NDArray,
    c: NDArray,
) -> None:
    """Write the states at those times that accepted steps went past."""
    first, last = (
        np.searchsorted(direction * times, direction * t, side="right") for t in (steps.t, until)
    )
    count = np.maximum(last - first, 0)
    if not count.any():
        return
    step = np.repeat(np.arange(count.size), count)
    i = np.arange(step.size) - np.repeat(np.cumsum(count) - count, count) + first[step]
    theta = (times[i] - steps.t[step]) / steps.h[step]
    moved = home.asarray
    values = polynomial(c[:, moved(step)], moved(theta))
    output[:, moved(i), moved(steps.lane[step])] = values.T
