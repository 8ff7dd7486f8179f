"""Meshes whose steps all have about the tolerated error."""

from __future__ import annotations

import numpy as np

from seqsolve.ivp._control import Control
from seqsolve.ivp._method import NDArray

#: By how much one refinement may shrink or grow a step.
_SHRINK, _GROW = 1 / 64, 4.0

#: Steps are this much shorter than their estimated errors ask for.
_SAFETY = 0.6

#: Steps may be this much larger than the largest that are wanted, relatively.
_TOLERATED = 0.2

#: Neighbours smaller than this part of a step say nothing about it: something else made them so.
_ALIKE = 1 / 8

#: Splitting moves no other steps; where more than this part of them fails, all are moved.
_FEW = 0.1


def refined(
    control: Control, t: NDArray, error: NDArray, most: int, largest: NDArray | float = np.inf
) -> NDArray:
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
    most : int
        Steps at most; where more are needed, the mesh ends earlier.
    largest : ndarray, shape (m,), or float
        The largest steps that are wanted in place of each, besides.
    """
    few = 0 < (error > 1).mean() <= _FEW
    return (fitted if few else equidistributed)(control, t, error, most, largest)


def fitted(
    control: Control, t: NDArray, error: NDArray, most: int, largest: NDArray | float = np.inf
) -> NDArray:
    """Return a mesh with the steps split that fail, or its first `most` steps."""
    factor = np.clip(_SAFETY * control.factor(error), _SHRINK, 1 / 2)
    parts = np.where(error > 1, np.ceil(1 / factor), 1)
    return split(t, np.maximum(parts, parts_within(t, largest)), most)


def parts_within(t: NDArray, largest: NDArray | float) -> NDArray:
    """Return in how many parts to split steps that are larger than `largest`, clearly."""
    parts: NDArray = np.ceil(np.maximum(np.abs(np.diff(t)) / largest - _TOLERATED, 1))
    return parts


def split(t: NDArray, parts: NDArray, most: int) -> NDArray:
    """Return a mesh with each step in so many parts, or its first `most` steps."""
    position = np.concatenate([[0], np.cumsum(parts)])
    n_steps = int(min(position[-1], most))
    return _between(t, np.interp(np.arange(n_steps + 1), position, np.arange(t.size)))


def equidistributed(
    control: Control, t: NDArray, error: NDArray, most: int, largest: NDArray | float = np.inf
) -> NDArray:
    """Return a mesh whose steps all have about the tolerated error, or its first `most` steps."""
    h = np.abs(np.diff(t))
    wanted = h * np.clip(_SAFETY * control.factor(error), _SHRINK, _GROW)
    wanted = np.minimum(np.minimum(_without_peaks(wanted), largest), control.max_step)
    position = np.concatenate([[0], np.cumsum(h / wanted)])
    n_steps = max(1.0, np.ceil(position[-1] * (1 - 1e-12)))
    levels = np.arange(int(min(n_steps, most)) + 1) * (position[-1] / n_steps)
    return _between(t, np.interp(levels, position, np.arange(t.size)))


def first(mask: NDArray) -> int:
    """Return the index of the first step of which something is true, or their number."""
    return int(mask.argmax()) if mask.any() else mask.size


def _without_peaks(sizes: NDArray) -> NDArray:
    """Return sizes none of which sticks out of its neighbours.

    An estimate that is small by accident, where it changes sign, would make a
    few steps too large. A step that the end of the interval cut short is no neighbour.
    """
    if sizes.size < 3:
        return sizes
    padded = np.concatenate([sizes[1:2], sizes, sizes[-2:-1]])
    left, right = (np.maximum(a, _ALIKE * sizes) for a in (padded[:-2], padded[2:]))
    mean = (left * sizes * right) ** (1 / 3)
    smooth: NDArray = np.minimum(np.minimum(sizes, mean), np.maximum(left, right))
    return smooth


def _between(t: NDArray, index: NDArray) -> NDArray:
    """Return times at fractional indices of a mesh, its end exactly."""
    new = np.interp(index, np.arange(t.size), t)
    if index[-1] >= (t.size - 1) * (1 - 1e-12):
        new[-1] = t[-1]
    return new
