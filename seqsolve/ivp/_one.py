"""One trajectory: whole meshes at once, or step by step."""

from __future__ import annotations

from functools import partial

import numpy as np

from seqsolve._warn import warn
from seqsolve.ivp._control import Control
from seqsolve.ivp._dense import DenseOutput
from seqsolve.ivp._events import EventFinder
from seqsolve.ivp._integrate import Progress, integrate, integrate_stepping
from seqsolve.ivp._march import Piece
from seqsolve.ivp._method import NDArray
from seqsolve.ivp._trajectory import Mesh, Trajectory
from seqsolve.ivp.result import MESSAGES, OdeResult
from seqsolve.solution import ConvergenceWarning


def solve_one(
    control: Control,
    start: float,
    y0: NDArray,
    first_step: float | None,
    times: NDArray | None,
    finder: EventFinder,
    *,
    together: bool,
    dense_output: bool,
) -> OdeResult:
    """Integrate from a state ``(n,)``.

    Parameters
    ----------
    control : Control
        What to integrate, how accurately.
    start : float
        Where to begin.
    y0 : ndarray, shape (n,)
        The initial state.
    first_step : float or None
        The first step to try.
    times : ndarray, shape (n_points,), or None
        Times at which the states are wanted; None: on the mesh.
    finder : EventFinder
        What to look for on the way.
    together : bool
        Whether to solve many steps at once, or to make one after the other.
    dense_output : bool
        Whether the trajectory is wanted as a function.
    """
    progress = Progress(False, 0, 0, [])
    pieces, stopped = [], None
    made = integrate if together else integrate_stepping
    for piece in made(control, start, y0, first_step, progress):
        pieces.append(piece)
        if not piece.errors.size:
            continue
        stopped = finder.search(piece.t, piece.y, DenseOutput(piece.t, piece.coefficients))
        if stopped is not None:
            break
    if progress.fell_back and not progress.failed:
        _warn(progress)
    t, y, sol = _joined(pieces, start, y0)
    rhs = control.rhs
    trajectory = Trajectory(control.method, rhs, partial(Mesh, t, y))
    if stopped is not None:
        sol = sol.until(stopped)
        t = sol.ts
        y = np.concatenate([y[: t.size - 1], sol(stopped)[None]])
    if times is not None:
        t = times[(times - sol.ts[-1]) * control.direction <= 0]
        y = sol.rows(t)
    status = 1 if stopped is not None else -1 if progress.failed else 0
    return OdeResult(
        t=rhs.backend.asarray(t),
        y=rhs.backend.asarray(y.T),
        sol=sol if dense_output else None,
        t_events=finder.found_times(),
        y_events=finder.found_states(y0),
        nfev=rhs.nfev,
        njev=rhs.njev,
        nlu=rhs.nlu,
        depth=rhs.depth,
        n_sequential=progress.one_by_one,
        status=status,
        message=MESSAGES[status],
        success=status >= 0,
        trajectory=trajectory,
    )


def _joined(
    pieces: list[Piece], start: float, state: NDArray
) -> tuple[NDArray, NDArray, DenseOutput]:
    """Return the mesh, the states and the trajectory of all stretches."""
    t = np.concatenate([[start], *(p.t[1:] for p in pieces)])
    y = np.concatenate([state[None], *(p.y[1:] for p in pieces)])
    parts = [p.coefficients for p in pieces if p.errors.size]
    coefficients = np.concatenate(parts, axis=1) if parts else state[None, None]
    return t, y, DenseOutput(t, coefficients)


def _warn(progress: Progress) -> None:
    first, last = progress.fell_back[0][0], progress.fell_back[-1][1]
    warn(
        f"Newton's method did not converge on {len(progress.fell_back)} stretches between "
        f"t = {first:.6g} and t = {last:.6g}; {progress.one_by_one} of "
        f"{progress.one_by_one + progress.together} steps were made one by one. The result meets "
        "the tolerances all the same.",
        ConvergenceWarning,
    )
