"""A crude trajectory, by Newton's method in a window that slides along."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from seqsolve.ivp._control import Control
from seqsolve.ivp._dense import DenseOutput
from seqsolve.ivp._lifted import Iterate, Lifted, Update, lifted
from seqsolve.ivp._march import Piece, joined
from seqsolve.ivp._mesh import equidistributed, first, fitted
from seqsolve.ivp._method import NDArray
from seqsolve.ivp.radau import Radau

#: Relative tolerance of the crude trajectory. Iterations hardly depend on it.
RTOL = 1e-4

#: Steps are solved when an iteration moves them by less than this, in units of the tolerance.
_SETTLED = 0.3

#: States that an iteration moves by more than this, relatively, are not worth keeping.
_WILD = 3.0

#: Steps with larger errors, in units of the tolerance, are not worth keeping.
_HOPELESS = 1e4

#: Steps in the window at most, memory permitting; in one that begins; in one that begins anew.
_WIDEST, _OPENING, _REOPENING = 256, 8, 4

#: Steps that are added grow by this ratio, in a window that begins by the other.
_RATIO, _OPENING_RATIO = 1.5, 2.0

#: By how much the window grows when it is solved in part, or as a whole.
_GROW, _GROW_WHOLE = 2.0, 4.0

#: A window without progress is halved every so often, and given up in the end.
_HALVE, _PATIENCE = 3, 8


def loosened(control: Control, y: NDArray) -> Control:
    """Return what is asked of the crude trajectory, by the method that can take any step.

    Parameters
    ----------
    control : Control
        What is asked of the result.
    y : ndarray, shape (n,)
        The state to begin with.
    """
    rtol = np.maximum(control.rtol, RTOL)
    crude = np.minimum(control.atol * rtol / control.rtol, RTOL * np.abs(y).max())
    return replace(control, method=Radau(), rtol=rtol, atol=np.maximum(control.atol, crude))


def cruise(control: Control, t: float, y: NDArray, h: float, n_steps: int) -> Piece | None:
    """Return a trajectory, or None where there is no progress from the start.

    Every iteration takes one call of the right-hand side for all steps of the
    window. Those at its beginning that are solved leave it, the others get a
    mesh of their own errors, and new ones are added at its end, where the state
    is guessed to stay as it is. What an iteration throws far off is dropped.

    Parameters
    ----------
    control : Control
        The equation, the method and the tolerances.
    t, y, h
        Where to begin, and the size of the first step.
    n_steps : int
        Steps at most; then, or where the iterations get stuck, it ends.
    """
    equations = lifted(control.method)
    window = _opening(control, equations, t, y, h, _OPENING)
    parts: list[Piece] = []
    solved_steps = waited = 0
    while solved_steps < n_steps and waited <= _PATIENCE and _can_step(control, window):
        update = equations.update(control.rhs, window)
        at = update.iterate.at
        errors = control.errors(at, update.made)
        change = control.sizes(update.change, at, update.made)
        wild = (change * control.rtol.max() > _WILD) | ~(errors <= _HOPELESS)
        kept = first(wild)
        solved = min(kept, first(change > _SETTLED), first(errors > 1))
        waited = 0 if solved else waited + 1
        if solved:
            parts.append(_solved(update, errors, solved))
            solved_steps += solved
            if parts[-1].t[-1] == control.end:
                break
        window = _moved(control, equations, update, errors, (solved, kept), waited)
    return joined(parts) if parts else None


def _moved(
    control: Control,
    equations: Lifted,
    update: Update,
    errors: NDArray,
    part: tuple[int, int],
    waited: int,
) -> Iterate:
    """Return the window without the steps that are solved and those that are not kept."""
    solved, kept = part
    t, y = update.iterate.t, update.iterate.y
    front = y[solved]
    if kept == solved:
        h = abs(t[solved] - t[solved - 1]) if solved else abs(t[1] - t[0]) / 8
        return _opening(control, equations, float(t[solved]), front, float(h), _REOPENING)
    if waited and waited % _HALVE == 0:
        kept = max(1, kept // 2)
    rest = slice(solved, kept)
    remesh = fitted if waited else equidistributed
    mesh = remesh(control, t[solved : kept + 1], errors[rest], _widest(control, equations))
    trajectory = DenseOutput(t[solved : kept + 1], update.made.coefficients[:, rest])
    window = equations.sampled(mesh, front, trajectory)
    if waited or kept < len(errors):
        return window
    grow = _GROW_WHOLE if solved == len(errors) else _GROW
    room = _widest(control, equations) - (window.t.size - 1)
    return _extended(control, window, t[solved] + grow * (t[-1] - t[0]), room)


def _opening(
    control: Control, equations: Lifted, t: float, y: NDArray, h: float, n_steps: int
) -> Iterate:
    """Return a window in which the state stays as it is."""
    h = min(max(h, float(control.smallest_step(np.array(t)))), control.max_step)
    sizes = np.minimum(h * _OPENING_RATIO ** np.arange(n_steps), control.max_step)
    mesh = _clipped(control, t + control.direction * np.concatenate([[0], np.cumsum(sizes)]))
    Y = np.broadcast_to(y, (len(equations.c), mesh.size - 1, y.size)).copy()
    return Iterate(mesh, y, Y, equations.new)


def _widest(control: Control, equations: Lifted) -> int:
    return min(_WIDEST, control.rhs.steps_together(len(equations.c)))


def _extended(control: Control, window: Iterate, until: float, room: int) -> Iterate:
    """Return the window with more steps, in which the state stays as it is at its end."""
    last, h = window.t[-1], abs(window.t[-1] - window.t[-2])
    sizes = np.minimum(h * _RATIO ** np.arange(1, room + 1), control.max_step)
    ends = np.cumsum(sizes)
    more = ends[: first(ends >= abs(until - last)) + 1]
    mesh = _clipped(control, np.concatenate([window.t, last + control.direction * more]))
    added = mesh.size - window.t.size
    end = window.Y[window.new, -1]
    Y = np.broadcast_to(end, (len(window.Y), added, end.size))
    return Iterate(mesh, window.y0, np.concatenate([window.Y, Y], axis=1), window.new)


def _clipped(control: Control, mesh: NDArray) -> NDArray:
    """Return a mesh that goes no further than the end of the integration."""
    inside = first((mesh - control.end) * control.direction >= 0)
    return mesh if inside == mesh.size else np.append(mesh[:inside], control.end)


def _can_step(control: Control, window: Iterate) -> bool:
    h = abs(window.t[1] - window.t[0])
    return bool(h >= control.smallest_step(window.t[0]) or window.t[1] == control.end)


def _solved(update: Update, errors: NDArray, n_steps: int) -> Piece:
    iterate = update.iterate
    return Piece(
        iterate.t[: n_steps + 1],
        iterate.y[: n_steps + 1],
        update.made.coefficients[:, :n_steps],
        errors[:n_steps],
        float(abs(iterate.t[n_steps] - iterate.t[n_steps - 1])),
        True,
    )
