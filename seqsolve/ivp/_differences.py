"""Jacobians by differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from seqsolve.ivp._bands import Bands
from seqsolve.ivp._columns import Columns

NDArray: TypeAlias = npt.NDArray[Any]


def displacement(y: NDArray, relative: float) -> NDArray:
    """Return how far to move each component, from its own size and its size elsewhere."""
    size = np.abs(y)
    finite = np.isfinite(size)
    middle = len(y) // 2
    if len(y):
        median = np.partition(np.where(finite, size, 0), middle, axis=0)[middle]
        size = np.maximum(size, 1e-3 * median)
    h: NDArray = relative * np.where((size > 0) & finite, size, 1.0)
    return h


def differences(
    fun: Callable[[NDArray], NDArray],
    y: NDArray,
    f: NDArray | None,
    columns: Columns,
    bands: Bands | None,
    *,
    central: bool,
    least: float,
) -> tuple[NDArray, NDArray]:
    """Return derivatives and Jacobians at states ``(m, n)``, by one call of `fun`.

    Parameters
    ----------
    fun : callable
        The derivatives at points ``(m, k, n)``.
    y : ndarray, shape (m, n)
        The states.
    f : ndarray, shape (m, n), or None
        The derivatives there, if they are known.
    columns : Columns
        Along which directions to move.
    bands : Bands or None
        How to store the Jacobians.
    central : bool
        Whether to move both ways, which is more exact.
    least : float
        Components are moved as if they were at least this part of the largest.
    """
    relative = float(np.finfo(float).eps) ** (1 / 3 if central else 1 / 2)
    h = displacement(y, relative)
    if least:
        h = np.maximum(h, least * relative * np.abs(y).max(axis=1, keepdims=True))
    moved = columns.displaced(y, h)
    k = moved.shape[1]
    here = [] if f is not None else [y[:, None]]
    if central:
        back = columns.displaced(y, -h)
        values = fun(np.concatenate([moved, back, *here], axis=1))
        change, wide = values[:, :k] - values[:, k : 2 * k], columns.own(moved) - columns.own(back)
        f = values[:, -1] if f is None else f
    else:
        values = fun(np.concatenate([moved, *here], axis=1))
        f = values[:, -1] if f is None else f
        change, wide = values[:, :k] - f[:, None], columns.own(moved) - y
    return f, columns.jacobian(change, wide, bands)
