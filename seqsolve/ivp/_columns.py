"""Which columns of a Jacobian one difference can tell apart."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from seqsolve.backend import Backend

NDArray = npt.NDArray[Any]


class Columns:
    """Directions along which to difference, and the Jacobian that follows.

    Parameters
    ----------
    n : int
        Number of columns, and of rows.
    pattern : ndarray of bool, shape (n, n), optional
        Where the Jacobian may differ from zero. Columns that share no row are
        displaced together.

    Attributes
    ----------
    directions : ndarray, shape (k, n)
        1 where a column is displaced.

    References
    ----------
    .. [1] A. R. Curtis, M. J. D. Powell, J. K. Reid, "On the estimation of
       sparse Jacobian matrices", IMA J. Appl. Math. 13, 1974.
    """

    def __init__(self, n: int, pattern: NDArray | None = None) -> None:
        self._pattern, self._column = pattern, np.arange(n)
        self._group = self._column if pattern is None else _grouped(pattern)
        self.directions = _directions(np.arange(self._group.max() + 1), self._group)

    def on(self, backend: Backend) -> Columns:
        """Return the same for points that are a backend's arrays."""
        other, moved = copy(self), backend.asarray
        other._pattern = None if self._pattern is None else moved(self._pattern)
        other._group, other._column = moved(self._group), moved(self._column)
        other.directions = _directions(moved(np.arange(len(self.directions))), other._group)
        return other

    def displaced(self, y: NDArray, h: NDArray) -> NDArray:
        """Return points ``(m, k, n)`` around ``(m, n)``, moved by `h` in every direction."""
        points: NDArray = y[:, None, :] + self.directions * h[:, None, :]
        return points

    def own(self, points: NDArray) -> NDArray:
        """Return of points ``(m, k, n)`` the components that were moved, ``(m, n)``."""
        components: NDArray = points[:, self._group, self._column]
        return components

    def jacobian(self, change: NDArray, h: NDArray) -> NDArray:
        """Return Jacobians ``(m, n, n)`` for changes ``(m, k, n)`` by displacements ``(m, n)``."""
        if self._pattern is None:
            return (change / h[:, :, None]).swapaxes(-1, -2)
        columns: NDArray = change[:, self._group] / h[:, :, None]
        return np.where(self._pattern, columns.swapaxes(-1, -2), 0)


def _directions(groups: NDArray, group: NDArray) -> NDArray:
    """Return 1 where a column is displaced, for every group."""
    directions: NDArray = (groups[:, None] == group).astype(float)
    return directions


def _grouped(pattern: NDArray) -> NDArray:
    """Return to which group each column belongs: the first none of whose rows it has."""
    group = np.zeros(len(pattern), int)
    taken: list[NDArray] = []
    for j, rows in enumerate(pattern.T):
        free = (g for g, used in enumerate(taken) if not (used & rows).any())
        group[j] = next(free, len(taken))
        if group[j] == len(taken):
            taken.append(np.zeros_like(rows))
        taken[group[j]] |= rows
    return group
