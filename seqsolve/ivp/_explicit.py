"""Explicit Runge-Kutta methods: stages, and the step's Jacobian propagated through them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from seqsolve.ivp._method import Attempt, Method, NDArray, Points, cubic, quartic
from seqsolve.ivp._rhs import RightHandSide


class ExplicitRungeKutta(Method):
    """A method given by its tableau.

    Attributes
    ----------
    A : ndarray, shape (s, s)
        Strictly lower triangular.
    b, c : ndarray, shape (s,)
        Weights and nodes.
    """

    A: NDArray
    b: NDArray
    c: NDArray

    def stages(self, rhs: RightHandSide, at: Points, f: NDArray | None = None) -> NDArray:
        """Return the derivatives at the stages, shape ``(s, m, n)``."""
        K = np.empty((len(self.b), *at.y.shape), at.y.dtype)
        K[0] = rhs(at.t, at.y) if f is None else f
        for i in range(1, len(K)):
            K[i] = rhs(at.t + self.c[i] * at.h, self.state(at, K[:i], self.A[i, :i]))
        return K

    def state(self, at: Points, K: NDArray, weights: NDArray) -> NDArray:
        """Return ``y + h sum weights K``."""
        y: NDArray = at.y + at.h[:, None] * np.tensordot(weights, K, 1)
        return y

    def step(self, rhs: RightHandSide, at: Points) -> NDArray:
        """Return the new states."""
        return self.state(at, self.stages(rhs, at), self.b)

    def between(
        self, rhs: RightHandSide, at: Points, middle: NDArray, y_new: NDArray, f: NDArray | None
    ) -> tuple[NDArray, NDArray | None]:
        """Return the coefficients of quartics that also meet the derivatives at both ends."""
        f = rhs(at.t, at.y) if f is None else f
        f_new = rhs(at.t + at.h, y_new)
        return quartic(at, middle, y_new, f, f_new), f_new

    def linearize(self, rhs: RightHandSide, at: Points) -> tuple[NDArray, Callable[[], NDArray]]:
        """Return the new states, and a function that returns their Jacobians."""
        K = self.stages(rhs, at)
        return self.state(at, K, self.b), lambda: self._jacobian(rhs, at, K)

    def _jacobian(self, rhs: RightHandSide, at: Points, K: NDArray) -> NDArray:
        s, (m, n) = len(K), at.y.shape
        Y = np.stack([self.state(at, K[:i], self.A[i, :i]) for i in range(s)])
        t = at.t + self.c[:, None] * at.h
        J = rhs.jacobian(t.ravel(), Y.reshape(s * m, n), K.reshape(s * m, n)).reshape(s, m, n, n)
        h = at.h[:, None, None]
        dK = np.empty(J.shape, J.dtype)
        for i in range(s):
            dK[i] = J[i]
            if i:
                dK[i] += J[i] @ (h * np.tensordot(self.A[i, :i], dK[:i], 1))
        jacobian: NDArray = np.eye(n) + h * np.tensordot(self.b, dK, 1)
        return jacobian


class EmbeddedRungeKutta(ExplicitRungeKutta):
    """An explicit method with a second one of lower order on the same stages.

    Attributes
    ----------
    e : ndarray, shape (s + 1,)
        Weights of the error; the last is that of the derivative at the new
        state.
    """

    e: NDArray

    def attempt(
        self, rhs: RightHandSide, at: Points, *, f: NDArray | None = None, dense: bool = True
    ) -> Attempt:
        """Make the steps, estimating errors by the embedded method."""
        K = self.stages(rhs, at, f)
        y_new = self.state(at, K, self.b)
        f_new = rhs(at.t + at.h, y_new)
        K = np.concatenate([K, f_new[None]])
        coefficients = (
            self.interpolant(rhs, at, y_new, K) if dense else cubic(at, y_new, K[0], f_new)
        )
        return Attempt(y_new, self.errors(at, K), coefficients, f_new)

    def errors(self, at: Points, K: NDArray) -> NDArray:
        """Return the estimated local errors."""
        e: NDArray = at.h[:, None] * np.tensordot(self.e, K, 1)
        return e

    def interpolant(self, rhs: RightHandSide, at: Points, y_new: NDArray, K: NDArray) -> NDArray:
        """Return the coefficients of the method's own continuous extension."""
        raise NotImplementedError
