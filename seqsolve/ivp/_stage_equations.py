"""The linear systems of the stages of implicit methods."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from seqsolve.backend import Backend
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
    left = np.linalg.inv(vectors)
    if all_of_a_pair:
        return Spectrum(values, left, vectors)
    single = np.abs(values.imag) <= 1e-12 * np.abs(values)
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
        identity, mass = rhs.home.xp.eye(J.shape[-1]), rhs.weights
        self._inverses = []
        for value in basis.values:
            factor = value.real if self._real and not value.imag else value
            M = mass - factor * h[:, None, None] * J
            self._inverses.append(linear_solve(rhs, M, np.broadcast_to(identity, M.shape)))

    def solve(self, right: NDArray, rows: NDArray) -> NDArray:
        """Return the stages ``(k, s, n)`` for right-hand sides of some of the steps."""
        total = np.zeros_like(right, dtype=complex)
        for i, inverse in enumerate(self._inverses):
            own = np.einsum("s,ksn->kn", self._basis.left[i], right)
            stages = (inverse[rows] @ own[:, :, None])[:, None, :, 0]
            total += self._basis.right[:, i, None] * stages
        return total.real if self._real else total


def weighed(rhs: RightHandSide, Z: NDArray) -> NDArray:
    """Return the mass matrix times increments ``(..., n)``."""
    return Z if rhs.mass is None else Z @ rhs.mass.T


def stage_masses(rhs: RightHandSide, s: int) -> NDArray:
    """Return the matrix in front of the increments of all stages, ``(s n, s n)``."""
    masses: NDArray = rhs.home.xp.eye(s)[:, None, :, None] * rhs.weights[:, None, :]
    return masses.reshape(s * rhs.n, s * rhs.n)


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
