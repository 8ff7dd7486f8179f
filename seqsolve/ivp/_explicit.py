"""Explicit Runge-Kutta methods: stages, and the step's Jacobian propagated through them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from seqsolve.ivp._method import (
    Attempt,
    Method,
    NDArray,
    Points,
    cubic,
    quartic,
)
from seqsolve.ivp._rhs import RightHandSide
from seqsolve.ivp._tape import Pullback, Tape


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
    coefficients: tuple[str, ...] = ("A", "b", "c")

    def stages(self, rhs: RightHandSide, at: Points, f: NDArray | None = None) -> NDArray:
        """Return the derivatives at the stages, shape ``(s, m, n)``."""
        K = stacked(len(self.b), at.y)
        K[0] = rhs(at.t, at.y, at.lane) if f is None else f
        return self.continued(rhs, at, K, self.A, self.c, 1)

    def continued(
        self, rhs: RightHandSide, at: Points, K: NDArray, A: NDArray, c: NDArray, first: int
    ) -> NDArray:
        """Fill in the stages from `first` on, those of a tableau's rows."""
        for i in range(first, len(K)):
            K[i] = rhs(at.t + c[i] * at.h, self.state(at, K[:i], A[i, :i]), at.lane)
        return K

    def state(self, at: Points, K: NDArray, weights: NDArray) -> NDArray:
        """Return ``y + h sum weights K``."""
        y: NDArray = at.y + at.h[:, None] * combined(weights, K)
        return y

    def step(self, rhs: RightHandSide, at: Points) -> NDArray:
        """Return the new states."""
        return self.state(at, self.stages(rhs, at), self.b)

    def between(
        self, rhs: RightHandSide, at: Points, middle: NDArray, y_new: NDArray, f: NDArray | None
    ) -> tuple[NDArray, NDArray | None]:
        """Return the coefficients of quartics that also meet the derivatives at both ends."""
        f = rhs(at.t, at.y, at.lane) if f is None else f
        f_new = rhs(at.t + at.h, y_new, at.lane)
        return quartic(at, middle, y_new, f, f_new), f_new

    def linearize(self, rhs: RightHandSide, at: Points) -> tuple[NDArray, Callable[[], NDArray]]:
        """Return the new states, and a function that returns their Jacobians."""
        K = self.stages(rhs, at)
        return self.state(at, K, self.b), lambda: self._jacobian(rhs, at, K)

    def taped(self, rhs: RightHandSide, at: Points, *, dense: bool) -> Tape:
        """Make the steps and keep their stages, those of the interpolants too."""
        return ExplicitTape(self, rhs, at, *self.extended()) if dense else self.recorded(rhs, at)

    def recorded(self, rhs: RightHandSide, at: Points) -> Tape:
        """Make the steps and keep their stages."""
        return ExplicitTape(self, rhs, at, self.A, self.c)

    def extended(self) -> tuple[NDArray, NDArray, NDArray]:
        """Return the tableau ``A``, ``c`` with the stages of the interpolant, and its weights.

        The interpolant is ``y + h sum_ik B[i, k] theta^k K_i``. It needs the
        derivative at the new state and the stages of a step of half the size.
        """
        s = len(self.b)
        S = 2 * s
        A, c = np.zeros((S, S)), np.concatenate([self.c, [1], self.c[1:] / 2])
        half = np.concatenate([[0], np.arange(s + 1, S)])
        A[:s, :s], A[s, :s] = self.A, self.b
        A[s + 1 :, half] = self.A[1:] / 2
        at, K = _units(S)
        middle = np.zeros((1, S))
        middle[0, half] = self.b / 2
        new = np.concatenate([self.b, np.zeros(s)])[None]
        return A, c, quartic(at, middle, new, K[0], K[s])[:, 0].T

    def states(self, at: Points, K: NDArray, A: NDArray) -> NDArray:
        """Return the states ``(s, m, n)`` at a tableau's stages."""
        return np.stack([self.state(at, K[:i], A[i, :i]) for i in range(len(K))])

    def _jacobian(self, rhs: RightHandSide, at: Points, K: NDArray) -> NDArray:
        t, lane = _tiled(at, self.c)
        flat = (t.size, at.y.shape[1])
        Y = self.states(at, K, self.A)
        J = rhs.jacobian(t, Y.reshape(flat), K.reshape(flat), lane)
        return self.propagated(at, J.reshape(*K.shape, flat[1]))

    def propagated(self, at: Points, J: NDArray) -> NDArray:
        """Return the Jacobians of the new states, from those ``(s, m, n, n)`` at the stages."""
        h = at.h[:, None, None]
        dK = np.empty(J.shape, J.dtype)
        for i in range(len(J)):
            dK[i] = J[i]
            if i:
                dK[i] += J[i] @ (h * np.tensordot(self.A[i, :i], dK[:i], 1))
        jacobian: NDArray = np.eye(J.shape[-1]) + h * np.tensordot(self.b, dK, 1)
        return jacobian


class ExplicitTape(Tape):
    """Steps of an explicit method with the Jacobians at their stages.

    Parameters
    ----------
    method : ExplicitRungeKutta
        The method.
    rhs : RightHandSide
        The equation.
    at : Points
        Where the steps begin.
    A, c : ndarray, shape (s, s) and (s,)
        The tableau, which begins with the method's own.
    B : ndarray, shape (s, degree + 1), or None
        The interpolant's weights, as `ExplicitRungeKutta.extended` gives them.
    """

    def __init__(
        self,
        method: ExplicitRungeKutta,
        rhs: RightHandSide,
        at: Points,
        A: NDArray,
        c: NDArray,
        B: NDArray | None = None,
    ) -> None:
        self._method, self._at, self._A, self._B = method, at, A, B
        K = stacked(len(c), at.y)
        K[0] = rhs(at.t, at.y, at.lane)
        K = method.continued(rhs, at, K, A, c, 1)
        self._Y = method.states(at, K, A)
        self._t, self._lane = _tiled(at, c)
        flat = (self._t.size, at.y.shape[1])
        J = rhs.jacobian(self._t, self._Y.reshape(flat), K.reshape(flat), self._lane, central=True)
        self._J = J.reshape(*K.shape, flat[1])

    def jacobian(self) -> NDArray:
        """Return the Jacobians of the new states."""
        return self._method.propagated(self._at, self._J[: len(self._method.b)])

    def pull(self, w: NDArray, c_bar: NDArray | None = None) -> Pullback:
        """Pull cotangents back, stage after stage, the last first."""
        A, b, h = self._A, self._method.b, self._at.h[:, None]
        s, m, n = self._Y.shape
        F, Y_bar = np.zeros((2, s, m, n), np.result_type(w, self._J))
        F[: len(b)] = b[:, None, None] * w
        if c_bar is not None and self._B is not None:
            F += np.tensordot(self._B, c_bar, 1)
            w = w + c_bar[0]
        for i in reversed(range(s)):
            F[i] = h * (F[i] + np.tensordot(A[i + 1 :, i], Y_bar[i + 1 :], 1))
            Y_bar[i] = np.einsum("mkl,mk->ml", self._J[i], F[i])
        flat = (s * m, n)
        y_bar = w + Y_bar.sum(axis=0)
        return Pullback(y_bar, self._t, self._Y.reshape(flat), F.reshape(flat), self._lane)


def _tiled(at: Points, c: NDArray) -> tuple[NDArray, NDArray | None]:
    """Return times and trajectories of all stages, stage after stage."""
    t = (at.t + c[:, None] * at.h).ravel()
    return t, None if at.lane is None else np.tile(at.lane, len(c))


def stacked(s: int, y: NDArray) -> NDArray:
    """Return an empty array ``(s, m, n)``, stored with the points last."""
    m, n = y.shape
    return np.empty_like(y, shape=(s, n, m)).swapaxes(1, 2)


def combined(weights: NDArray, K: NDArray) -> NDArray:
    """Return ``sum weights K``."""
    total: NDArray = np.tensordot(weights, K.swapaxes(1, 2), 1).T
    return total


def _units(s: int) -> tuple[Points, NDArray]:
    """Return a step from zero of size one, whose stages are unit vectors.

    What is linear in the stages makes its own weights of them.
    """
    return Points(np.zeros(1), np.ones(1), np.zeros((1, s))), np.eye(s)[:, None]


class EmbeddedRungeKutta(ExplicitRungeKutta):
    """An explicit method with a second one of lower order on the same stages.

    Attributes
    ----------
    e : ndarray, shape (s + 1,)
        Weights of the error; the last is that of the derivative at the new
        state.
    more : tuple
        Nodes and rows of the tableau of further stages, for the interpolant;
        they follow the derivative at the new state.
    """

    e: NDArray
    coefficients: tuple[str, ...] = ("A", "b", "c", "e", "full_A", "full_c")
    more: tuple[tuple[float, tuple[float, ...]], ...] = ()

    def attempt(
        self, rhs: RightHandSide, at: Points, *, f: NDArray | None = None, dense: bool = True
    ) -> Attempt:
        """Make the steps, estimating errors by the embedded method."""
        A, c, s = self.full_A, self.full_c, len(self.b)
        K = stacked(len(c) if dense else s + 1, at.y)
        K[:s] = self.stages(rhs, at, f)
        y_new = self.state(at, K[:s], self.b)
        f_new = K[s] = rhs(at.t + at.h, y_new, at.lane)
        error = self.errors(at, K[: s + 1])
        if dense:
            coefficients = self.interpolant(at, y_new, self.continued(rhs, at, K, A, c, s + 1))
        else:
            coefficients = cubic(at, y_new, K[0], f_new)
        return Attempt(y_new, error, coefficients, f_new)

    @cached_property
    def full_A(self) -> NDArray:
        """``A`` with the rows of the new state and of `more`."""
        s, more = len(self.b), len(self.more)
        A = np.zeros((s + 1 + more, s + 1 + more))
        A[:s, :s], A[s, :s] = self.A, self.b
        for i, (_, row) in enumerate(self.more, s + 1):
            A[i, : len(row)] = row
        return A

    @cached_property
    def full_c(self) -> NDArray:
        """``c`` likewise."""
        return np.concatenate([self.c, [1.0], [node for node, _ in self.more]])

    def extended(self) -> tuple[NDArray, NDArray, NDArray]:
        """Return the tableau with the stages of the interpolant, and its weights."""
        A, c = self.full_A, self.full_c
        at, K = _units(len(c))
        return A, c, self.interpolant(at, A[len(self.b)][None], K)[:, 0].T

    def errors(self, at: Points, K: NDArray) -> NDArray:
        """Return the estimated local errors."""
        e: NDArray = at.h[:, None] * combined(self.e, K)
        return e

    def interpolant(self, at: Points, y_new: NDArray, K: NDArray) -> NDArray:
        """Return the coefficients of the method's own continuous extension.

        They are linear in the stages, those of `more` included.
        """
        raise NotImplementedError
