"""Matrices of many states, each of which depends on few others."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

NDArray: TypeAlias = npt.NDArray[Any]

#: States at least, and diagonals at most, as a part of them, with which bands pay.
_FEWEST, _WIDEST = 16, 0.5


class Bands:
    """The places of matrices whose nonzeros are near the diagonal, in some order of the states.

    Such a matrix is an array ``(n, 2 w + 1)``: of each column the entries
    from `w` above the diagonal to `w` below.

    Parameters
    ----------
    pattern : sparse matrix, shape (n, n)
        Nonzero where matrices may be, besides the diagonal.

    Attributes
    ----------
    n, width : int
        Number of states, and of diagonals on one side, `w`.
    shape : tuple of int
        ``(n, 2 w + 1)``.
    order : ndarray, shape (n,)
        The states, in the order in which the matrices are banded.

    References
    ----------
    .. [1] E. Cuthill, J. McKee, "Reducing the bandwidth of sparse symmetric
       matrices", Proc. 24th Nat. Conf. ACM, 1969.
    """

    def __init__(self, pattern: Any) -> None:
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import reverse_cuthill_mckee

        self.n = n = pattern.shape[0]
        diagonal = np.arange(n)
        rows, columns = (np.append(i, diagonal) for i in pattern.nonzero())
        ones = np.ones(2 * rows.size, np.int8)
        places = np.concatenate([rows, columns]), np.concatenate([columns, rows])
        symmetric = csr_array((ones, places), shape=(n, n))
        shuffled = reverse_cuthill_mckee(symmetric, symmetric_mode=True).astype(int)
        orders = (diagonal, shuffled)
        widths = [_width(order, rows, columns) for order in orders]
        best = int(np.argmin(widths))
        self.order, self.width = orders[best], widths[best]
        self._position = place = np.argsort(self.order)
        self.shape = (n, 2 * self.width + 1)
        filled = np.zeros(self.shape, bool)
        filled[place[columns], self.width + place[rows] - place[columns]] = True
        across = diagonal[:, None] + np.arange(-self.width, self.width + 1)
        self._rows = self.order[np.where(filled, across, diagonal[:, None])]
        self._columns = np.broadcast_to(self.order[:, None], self.shape)
        self._filled = filled

    @property
    def pay(self) -> bool:
        """Whether banded systems of the stages take less time than dense ones."""
        return bool(self.n >= _FEWEST and self.shape[1] <= _WIDEST * self.n)

    @property
    def identity(self) -> NDArray:
        """The entries of the identity."""
        entries = np.zeros(self.shape)
        entries[:, self.width] = 1
        return entries

    def scattered(self, matrix: Any) -> NDArray:
        """Return the entries of a sparse matrix."""
        found = matrix.tocoo()
        row, column = self._position[found.row], self._position[found.col]
        across = self.width + row - column
        inside = (across >= 0) & (across < self.shape[1])
        inside[inside] = self._filled[column[inside], across[inside]]
        if found.data[~inside].any():
            i = int(np.flatnonzero(~inside & (found.data != 0))[0])
            raise ValueError(
                "`jac` must be zero outside `jac_sparsity`, or else outside the entries that its "
                f"matrix stores at the initial state; got {found.data[i]} in row {found.row[i]}, "
                f"column {found.col[i]}."
            )
        entries = np.zeros(self.shape, found.data.dtype)
        np.add.at(entries, (column[inside], across[inside]), found.data[inside])
        return entries

    def gathered(self, matrices: NDArray) -> NDArray:
        """Return the entries ``(..., n, 2 w + 1)`` of matrices ``(..., n, n)``."""
        entries: NDArray = np.where(self._filled, matrices[..., self._rows, self._columns], 0)
        return entries

    def differences(self, change: NDArray, h: NDArray, group: NDArray) -> NDArray:
        """Return matrices for changes ``(m, k, n)`` by displacements ``(m, n)`` in groups."""
        entries = change[:, group[self._columns], self._rows] / h[:, self._columns]
        return np.where(self._filled, entries, 0)

    def dense(self, B: NDArray) -> NDArray:
        """Return the matrices ``(..., n, n)``."""
        matrices = np.zeros((*B.shape[:-2], self.n, self.n), B.dtype)
        rows, columns = self._rows[self._filled], self._columns[self._filled]
        matrices[..., rows, columns] = B[..., self._filled]
        return matrices

    def times(self, B: NDArray, v: NDArray, *, transpose: bool = False) -> NDArray:
        """Return the products of matrices and vectors ``(..., n)``."""
        w, v = self.width, v[..., self.order]
        shape = (*np.broadcast_shapes(B.shape[:-2], v.shape[:-1]), self.n)
        product = np.zeros(shape, np.result_type(B, v))
        for d in range(max(-w, 1 - self.n), min(w, self.n - 1) + 1):
            column = slice(max(0, -d), self.n - max(0, d))
            row = slice(max(0, d), self.n - max(0, -d))
            if transpose:
                product[..., column] += B[..., column, w + d] * v[..., row]
            else:
                product[..., row] += B[..., column, w + d] * v[..., column]
        out = np.empty_like(product)
        out[..., self.order] = product
        return out


def _width(order: NDArray, rows: NDArray, columns: NDArray) -> int:
    place = np.argsort(order)
    return int(np.abs(place[rows] - place[columns]).max(initial=0))
