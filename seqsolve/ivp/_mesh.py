"""Meshes whose steps all have about the tolerated error."""

from __future__ import annotations

import numpy as np

from seqsolve.ivp._control import Control
from seqsolve.ivp._march import Piece
from seqsolve.ivp._method import NDArray

#: By how much one refinement may shrink or grow a step.
_SHRINK, _GROW = 1 / 64, 4.0

#: Steps are this much shorter than their estimated errors ask for.
_SAFETY = 0.7

#: Splitting moves no other steps; where more than this part of them fails, all are moved.
_FEW = 0.1


def refined(control: Control, piece: Piece, loosening: float) -> NDArray | None:
    """Return the mesh on which to solve next, or None if its steps would be too small.

    Where few steps fail, those are split. Otherwise all points move, so that
    the steps' errors become alike.

    Parameters
    ----------
    control : Control
        Tolerances, and how errors follow the step size.
    piece : Piece
        The last solution, with its errors.
    loosening : float
        What errors are tolerated, in units of the tolerance.
    """
    error = piece.errors / loosening
    fails = error > 1
    if 0 < fails.mean() <= _FEW:
        t = _split(control, piece.t, error)
    else:
        t = _equidistributed(control, piece.t, error)
    return t if (np.abs(np.diff(t)) > control.smallest_step(t[:-1])).all() else None


def _split(control: Control, t: NDArray, error: NDArray) -> NDArray:
    factor = np.clip(_SAFETY * control.factor(error), _SHRINK, 1 / 2)
    parts = np.where(error > 1, np.ceil(1 / factor), 1)
    steps = np.arange(t.size)
    position = np.concatenate([[0], np.cumsum(parts)])
    return _between(t, np.interp(np.arange(int(position[-1]) + 1), position, steps))


def _equidistributed(control: Control, t: NDArray, error: NDArray) -> NDArray:
    h = np.abs(np.diff(t))
    wanted = h * np.clip(_SAFETY * control.factor(error), _SHRINK, _GROW)
    wanted = np.minimum(_without_peaks(wanted), control.max_step)
    position = np.concatenate([[0], np.cumsum(h / wanted)])
    n_steps = max(1, int(np.ceil(position[-1] * (1 - 1e-12))))
    levels = np.linspace(0, position[-1], n_steps + 1)
    return _between(t, np.interp(levels, position, np.arange(t.size)))


def _without_peaks(sizes: NDArray) -> NDArray:
    """Return sizes none of which sticks out of its neighbours.

    An estimate that is small by accident, where it changes sign, would make a
    few steps too large.
    """
    if sizes.size < 3:
        return sizes
    padded = np.concatenate([sizes[1:2], sizes, sizes[-2:-1]])
    left, right = padded[:-2], padded[2:]
    mean = (left * sizes * right) ** (1 / 3)
    smooth: NDArray = np.minimum(np.minimum(sizes, mean), np.maximum(left, right))
    return smooth


def _between(t: NDArray, index: NDArray) -> NDArray:
    """Return times at fractional indices of a mesh, its ends included."""
    new = np.interp(index, np.arange(t.size), t)
    new[0], new[-1] = t[0], t[-1]
    return new
