"""From a crude trajectory to one that meets the tolerances, all steps at once."""

from __future__ import annotations

import numpy as np

from seqsolve.ivp._control import Control
from seqsolve.ivp._cruise import RTOL
from seqsolve.ivp._dense import DenseOutput
from seqsolve.ivp._lifted import Update, lifted
from seqsolve.ivp._march import Piece
from seqsolve.ivp._mesh import first, parts_within, refined, split
from seqsolve.ivp._method import NDArray

#: Meshes, and iterations on one; where more are needed, shorter stretches are the better way.
MAX_MESHES, MAXITER = 24, 10

#: Fewer steps than these are not worth solving together.
_FEWEST = 8

#: A step is solved when alone it would move by less than this, in units of the tolerance, rounding
#: errors permitting.
FRACTION, ROUNDING = 1e-2, 1e-13

#: All its unknowns move by less than this, relatively: the error that remains goes as its square.
_NEAR = 3e-7

#: States that an iteration moves by more than this, relatively, are not worth keeping.
_WILD = 3.0

#: An error of this size, relatively, is followed by one of its square times this.
_CURVATURE = 10.0

#: Part of the stability interval that explicit methods use.
_MARGIN = 0.8


def refine(control: Control, crude: Piece, t: float, y: NDArray, most: int) -> Piece | None:
    """Return a stretch solved to the tolerances, or None if that cannot be done in parallel.

    It ends earlier than `crude` where Newton's method converges on a part of
    the steps only, or where there are more steps than asked for or fit into memory.

    Between iterations the mesh follows the errors. What is tolerated on it
    shrinks with the square of what the iteration changed, down to the
    tolerances: so mesh and iterate become accurate together.

    Parameters
    ----------
    control : Control
        What to solve, how accurately.
    crude : Piece
        A trajectory with errors of about the tolerances of `loosened`.
    t, y
        Where to begin, on the way of `crude`.
    most : int
        Steps at most.
    """
    equations, rtol = lifted(control.method), float(control.rtol.min())
    limit = StepLimit(control, equations.stability, crude)
    most = min(most, control.rhs.steps_together(len(equations.c)))
    trajectory = DenseOutput(crude.t, crude.coefficients)
    mesh = np.append(t, crude.t[(crude.t - t) * control.direction > 0])
    mesh = split(mesh, parts_within(mesh, limit.largest(mesh)), most)
    iterate = equations.sampled(mesh, y, trajectory)
    level, solved, iterations, meshes = max(1.0, RTOL / rtol), 0, 0, 0
    while iterations < MAXITER and meshes < MAX_MESHES:
        update = equations.update(control.rhs, iterate)
        change = control.sizes(update.change, update.iterate.at, update.made)
        errors = control.errors(update.iterate.at, update.made)
        kept = first(~(change * rtol <= _WILD))
        if not kept:
            return None
        if level == 1:
            near = control.sizes(update.moved, update.iterate.at, update.made) * rtol <= _NEAR
            done = near & (change <= 1) & (errors <= 1) & _settled(control, update)
            solved = first(~done)
            if solved == len(errors):
                break
        largest = float(change[:kept].max())
        next_level = max(1.0, min(level, _CURVATURE * largest**2 * rtol))
        fits = meshes and next_level == level and (errors <= level).all()
        if fits and kept == len(errors):
            iterate, iterations = update.iterate, iterations + 1
            continue
        level, iterations, meshes = next_level, 0, meshes + 1
        part = update.iterate.t[: kept + 1]
        mesh = refined(control, part, errors[:kept] / level, most, limit.largest(part))
        if (np.abs(np.diff(mesh)) <= control.smallest_step(mesh[:-1])).any():
            return None
        trajectory = DenseOutput(part, update.made.coefficients[:, :kept])
        iterate = equations.sampled(mesh, y, trajectory)
    if solved < min(_FEWEST, len(errors)):
        return None
    return Piece(
        update.iterate.t[: solved + 1],
        update.iterate.y[: solved + 1],
        update.made.coefficients[:, :solved],
        errors[:solved],
        crude.next_step,
        crude.complete,
    )


def _settled(control: Control, update: Update) -> NDArray:
    """Return which steps satisfy the method's equations."""
    typical = np.abs(update.iterate.y).max(axis=0)
    y = np.abs(update.made.y)
    allowed = FRACTION * (control.atol + control.rtol * y) + ROUNDING * typical
    settled: NDArray = (np.abs(update.defect) <= allowed).all(axis=1)
    return settled


class StepLimit:
    """The largest steps with which an explicit method is stable.

    Parameters
    ----------
    control : Control
        The equation.
    stability : float
        Steps times the spectral radius of the Jacobian are at most that.
    crude : Piece
        A trajectory, along which the spectral radius of the Jacobian is estimated. Where that
        is not finite, at the edge of what `fun` is defined for, errors alone limit the steps.
    """

    def __init__(self, control: Control, stability: float, crude: Piece) -> None:
        self._sign = control.direction
        self._interval = stability
        self._t = self._sign * crude.t
        if np.isfinite(self._interval):
            J = control.rhs.jacobian(crude.t, crude.y)
            for _ in range(3):
                J = J @ J
            radius = np.sqrt((np.abs(J) ** 2).sum(axis=(1, 2))) ** (1 / 8)
            self._radius = np.where(np.isfinite(radius), radius, 0)

    def largest(self, t: NDArray) -> NDArray:
        """Return the largest steps wanted in place of those of a mesh, with a margin."""
        if not np.isfinite(self._interval):
            return np.full(t.size - 1, np.inf)
        radius = np.interp(self._sign * (t[:-1] + t[1:]) / 2, self._t, self._radius)
        largest: NDArray = _MARGIN * self._interval / np.maximum(radius, np.finfo(float).tiny)
        return largest
