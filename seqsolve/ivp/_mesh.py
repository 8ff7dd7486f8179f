"""Meshes whose steps all have about the tolerated error."""

from __future__ import annotations

import numpy as np

from seqsolve.ivp._control import Control
from seqsolve.ivp._method import NDArray

#: By how much one refinement may shrink or grow a step.
_SHRINK, _GROW = 1 / 64, 4.0

#: Steps are this much shorter than their estimated errors ask for.
_SAFETY = 0.7

#: Splitting moves no other steps; where more than this part of them fails, all are moved.
_FEW = 0.1


def refined(control: Control, t: NDArray, error: NDArray) -> NDArray:
    """Return the mesh on which to solve next.

    Where few steps fail, those are split. Otherwise all points move, so that
    the steps' errors become alike.

    Parameters
    ----------
    control : Control
        How errors follow the step size.
    t : ndarray, shape (m + 1,)
        The last mesh.
    error : ndarray, shape (m,)
        The errors on it, in units of what is tolerated.
    """
    if 0 < (error > 1).mean() <= _FEW:
        factor = np.clip(_SAFETY * control.factor(error), _SHRINK, 1 / 2)
        return split(t, np.where(error > 1, np.ceil(1 / factor), 1))
    return equidistributed(control, t, error)


def split(t: NDArray, parts: NDArray) -> NDArray:
    """Return a mesh with each step in so many parts."""
    position = np.concatenate([[0], np.cumsum(parts)])
    return _between(t, np.interp(np.arange(int(position[-1]) + 1), position, np.arange(t.size)))


def equidistributed(control: Control, t: NDArray, error: NDArray) -> NDArray:
    """Return a mesh whose steps all have about the tolerated error."""
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
