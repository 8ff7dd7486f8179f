"""Many trajectories: through time together."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from seqsolve.ivp._batch import integrate_batch
from seqsolve.ivp._batch_dense import BatchDenseOutput
from seqsolve.ivp._batch_events import BatchEvents
from seqsolve.ivp._control import Control
from seqsolve.ivp._method import NDArray
from seqsolve.ivp._trajectory import Mesh, Trajectory
from seqsolve.ivp.result import MESSAGES, OdeResult


def solve_many(
    control: Control,
    start: float,
    y0: NDArray,
    first_step: float | None,
    times: NDArray | None,
    events: BatchEvents | None,
    batch: tuple[int, ...],
    *,
    dense_output: bool,
) -> OdeResult:
    """Integrate from states ``(n, n_trajectories)``.

    Parameters
    ----------
    control : Control
        What to integrate, how accurately.
    start : float
        Where to begin.
    y0 : ndarray, shape (n, n_trajectories)
        The initial states.
    first_step : float or None
        The first step to try.
    times : ndarray, shape (n_points,), or None
        Times at which the states are wanted; None: the beginning and the end.
    events : BatchEvents or None
        What to look for on the way.
    batch : tuple of int
        Shape of the batch.
    dense_output : bool
        Whether the trajectories are wanted as functions.
    """
    if times is None:
        ends = [start, control.end] if control.end != start else [start]
        times = np.array(ends)
    inside = control.on_backend()
    solved = (inside, start, y0, first_step)
    made = integrate_batch(*solved, times, events, dense=dense_output)
    sol = None
    if dense_output:
        record = made.record
        parts = record.mesh().t, record.lane(), record.coefficients()
        sol = BatchDenseOutput(*parts, made.until, batch)
    rhs, status = inside.rhs, made.status
    counts = {s: int((status == s).sum()) for s in MESSAGES}
    make_mesh = made.record.mesh if made.record.complete else partial(_again, *solved, made.until)
    return OdeResult(
        t=rhs.backend.asarray(times),
        y=rhs.backend.asarray(made.y.reshape(y0.shape[0], times.size, *batch)),
        sol=sol,
        t_events=None if events is None else events.found_times(batch),
        y_events=None if events is None else events.found_states(batch, y0),
        nfev=rhs.nfev,
        njev=rhs.njev,
        nlu=rhs.nlu,
        depth=rhs.depth,
        n_sequential=made.rounds,
        status=status.reshape(batch),
        message=" ".join(
            f"{count} of {status.size} trajectories: {MESSAGES[s]}"
            for s, count in counts.items()
            if count
        ),
        success=(status >= 0).reshape(batch),
        trajectory=Trajectory(control.method, control.rhs, make_mesh),
    )


def _again(
    control: Control, start: float, y0: NDArray, first_step: float | None, until: NDArray
) -> Mesh:
    """Return the meshes that were too large to keep, by the same integration once more."""
    control = replace(control, rhs=control.rhs.renewed())
    with np.errstate(all="ignore"):
        made = integrate_batch(
            control, start, y0, first_step, np.empty(0), None, dense=False, most=np.inf, until=until
        )
    return made.record.mesh()
