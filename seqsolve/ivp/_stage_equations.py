"""The linear systems of the stages of implicit methods."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from seqsolve.backend import Backend
from seqsolve.ivp._banded_systems import BandedStages
from seqsolve.ivp._bands import Bands
from seqsolve.ivp._method import NDArray
from seqsolve.ivp._rhs import RightHandSide

#: Condition of the eigenvectors beyond which a tableau counts as not diagonalisable.
_WORST = 1e6


class Spectrum(NamedTuple):
    """The eigenvalues and eigenvectors of a tableau, one of each conjugate pair for real states.

    Parameters
    ----------
    values : ndarray, shape (k,)
        Eigenvalues; real ones first.
    left : ndarray, shape (k, s)
        Rows of the inverse of the matrix of eigenvectors.
    right : ndarray, shape (s, k)
        Eigenvectors, doubled for one of a pair.
    """

    values: NDArray
    left: NDArray
    right: NDArray

    def on(self, backend: Backend) -> Spectrum:
        """Return the same with the vectors in a backend's arrays."""
        return Spectrum(self.values, backend.asarray(self.left), backend.asarray(self.right))


def spectrum(A: NDArray, dtype: Any) -> Spectrum | None:
    """Return that of a tableau, None where it is not diagonalisable.

    Parameters
    ----------
    A : ndarray, shape (s, s)
        The tableau.
    dtype : dtype
        Of the states: real ones need one of each conjugate pair.
    """
    return _spectrum(A.astype(float).tobytes(), len(A), dtype.kind == "c")


@cache
def _spectrum(tableau: bytes, s: int, all_of_a_pair: bool) -> Spectrum | None:
    values, vectors = np.linalg.eig(np.frombuffer(tableau).reshape(s, s).astype(complex))
    if np.linalg.cond(vectors) > _WORST:
        return None
    single = np.abs(values.imag) <= 1e-12 * np.abs(values)
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    vectors = vectors / (largest / np.abs(largest))
    values, vectors = (np.where(single, a.real, a) for a in (values, vectors))
    left = np.linalg.inv(vectors)
    if all_of_a_pair:
        return Spectrum(values, left, vectors)
    one = np.concatenate([np.flatnonzero(single), np.flatnonzero(~single & (values.imag > 0))])
    weight = np.where(single, 1, 2)
    return Spectrum(values[one], left[one], (vectors * weight)[:, one])


class OneJacobian:
    """``(I x mass - h A x J)^-1``, with one Jacobian for all stages of a step.

    In the basis of the tableau's eigenvectors that is a system of the size of
    the state for every stage, real or complex.

    Parameters
    ----------
    rhs : RightHandSide
        The equation.
    basis : Spectrum
        That of the tableau.
    J : ndarray, shape (m, n, n)
        The Jacobians.
    h : ndarray, shape (m,)
        The steps.

    References
    ----------
    .. [1] E. Hairer, G. Wanner, "Solving Ordinary Differential Equations II",
       section IV.8.
    """

    def __init__(self, rhs: RightHandSide, basis: Spectrum, J: NDArray, h: NDArray) -> None:
        self._basis, self._real = basis, J.dtype.kind != "c"
        self._parts: list[_Inverses | _Factored] = []
        self._is_real = [self._real and not value.imag for value in basis.values]
        for value, real in zip(basis.values, self._is_real, strict=True):
            scaled = (value.real if real else value) * h
            if rhs.bands is None:
                self._parts.append(_Inverses(rhs, scaled, J))
            else:
                self._parts.append(_Factored(rhs, rhs.bands, scaled, J))

    def solve(self, right: NDArray, rows: NDArray) -> NDArray:
        """Return the stages ``(k, s, n)`` for right-hand sides of some of the steps."""
        total = np.zeros_like(right)
        for i, part in enumerate(self._parts):
            left, vector = self._basis.left[i], self._basis.right[:, i, None]
            if self._is_real[i]:
                left, vector = left.real, vector.real
            stages = vector * part.solve(left @ right, rows)[:, None]
            total += stages.real if self._real else stages
        return total

    def solve_real(self, right: NDArray) -> NDArray:
        """Solve ``(mass - h a J) x = right`` for all steps, `a` the real eigenvalue."""
        x = self._parts[int(np.abs(self._basis.values.imag).argmin())].solve(right, None)
        return x.real if self._real else x


class _Inverses:
    """``(mass - h J)^-1`` for many steps, dense."""

    def __init__(self, rhs: RightHandSide, h: NDArray, J: NDArray) -> None:
        M = rhs.weights - h[:, None, None] * J
        self._inverses = linear_solve(rhs, M, np.broadcast_to(rhs.home.xp.eye(rhs.n), M.shape))

    def solve(self, b: NDArray, rows: NDArray | None) -> NDArray:
        """Return the solutions for vectors ``(k, n)``, of some of the steps or of all."""
        inverses = self._inverses if rows is None else self._inverses[rows]
        x: NDArray = (inverses @ b[:, :, None])[:, :, 0]
        return x


class _Factored:
    """The same, banded."""

    def __init__(self, rhs: RightHandSide, bands: Bands, h: NDArray, J: NDArray) -> None:
        self._order = bands.order
        self._factors = list(BandedStages(rhs, bands, np.ones((1, 1)), J[:, None], h).factors())

    def solve(self, b: NDArray, rows: NDArray | None) -> NDArray:
        """Return the solutions for vectors ``(k, n)``, of some of the steps or of all."""
        which = range(len(b)) if rows is None else rows
        x = np.empty_like(b)
        for k, (row, own) in enumerate(zip(which, b[:, self._order], strict=True)):
            x[k, self._order] = self._factors[row].solve(own[None])[0]
        return x


def solve_stages(
    rhs: RightHandSide,
    A: NDArray,
    J: NDArray,
    h: NDArray,
    right: NDArray,
    *,
    transpose: bool = False,
) -> NDArray:
    """Solve ``(I x mass - h A J) Z = right``, with the Jacobian of every stage.

    Parameters
    ----------
    rhs : RightHandSide
        The equation.
    A : ndarray, shape (s, s)
        The tableau.
    J : ndarray, shape (m, s, n, n)
        The Jacobians.
    h : ndarray, shape (m,)
        The steps.
    right : ndarray, shape (m, s, n)
        Right-hand sides.
    transpose : bool
        Whether to solve with the transposed matrices.
    """
    if rhs.bands is not None:
        return BandedStages(rhs, rhs.bands, A, J, h).solve(right, transpose=transpose)
    m, s, n = right.shape
    M = stage_matrix(rhs, A, J, h)
    M = M.swapaxes(1, 2) if transpose else M
    return linear_solve(rhs, M, right.reshape(m, s * n, 1)).reshape(m, s, n)


def stage_matrix(rhs: RightHandSide, A: NDArray, J: NDArray, h: NDArray) -> NDArray:
    """Return ``I x mass - h A J``, of shape ``(m, s n, s n)``."""
    m, s, n = J.shape[:3]
    blocks = np.einsum("ij,mjkl->mikjl", A, J) * h[:, None, None, None, None]
    masses = rhs.home.xp.eye(s)[:, None, :, None] * rhs.weights[:, None, :]
    matrix: NDArray = (masses - blocks).reshape(m, s * n, s * n)
    return matrix


def linear_solve(rhs: RightHandSide, M: NDArray, b: NDArray) -> NDArray:
    """Solve many linear systems; the solutions of singular ones are not finite."""
    rhs.nlu += len(M)
    try:
        return np.linalg.solve(M, b)
    except np.linalg.LinAlgError:
        good = np.asarray(np.isfinite(M).all(axis=(1, 2)))
        good[good] = np.linalg.cond(M[good]) < 1 / np.finfo(float).eps
        x = np.full(b.shape, np.nan, b.dtype)
        x[good] = np.linalg.solve(M[good], b[good])
        return x
