"""Nonlinear recurrences for the solvers, as functions of the backend's arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from seqsolve.backend import Array, Backend
from seqsolve.step import StepCotangents, Tree
from seqsolve.testing import _oracle
from seqsolve.testing._expect import eps, noise, precision
from seqsolve.testing._oracle import HostArray

STRUCTURES = ("diagonal", "block_diagonal", "dense")

#: The largest factor by which a step of a `Recurrence` changes a perturbation.
_CONTRACTION = 0.75


@dataclass(frozen=True)
class Recurrence:
    """``y[t] = tanh(W y[t-1] + x[t])``, contracting, and its trajectory.

    Parameters
    ----------
    structure : str
        Of `W`: ``(n,)``, ``(h, k, k)`` or ``(n, n)``.
    W : array
        On the backend.
    W_host, x, y0 : ndarray
        In host memory, of the dtype computed in.
    """

    structure: str
    W: Array
    W_host: HostArray
    x: HostArray
    y0: HostArray

    @property
    def dtype(self) -> str:
        """The dtype computed in."""
        return str(self.y0.dtype)

    def f(self, y_prev: Array, x: Array) -> Array:
        """Return the new state."""
        return np.tanh(_product(self.W, y_prev) + x)

    def jac(self, y_prev: Array, x: Array) -> Array:
        """Return the Jacobian, in its structure's shape."""
        return _jacobian(self.W, self.f(y_prev, x))

    def trajectory(self) -> HostArray:
        """Return the states by a loop in double precision."""
        W = _oracle.wide(self.W_host)
        return _oracle.trajectory(
            lambda y, x: np.tanh(
                _oracle.apply(np.broadcast_to(W, (*y.shape[:-1], *W.shape)), y) + x
            ),
            self.x,
            self.y0,
            len(self.x),
        )

    def jacobians(self) -> HostArray:
        """Return the Jacobians along the trajectory in double precision."""
        A: HostArray = _jacobian(_oracle.wide(self.W_host), self.trajectory())
        return A


def recurrence(
    backend: Backend,
    structure: str,
    dtype: str,
    *,
    n_steps: int = 60,
    batch: tuple[int, ...] = (),
    n_state: int = 4,
) -> Recurrence:
    """Return a random recurrence with its weights on the backend."""
    rng = np.random.default_rng((n_steps, n_state))
    shape = {
        "diagonal": (n_state,),
        "block_diagonal": (n_state // 2, 2, 2),
        "dense": (n_state, n_state),
    }[structure]
    W = noise(rng, shape, dtype)
    size = np.abs(W) if structure == "diagonal" else np.linalg.norm(W, 2, (-2, -1), keepdims=True)
    W = (0.5 * W / size).astype(dtype)
    x = (0.25 * noise(rng, (n_steps, *batch, n_state), dtype)).astype(dtype)
    y0 = (0.25 * noise(rng, (*batch, n_state), dtype)).astype(dtype)
    return Recurrence(structure, backend.asarray(W), W, x, y0)


def solver_tolerance(dtype: str) -> float:
    """Return the error allowed in a trajectory of such a recurrence.

    The solvers' default tolerances bound the residual by 2e-12 and 2e-6 for
    states below one; rounding adds a few eps. A perturbation lives for
    ``1 / (1 - _CONTRACTION)`` steps.
    """
    residual = {"float32": 2e-6, "float64": 2e-12}[precision(dtype)]
    return 2 * (residual + 8 * eps(dtype)) / (1 - _CONTRACTION)


@dataclass(frozen=True)
class Cell:
    """``tanh(U y_prev + x + c)`` as a step object with parameters and its own gradients."""

    params: Mapping[str, Array]

    def with_params(self, params: Mapping[str, Array], /) -> Self:
        """Return the same step with other parameters."""
        return replace(self, params=params)

    def __call__(self, y_prev: Array, x: Tree, /) -> Array:
        """Return the new state."""
        return np.tanh(_product(self.params["U"], y_prev) + x + self.params["c"])

    def jac(self, y_prev: Array, x: Tree, /) -> Array:
        """Return the dense Jacobian."""
        return _jacobian(self.params["U"], self(y_prev, x))

    def vjp(self, y_prev: Array, x: Tree, lam: Array, /) -> StepCotangents:
        """Return the cotangents of state, input and parameters."""
        y = self(y_prev, x)
        z = lam * (1 - y * y)
        rows, states = z.reshape(-1, z.shape[-1]), y_prev.reshape(-1, z.shape[-1])
        return StepCotangents(
            z @ self.params["U"], z, {"U": rows.T @ states, "c": rows.sum(axis=0)}
        )


def logistic(rate: float) -> Callable[[Any, Any], Any]:
    """Return the logistic map, driven by its input."""
    return lambda y, x: rate * y * (1 - y) + x


def _product(W: Array, y: Array) -> Array:
    if W.ndim == 1:
        return W * y
    if W.ndim == 2:
        return y @ W.T
    heads = y.reshape(*y.shape[:-1], *W.shape[:-1])
    return (W @ heads[..., None])[..., 0].reshape(y.shape)


def _jacobian(W: Array, y: Array) -> Array:
    slope = 1 - y * y
    if W.ndim == 1:
        return slope * W
    if W.ndim == 2:
        return slope[..., None] * W
    return slope.reshape(*slope.shape[:-1], *W.shape[:-1], 1) * W
