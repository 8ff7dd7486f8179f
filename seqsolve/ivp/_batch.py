"""Many trajectories at once: through time together, each with steps of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from seqsolve.ivp._batch_events import BatchEvents
from seqsolve.ivp._control import Control
from seqsolve.ivp._dense import polynomial
from seqsolve.ivp._first_step import first_steps
from seqsolve.ivp._method import Attempt, NDArray, Points

_SHRINK, _GROW, _SAFETY = 0.2, 10.0, 0.9


class _Running(NamedTuple):
    """The trajectories that have not ended; states are stored with the trajectories last.

    Parameters
    ----------
    lane : ndarray, shape (m,)
        Which ones they are.
    t, h : ndarray, shape (m,)
        Times, and the sizes of the steps to try.
    y : ndarray, shape (n, m)
        States.
    f : ndarray, shape (n, m), or None
        Derivatives there, where the method has them.
    rejected : ndarray, shape (m,)
        Whether the last step was rejected.
    """

    lane: NDArray
    t: NDArray
    h: NDArray
    y: NDArray
    f: NDArray | None
    rejected: NDArray

    def kept(self, keep: NDArray) -> _Running:
        """Return some of them."""
        if keep.all():
            return self
        rows = (None if a is None else a[..., keep] for a in self)
        return _Running(*rows)  # type: ignore[arg-type]


class _Accepted(NamedTuple):
    """Steps that were accepted in one round."""

    lane: NDArray
    t: NDArray
    y: NDArray
    coefficients: NDArray | None


@dataclass(frozen=True)
class Batch:
    """The trajectories of a batch.

    Parameters
    ----------
    y : ndarray, shape (n, n_points, n_trajectories)
        States at the times asked for; NaN where a trajectory did not get there.
    status : ndarray, shape (n_trajectories,)
        0: the end was reached; 1: a terminal event; -1: steps shrank to nothing.
    mesh_t, mesh_y, lane
        Meshes, states on them, and to which trajectory they belong, one
        trajectory after the other.
    until : ndarray, shape (n_trajectories,)
        Where each trajectory ends.
    coefficients : ndarray, shape (degree + 1, n_mesh, n), or None
        Of the polynomials on the steps that end at the mesh points, where that
        was asked for.
    rounds : int
        Steps made one after the other, rejected ones included.
    """

    y: NDArray
    status: NDArray
    mesh_t: NDArray
    mesh_y: NDArray
    lane: NDArray
    until: NDArray
    coefficients: NDArray | None
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
) -> Batch:
    """Integrate every trajectory with adaptive steps of its own, one step of each at a time.

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
    """
    n, n_lanes = y0.shape
    lane, t = np.arange(n_lanes), np.full(n_lanes, start)
    output = np.full((n, times.size, n_lanes), np.nan, y0.dtype)
    output[:, times == start] = y0[:, None]
    f = control.rhs(t, y0.T, lane)
    sizes = first_steps(control, start, y0.T, f, lane) if h is None else np.full(n_lanes, h)
    running = _Running(lane, t, sizes, y0, f.T, np.zeros(n_lanes, bool))
    status = np.zeros(n_lanes, int)
    made = [_Accepted(lane, t, y0, None)]
    rounds = 0
    reached = t.copy()
    if events is not None:
        events.start(start, y0)
    while (running := running.kept((control.end - running.t) * control.direction > 0)).t.size:
        rounds += 1
        running, at, attempt, accept = _round(control, running, times, dense or events is not None)
        smallest = control.smallest_step(running.t)
        failed = ~accept & (running.h < smallest)
        status[running.lane[failed]] = -1
        at, lane, t = at.rows(accept), running.lane[accept], running.t[accept]
        c = attempt.coefficients[:, accept]
        made.append(_Accepted(lane, t, running.y[:, accept], c if dense else None))
        until, going = t, ~failed
        if events is not None:
            until, stopped = events.search(at, t, running.y[:, accept], c)
            status[lane[stopped]] = 1
            going[accept] = ~stopped
        reached[lane] = until
        _interpolate(output, times, control.direction, at, until, c)
        running = running.kept(going)
    order = np.argsort(np.concatenate([a.lane for a in made]), kind="stable")
    lane = np.concatenate([a.lane for a in made])[order]
    mesh_t = np.concatenate([a.t for a in made])[order]
    mesh_y = np.concatenate([a.y for a in made], axis=1).T[order]
    coefficients = _coefficients(made, y0)[:, order] if dense else None
    return Batch(output, status, mesh_t, mesh_y, lane, reached, coefficients, rounds)


def _round(
    control: Control, running: _Running, times: NDArray, dense: bool
) -> tuple[_Running, Points, Attempt, NDArray]:
    """Try one step of every trajectory; return where they are then, and which were accepted."""
    lane, t, h, y, f, rejected = running
    direction = control.direction
    h = np.maximum(np.minimum(h, control.max_step), control.smallest_step(t))
    t_new = t + direction * h
    t_new = np.where((t_new - control.end) * direction > 0, control.end, t_new)
    at = Points(t, t_new - t, y.T, lane)
    if not dense:
        ahead = np.searchsorted(direction * times, direction * np.stack([t, t_new]), side="right")
        dense = bool((ahead[0] < ahead[1]).any())
    attempt = control.attempt(at, f=None if f is None else f.T, dense=dense)
    error = control.errors(at, attempt)
    accept = error <= 1
    factor = _SAFETY * control.factor(error)
    grown = np.minimum(np.where(rejected, 1.0, _GROW), factor)
    h = np.abs(at.h) * np.where(accept, grown, np.maximum(_SHRINK, factor))
    f = None if attempt.f is None or f is None else np.where(accept, attempt.f.T, f)
    t, y = np.where(accept, t_new, t), np.where(accept, attempt.y.T, y)
    return _Running(lane, t, h, y, f, ~accept), at, attempt, accept


def _interpolate(
    output: NDArray, times: NDArray, direction: float, at: Points, until: NDArray, c: NDArray
) -> None:
    """Write the states at those times that accepted steps went past."""
    first, last = (
        np.searchsorted(direction * times, direction * t, side="right") for t in (at.t, until)
    )
    count = np.maximum(last - first, 0)
    if not count.any():
        return
    step = np.repeat(np.arange(count.size), count)
    i = np.arange(step.size) - np.repeat(np.cumsum(count) - count, count) + first[step]
    theta = (times[i] - at.t[step]) / at.h[step]
    lane = step if at.lane is None else at.lane[step]
    output[:, i, lane] = polynomial(c[:, step], theta).T


def _coefficients(made: list[_Accepted], y0: NDArray) -> NDArray:
    """Return the coefficients of the steps that end at the mesh points; constants at the first."""
    parts = [a.coefficients for a in made[1:] if a.coefficients is not None]
    degree = max((len(c) for c in parts), default=1)
    first = np.zeros((degree, y0.shape[1], y0.shape[0]), y0.dtype)
    first[0] = y0.T
    return np.concatenate([first, *parts], axis=1)
