"""From a loosely solved stretch to one that meets the tolerances, all steps at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from seqsolve._driver import drive
from seqsolve._newton import Newton
from seqsolve._outcome import Reporter
from seqsolve._problem import Problem
from seqsolve.ivp._control import Control
from seqsolve.ivp._dense import DenseOutput
from seqsolve.ivp._march import Piece
from seqsolve.ivp._mesh import refined
from seqsolve.ivp._method import Attempt, Method, NDArray, Points
from seqsolve.ivp._rhs import RightHandSide
from seqsolve.solution import Solution

#: The tolerance is approached by this factor from one mesh to the next.
LEVEL = 1e4

#: Meshes to try.
MAX_MESHES = 24

#: Newton iterations; where more are needed, shorter stretches are the better way.
MAXITER = 10

#: Fewer steps than these are not worth solving together.
_FEWEST = 8

#: The recurrence is solved to this fraction of the tolerance, rounding errors permitting.
FRACTION, ROUNDING = 1e-3, 1e-13

#: Bytes of the Jacobians that are kept at a time.
_JACOBIAN_BYTES = 2**26


class MeshStep:
    """The recurrence ``y[i + 1] = step(y[i]; t[i], h[i])`` of a method.

    Parameters
    ----------
    method : Method
        The method.
    rhs : RightHandSide
        The equation.
    """

    jac_structure = "dense"

    def __init__(self, method: Method, rhs: RightHandSide) -> None:
        self.method, self.rhs = method, rhs

    def __call__(self, y_prev: NDArray, x: Any, /) -> NDArray:
        """Return the new states."""
        return self.bind(x)(y_prev)

    def bind(self, x: Any, /) -> BoundMeshStep:
        """Return the step on some part of the mesh."""
        return BoundMeshStep(self, *x)


class BoundMeshStep:
    """A method's step on some part of the mesh."""

    def __init__(self, step: MeshStep, t: NDArray, h: NDArray) -> None:
        self._step, self._t, self._h = step, t, h

    def __call__(self, y_prev: NDArray, /) -> NDArray:
        """Return the new states."""
        return self._step.method.step(self._step.rhs, Points(self._t, self._h, y_prev))

    def linearize(self, y_prev: NDArray, /) -> tuple[NDArray, Callable[[], NDArray]]:
        """Return the new states, and a function that completes the Jacobian."""
        return self._step.method.linearize(self._step.rhs, Points(self._t, self._h, y_prev))


def solve_on_mesh(control: Control, t: NDArray, y0: NDArray, guess: NDArray) -> Solution:
    """Solve a method's recurrence on a mesh, from a guess of the trajectory.

    Parameters
    ----------
    control : Control
        The equation, the method and the tolerances.
    t : ndarray, shape (n_steps + 1,)
        The mesh.
    y0 : ndarray, shape (n,)
        The state at its beginning.
    guess : ndarray, shape (n_steps, n)
        Guess of the states after it.
    """
    n = y0.size
    step = MeshStep(control.method, control.rhs)
    problem = Problem(step, None, (t[:-1], np.diff(t)), y0, trusted=True)
    typical = np.where(np.isfinite(guess), np.abs(guess), 0).max(axis=0, initial=0)
    atol = np.maximum(FRACTION * control.atol, ROUNDING * typical) + np.finfo(float).tiny
    newton = Newton(
        problem=problem,
        rtol=max(FRACTION * float(np.min(control.rtol)), ROUNDING),
        atol=np.broadcast_to(atol, (n,)).astype(float),
        rounding=ROUNDING,
        maxiter=MAXITER,
        scale=1.0,
        method="auto",
        reporter=Reporter(None, False, t.size - 1),
    )
    return drive(problem, newton.solve, steps_together(n), newton.reporter, guess=guess)


def steps_together(n: int) -> int:
    """Return how many steps to take at a time: their Jacobians fit into some megabytes."""
    return max(16, _JACOBIAN_BYTES // (8 * 8 * n * n))


def _attempt(control: Control, at: Points) -> Attempt:
    """Make the steps of a mesh once more, for their errors and interpolants."""
    window = steps_together(at.y.shape[1])
    starts = range(0, len(at.t), window)
    parts = [control.attempt(at.rows(slice(i, i + window))) for i in starts]
    if len(parts) == 1:
        return parts[0]
    return Attempt(
        np.concatenate([p.y for p in parts]),
        np.concatenate([p.error for p in parts]),
        np.concatenate([p.coefficients for p in parts], axis=1),
    )


def refine(control: Control, coarse: Piece, loosening: float) -> Piece | None:
    """Return a stretch solved to the tolerances, or None if that cannot be done in parallel.

    It ends earlier than `coarse` where Newton's method converges on a part of
    the steps only.

    Parameters
    ----------
    control : Control
        What to solve, how accurately.
    coarse : Piece
        The stretch, its errors at most `loosening` tolerances.
    loosening : float
        At least 1.
    """
    piece, level = coarse, loosening
    for _ in range(MAX_MESHES):
        level = max(1.0, level / LEVEL)
        t = refined(control, piece, level)
        if t is None:
            return None
        guess = DenseOutput(piece.t, piece.coefficients).rows(t[1:])
        solution = solve_on_mesh(control, t, coarse.y[0], guess)
        solved = int(solution.converged_steps)
        if solved < min(_FEWEST, t.size - 1):
            return None
        t = t[: solved + 1]
        y = np.concatenate([coarse.y[:1], solution.y[:solved]])
        at = Points(t[:-1], np.diff(t), y[:-1])
        made = _attempt(control, at)
        errors = control.errors(at, made)
        piece = Piece(t, y, made.coefficients, errors, coarse.next_step, coarse.complete)
        if level == 1.0 and (errors <= 1).all():
            return piece
    return None
