"""Which columns of a Jacobian one difference can tell apart."""

from __future__ import annotations

from copy import copy
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from seqsolve.backend import Backend
from seqsolve.ivp._bands import Bands

NDArray = npt.NDArray[Any]


class Columns:
    """Directions along which to difference, and the Jacobian that follows.

    Parameters
    ----------
    n : int
        Number of columns, and of rows.
    pattern : sparse or dense matrix, shape (n, n), optional
        Nonzero where the Jacobian may be. Columns that share no row are
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

    def __init__(self, n: int, pattern: Any = None) -> None:
        self._pattern = pattern
        self._group = self._column = np.arange(n)
        if pattern is not None:
            from scipy.sparse import csc_array

            self._group = _grouped(csc_array(pattern))
        self.directions = _directions(np.arange(self._group.max() + 1), self._group)

    def on(self, backend: Backend) -> Columns:
        """Return the same for points that are a backend's arrays."""
        other, moved = copy(self), backend.asarray
        if self._pattern is not None:
            other._nonzero = moved(self._nonzero)
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

    def jacobian(self, change: NDArray, h: NDArray, bands: Bands | None = None) -> NDArray:
        """Return Jacobians ``(m, n, n)`` for changes ``(m, k, n)`` by displacements ``(m, n)``.

        With `bands` as banded matrices.
        """
        if bands is not None:
            return bands.differences(change, h, self._group)
        if self._pattern is None:
            return (change / h[:, :, None]).swapaxes(-1, -2)
        columns: NDArray = change[:, self._group] / h[:, :, None]
        return np.where(self._nonzero, columns.swapaxes(-1, -2), 0)

    @cached_property
    def _nonzero(self) -> NDArray:
        dense = self._pattern.toarray() if hasattr(self._pattern, "toarray") else self._pattern
        nonzero: NDArray = dense != 0
        return nonzero


def _directions(groups: NDArray, group: NDArray) -> NDArray:
    """Return 1 where a column is displaced, for every group."""
    directions: NDArray = (groups[:, None] == group).astype(float)
    return directions


def _grouped(pattern: Any) -> NDArray:
    """Return to which group each column belongs: the first none of whose rows it has."""
    pattern.eliminate_zeros()
    rows, ends = pattern.indices.tolist(), pattern.indptr.tolist()
    group, taken = np.zeros(len(ends) - 1, int), [0] * pattern.shape[0]
    for j in range(group.size):
        own = rows[ends[j] : ends[j + 1]]
        used = 0  # a bit for each group
        for i in own:
            used |= taken[i]
        free = ~used & (used + 1)
        group[j] = free.bit_length() - 1
        for i in own:
            taken[i] |= free
    return group
