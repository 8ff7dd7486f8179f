"""Implicit Runge-Kutta methods: the stages of all steps solved together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from seqsolve.ivp._method import Method, NDArray, Points
from seqsolve.ivp._rhs import RightHandSide
from seqsolve.ivp._tape import Pullback, Tape

#: Newton iterations for the stages; steps that need more are not made.
MAXITER = 12

#: The stages are solved when their increment is this small against the state.
TOLERANCE = 1e-9


class ImplicitRungeKutta(Method):
    """A stiffly accurate method given by its tableau: the last stage is the new state.

    Attributes
    ----------
    A : ndarray, shape (s, s)
        Coefficients; the last row holds the weights.
    c : ndarray, shape (s,)
        Nodes; the last is 1.
    """

    A: NDArray
    c: NDArray

    def step(self, rhs: RightHandSide, at: Points) -> NDArray:
        """Return the new states; NaN where the stages were not found."""
        y: NDArray = at.y + self.stages(rhs, at)[0][:, -1]
        return y

    def linearize(self, rhs: RightHandSide, at: Points) -> tuple[NDArray, Callable[[], NDArray]]:
        """Return the new states, and a function that returns their Jacobians."""
        Z, J = self.stages(rhs, at)
        return at.y + Z[:, -1], lambda: self.propagated(rhs, at, J)

    def stages(self, rhs: RightHandSide, at: Points) -> tuple[NDArray, NDArray]:
        """Solve ``Z = h A f(y + Z)`` by Newton's method, with the Jacobian of every stage.

        Returns
        -------
        Z : ndarray, shape (m, s, n)
            Increments at the stages; NaN where the iteration does not converge.
        J : ndarray, shape (m, s, n, n)
            Jacobians of the derivatives at the last iterate but one.
        """
        m, n = at.y.shape
        s = len(self.c)
        Z = np.zeros((m, s, n), at.y.dtype)
        J = np.zeros((m, s, n, n), at.y.dtype)
        running = np.arange(m)
        size = np.abs(at.y).max(axis=1, initial=0)
        for _ in range(MAXITER):
            part = at.rows(running)
            h = part.h
            places = self.places(part, Z[running])
            F = rhs(*places)
            t, points, lane = places
            J[running] = rhs.jacobian(t, points, F, lane).reshape(-1, s, n, n)
            G = self._weighed(rhs, Z[running]) - h[:, None, None] * (self.A @ F.reshape(-1, s, n))
            finite = np.isfinite(G).all(axis=(1, 2)) & np.isfinite(J[running]).all(axis=(1, 2, 3))
            Z[running[~finite]] = np.nan
            running, G, h = running[finite], G[finite], h[finite]
            if not running.size:
                break
            d = linear_solve(rhs, self.matrix(rhs, J[running], h), -G.reshape(-1, s * n, 1))
            d = d.reshape(-1, s, n)
            Z[running] += d
            limit = TOLERANCE * np.maximum(size[running], np.abs(Z[running]).max(axis=(1, 2)))
            running = running[~(np.abs(d).max(axis=(1, 2)) <= limit)]
            if not running.size:
                break
        Z[running] = np.nan
        return Z, J

    def recorded(self, rhs: RightHandSide, at: Points) -> ImplicitTape:
        """Make the steps and keep their stages."""
        return ImplicitTape(self, rhs, at)

    def places(self, at: Points, Z: NDArray) -> tuple[NDArray, NDArray, NDArray | None]:
        """Return times, states and trajectories of all stages."""
        s, n = Z.shape[1:]
        t = (at.t[:, None] + at.h[:, None] * self.c).ravel()
        lane = None if at.lane is None else np.repeat(at.lane, s)
        return t, (at.y[:, None] + Z).reshape(-1, n), lane

    def propagated(self, rhs: RightHandSide, at: Points, J: NDArray) -> NDArray:
        """Return the Jacobians of the new states, from those ``(m, s, n, n)`` at the stages."""
        m, s, n = J.shape[:3]
        J = np.where(np.isfinite(J), J, 0)
        right = at.h[:, None, None, None] * np.einsum("ij,mjkl->mikl", self.A, J)
        dZ = linear_solve(rhs, self.matrix(rhs, J, at.h), right.reshape(m, s * n, n))
        jacobian: NDArray = np.eye(n) + dZ.reshape(m, s, n, n)[:, -1]
        return jacobian

    def matrix(self, rhs: RightHandSide, J: NDArray, h: NDArray) -> NDArray:
        """Return ``I x mass - h A J``, of shape ``(m, s n, s n)``."""
        m, s, n = J.shape[:3]
        blocks = np.einsum("ij,mjkl->mikjl", self.A, J) * h[:, None, None, None, None]
        matrix: NDArray = stage_masses(rhs, s) - blocks.reshape(m, s * n, s * n)
        return matrix

    @staticmethod
    def _weighed(rhs: RightHandSide, Z: NDArray) -> NDArray:
        return Z if rhs.mass is None else Z @ rhs.mass.T


class ImplicitTape(Tape):
    """Steps of an implicit method with the Jacobians at their stages.

    Parameters
    ----------
    method : ImplicitRungeKutta
        The method.
    rhs : RightHandSide
        The equation.
    at : Points
        Where the steps begin.
    B : ndarray, shape (degree, s), or None
        The weights of the stages in the interpolant's coefficients, from degree 1.
    """

    def __init__(
        self,
        method: ImplicitRungeKutta,
        rhs: RightHandSide,
        at: Points,
        B: NDArray | None = None,
    ) -> None:
        self._method, self._rhs, self._at, self._B = method, rhs, at, B
        Z, _ = method.stages(rhs, at)
        m, s, n = Z.shape
        self._places = t, points, lane = method.places(at, Z)
        self._J = rhs.jacobian(t, points, None, lane, central=True).reshape(m, s, n, n)

    def jacobian(self) -> NDArray:
        """Return the Jacobians of the new states."""
        return self._method.propagated(self._rhs, self._at, self._J)

    def pull(self, w: NDArray, c_bar: NDArray | None = None) -> Pullback:
        """Pull cotangents back through the stages, of which the last is the new state."""
        m, s, n = self._J.shape[:3]
        Z_bar = np.zeros((m, s, n), np.result_type(w, self._J))
        y_bar = w
        if c_bar is not None and self._B is not None:
            Z_bar += np.einsum("di,dmn->min", self._B, c_bar[1:])
            y_bar = w + c_bar[0]
        Z_bar[:, -1] += w
        h = self._at.h
        M = self._method.matrix(self._rhs, self._J, h).swapaxes(1, 2)
        mu = linear_solve(self._rhs, M, Z_bar.reshape(m, s * n, 1)).reshape(m, s, n)
        F_bar = h[:, None, None] * (self._method.A.T @ mu)
        back = np.einsum("mikl,mik->ml", self._J, F_bar)
        t, points, lane = self._places
        return Pullback(y_bar + back, t, points, F_bar.reshape(m * s, n), lane)


def stage_masses(rhs: RightHandSide, s: int) -> NDArray:
    """Return the matrix in front of the increments of all stages, ``(s n, s n)``."""
    return np.eye(s * rhs.n) if rhs.mass is None else np.kron(np.eye(s), rhs.mass)


def linear_solve(rhs: RightHandSide, M: NDArray, b: NDArray) -> NDArray:
    """Solve many linear systems; NaN for all of them where one is singular."""
    rhs.nlu += len(M)
    try:
        return np.linalg.solve(M, b)
    except np.linalg.LinAlgError:
        good = np.asarray(np.isfinite(M).all(axis=(1, 2)))
        good[good] = np.linalg.cond(M[good]) < 1 / np.finfo(float).eps
        x = np.full(b.shape, np.nan, b.dtype)
        x[good] = np.linalg.solve(M[good], b[good])
        return x
