"""The matrix exponential and its relatives, of many matrices."""

from __future__ import annotations

from math import factorial
from typing import NamedTuple

import numpy as np

from seqsolve.ivp._method import NDArray

#: Terms of the Taylor series, for matrices of norm at most 1/2: the next is below 1e-18.
_TERMS = 15

#: Squarings at most.
_MOST = 60


class Phi(NamedTuple):
    """Functions of matrices ``Z``, all of shape ``(m, n, n)``.

    Parameters
    ----------
    exp : ndarray
        ``e^Z``.
    one : ndarray
        ``phi1(Z) = Z^-1 (e^Z - 1)``.
    two : ndarray
        ``phi2(Z) = Z^-1 (phi1(Z) - 1)``.
    """

    exp: NDArray
    one: NDArray
    two: NDArray


def phi(Z: NDArray) -> Phi:
    """Return the functions by scaling and squaring; NaN where `Z` is not finite or too large.

    References
    ----------
    .. [1] M. Hochbruck, A. Ostermann, "Exponential integrators", Acta Numerica
       19, 2010, section 2.
    .. [2] B. Skaflestad, W. M. Wright, "The scaling and modified squaring method
       for matrix functions related to the exponential", Appl. Numer. Math. 59, 2009.
    """
    identity = np.eye(Z.shape[-1])
    norm = np.abs(Z).sum(axis=-1).max(axis=-1, initial=0)
    usable = norm < 2.0**_MOST
    norm = np.where(usable, norm, 0)
    squarings = np.maximum(0, np.ceil(np.log2(np.maximum(norm, 0.5)) + 1)).astype(int)
    scaled = np.where(usable[:, None, None], Z, 0) / 2.0 ** squarings[:, None, None]
    two = np.broadcast_to(identity / factorial(_TERMS + 1), Z.shape)
    for k in range(_TERMS - 2, -1, -1):
        two = scaled @ two + identity / factorial(k + 2)
    one = identity + scaled @ two
    exp = identity + scaled @ one
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(int(squarings.max(initial=0))):
            i = np.flatnonzero(squarings > k)
            two[i] = (one[i] @ one[i] + 2 * two[i]) / 4
            one[i] = (exp[i] @ one[i] + one[i]) / 2
            exp[i] = exp[i] @ exp[i]
    for function in (exp, one, two):
        function[~usable] = np.nan
    return Phi(exp, one, two)


def phi1_derivative(Z: NDArray, E: NDArray) -> NDArray:
    """Return the derivatives of ``phi1`` at `Z` in the directions `E`, ``(m, n, n)``."""
    n = Z.shape[-1]
    zero = np.zeros_like(Z)
    both = np.concatenate(
        [np.concatenate([Z, E], axis=-1), np.concatenate([zero, Z], axis=-1)], axis=-2
    )
    derivative: NDArray = phi(both).one[:, :n, n:]
    return derivative
