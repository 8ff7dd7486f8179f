"""The linear systems of the stages of implicit methods, with banded Jacobians."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from seqsolve.ivp._bands import Bands
from seqsolve.ivp._method import NDArray
from seqsolve.ivp._rhs import RightHandSide

#: Bytes of the matrices that are put together at a time.
_BYTES = 2**20


class Factors:
    """A banded matrix, factorised.

    Parameters
    ----------
    matrix : ndarray, shape (size, 3 w + 1)
        Its columns from `w` above the diagonal to `w` below, behind `w` zeros; overwritten.
    w : int
        Diagonals on one side.
    """

    def __init__(self, matrix: NDArray, w: int) -> None:
        from scipy.linalg import get_lapack_funcs

        self._w = w
        routines: Any = get_lapack_funcs(("gbtrf", "gbtrs"), (matrix,))
        factorise, self._solve = routines
        self._lu, self._pivots, self._singular = factorise(matrix.T, w, w, overwrite_ab=True)

    def solve(self, b: NDArray, *, transpose: bool = False) -> NDArray:
        """Return the solutions for right-hand sides ``(k, size)``; NaN if there are none."""
        if self._singular:
            return np.full(b.shape, np.nan, b.dtype)
        x, _ = self._solve(self._lu, self._w, self._w, b.T, self._pivots, trans=int(transpose))
        solutions: NDArray = x.T
        return solutions


class BandedStages:
    """``I x mass - h A J``, for the Jacobians at the stages of many steps.

    With the stages of a state next to each other that is a banded matrix.

    Parameters
    ----------
    rhs : RightHandSide
        The equation.
    bands : Bands
        Where its Jacobians are.
    A : ndarray, shape (s, s)
        The tableau.
    J : ndarray, shape (m, s, n, 2 w + 1)
        The Jacobians.
    h : ndarray, shape (m,)
        The steps.
    """

    def __init__(
        self, rhs: RightHandSide, bands: Bands, A: NDArray, J: NDArray, h: NDArray
    ) -> None:
        self._rhs, self._bands, self._A, self._J, self._h = rhs, bands, A, J, h
        self._dtype = np.result_type(A, J, h)

    def factors(self) -> Iterator[Factors]:
        """Yield the factorised matrix of each step."""
        m, s, n, diagonals = self._J.shape
        w = s * (diagonals // 2) + s - 1
        together = max(1, _BYTES // (8 * n * s * (3 * w + 1)))
        for first in range(0, m, together):
            for matrix in self._matrices(slice(first, first + together), w):
                self._rhs.nlu += 1
                yield Factors(matrix.reshape(n * s, 3 * w + 1), w)

    def _matrices(self, steps: slice, w: int) -> NDArray:
        """Return the matrices of some steps, ``(k, n, s, 3 w + 1)``."""
        J, h = self._J[steps], self._h[steps, None, None]
        k, s, n, diagonals = J.shape
        matrices = np.zeros((k, n, s, 3 * w + 1), self._dtype)
        for i, j in np.ndindex(s, s):
            entries = -h * self._A[i, j] * J[:, j]
            if i == j:
                entries += self._rhs.weights
            first = 2 * w - s * (diagonals // 2) + i - j
            matrices[:, :, j, first : first + s * diagonals : s] = entries
        return matrices

    def solve(self, right: NDArray, *, transpose: bool = False) -> NDArray:
        """Return the solutions for right-hand sides ``(m, s, n)``."""
        b = self._interleaved(right)
        x = [f.solve(b[k], transpose=transpose) for k, f in enumerate(self.factors())]
        return self._separated(np.concatenate([b[:0], *(a[None] for a in x)]))

    def sweep(self, right: NDArray, new: int) -> tuple[NDArray, NDArray]:
        """Solve step after step, each also with what the one before adds to its state.

        Parameters
        ----------
        right : ndarray, shape (m, s, n)
            Right-hand sides of each step's own.
        new : int
            The stage that is the state with which the next step begins.

        Returns
        -------
        moved, own : ndarray, shape (m, s, n)
            The solutions, and those of every step alone.
        """
        s, n = right.shape[1:]
        own, b = self._interleaved(right), np.zeros((2, n * s), right.dtype)
        moved = np.empty_like(own)
        for k, factors in enumerate(self.factors()):
            b[0] = own[k]
            own[k], after = factors.solve(b)
            moved[k] = own[k] + after
            b[1] = np.repeat(self._weighed(moved[k, 0].reshape(n, s)[:, new]), s)
        return self._separated(moved), self._separated(own)

    def _weighed(self, v: NDArray) -> NDArray:
        """Return the mass matrix times a vector ``(n,)`` in the order of the unknowns."""
        if self._rhs.mass is None:
            return v
        own = np.empty_like(v)
        own[self._bands.order] = v
        return self._rhs.weighed(own)[self._bands.order]

    def _interleaved(self, right: NDArray) -> NDArray:
        """Return right-hand sides ``(m, 1, n s)`` in the order of the unknowns."""
        m, s, n = right.shape
        ordered = right[..., self._bands.order].swapaxes(1, 2)
        b: NDArray = ordered.astype(np.result_type(self._dtype, right)).reshape(m, 1, n * s)
        return b

    def _separated(self, x: NDArray) -> NDArray:
        """Return solutions ``(m, 1, n s)`` as ``(m, s, n)``."""
        m, s, n = self._J.shape[:3]
        stages = np.empty((m, s, n), x.dtype)
        stages[..., self._bands.order] = x.reshape(m, n, s).swapaxes(1, 2)
        return stages
