"""Implicit Runge-Kutta methods: the stages of all steps solved together."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import cached_property
from typing import Self

import numpy as np

from seqsolve.backend import Backend
from seqsolve.ivp._method import Method, NDArray, Points
from seqsolve.ivp._rhs import RightHandSide
from seqsolve.ivp._stage_equations import (
    OneJacobian,
    Spectrum,
    linear_solve,
    solve_stages,
    spectrum,
    stage_matrix,
)
from seqsolve.ivp._tape import Pullback, Tape

#: Newton iterations for the stages; steps that need more are not made.
MAXITER = 12

#: States from which on one Jacobian serves all stages of a step.
MANY = 8

#: Iterations with one Jacobian that shrink the increment by less than this are given up.
CONTRACTION = 0.2

#: The stages are solved when their increment is this small against the state: that of Newton's
#: method, which leaves its square, and that with one Jacobian, which leaves a part of it.
TOLERANCE, EXACT = 1e-9, 1e-13


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
    coefficients: tuple[str, ...] = ("A", "c")
    takes_bands = True

    @cached_property
    def bases(self) -> dict[str, Spectrum | None]:
        """The tableau's spectra for real and for complex states, by the kind of their dtype."""
        return {t.kind: spectrum(self.A, t) for t in (np.dtype(float), np.dtype(complex))}

    def on(self, backend: Backend) -> Self:
        """Return the method with its coefficients in the arrays of a backend."""
        other = super().on(backend)
        other.bases = {k: basis and basis.on(backend) for k, basis in self.bases.items()}
        return other

    def step(self, rhs: RightHandSide, at: Points) -> NDArray:
        """Return the new states; NaN where the stages were not found."""
        y: NDArray = at.y + self.stages(rhs, at)[:, -1]
        return y

    def linearize(self, rhs: RightHandSide, at: Points) -> tuple[NDArray, Callable[[], NDArray]]:
        """Return the new states, and a function that returns their Jacobians."""
        Z = self.stages(rhs, at)

        def complete() -> NDArray:
            t, points, lane = self.places(at, Z)
            J = rhs.jacobian(t, points, None, lane)
            return self.propagated(rhs, at, J.reshape(*Z.shape, Z.shape[2]))

        return at.y + Z[:, -1], complete

    def systems(self, rhs: RightHandSide, at: Points, J: NDArray | None) -> OneJacobian | None:
        """Return the linear systems with the Jacobian at the beginning, if that is to be used."""
        basis = self.bases[at.y.dtype.kind] if at.y.shape[1] >= MANY else None
        if basis is None:
            return None
        J = rhs.jacobian(at.t, at.y, None, at.lane) if J is None else J
        return OneJacobian(rhs, basis, J, at.h)

    def stages(self, rhs: RightHandSide, at: Points, systems: OneJacobian | None = None) -> NDArray:
        """Solve ``Z = h A f(y + Z)``.

        By Newton's method; for many states, whose linear systems are what
        takes the time, by iterations with the Jacobian at the beginning of the
        step, as long as these converge fast.

        Parameters
        ----------
        rhs : RightHandSide
            The equation.
        at : Points
            Where the steps begin.
        systems : OneJacobian, optional
            What `systems` returns, if it was called.

        Returns
        -------
        ndarray, shape (m, s, n)
            Increments at the stages; NaN where the iterations do not converge.
        """
        m, n = at.y.shape
        Z = np.zeros_like(at.y, shape=(m, len(self.c), n))
        rest = np.arange(m)
        systems = self.systems(rhs, at, None) if systems is None else systems
        if systems is not None:
            rest = self._iterated(rhs, at, Z, systems)
        if rest.size:
            self._newton(rhs, at, Z, rest)
        return Z

    def _iterated(
        self, rhs: RightHandSide, at: Points, Z: NDArray, systems: OneJacobian
    ) -> NDArray:
        """Improve the stages `Z` in place; return of which steps they are not solved.

        Which ones these are is decided in host memory, by one copy of flags in an iteration.
        """
        running, rest = np.arange(len(Z)), []
        size = np.abs(at.y).max(axis=1)
        last = np.zeros_like(size)
        for i in range(MAXITER):
            rows = rhs.home.asarray(running)
            d = systems.solve(-self._residual(rhs, at.rows(rows), Z[rows]), rows)
            change = np.abs(d).max(axis=(1, 2))
            rate = change / last[rows] if i else 1 + 0 * change
            small = change <= EXACT * size[rows]
            # NaN is not fast.
            fast = small | (rate <= CONTRACTION) if i else np.isfinite(change)
            Z[rows] += np.where(fast[:, None, None], d, 0)
            last[rows] = change
            size[rows] = np.maximum(size[rows], np.abs(Z[rows]).max(axis=(1, 2)))
            # What is left is about as many times smaller again.
            keeps, solved = _flags(rhs, fast, small | (rate * change <= EXACT * size[rows]))
            rest.append(running[~keeps])
            running = running[keeps & ~solved]
            if not running.size:
                break
        return np.concatenate([*rest, running])

    def _newton(self, rhs: RightHandSide, at: Points, Z: NDArray, running: NDArray) -> None:
        """Solve for the stages of some steps, in place, with the Jacobian of every stage."""
        s, size, failed = Z.shape[1], np.abs(at.y).max(axis=1), []
        for _ in range(MAXITER):
            rows = rhs.home.asarray(running)
            part = at.rows(rows)
            F, J = rhs.linearized(*self.places(part, Z[rows]))
            G = self._residual_of(rhs, part, Z[rows], F)
            d = solve_stages(rhs, self.A, J.reshape(-1, s, *J.shape[1:]), part.h, -G)
            Z[rows] += d
            change = np.abs(d).max(axis=(1, 2))
            limit = TOLERANCE * np.maximum(size[rows], np.abs(Z[rows]).max(axis=(1, 2)))
            finite, solved = _flags(rhs, np.isfinite(change), change <= limit)
            failed.append(running[~finite])
            running = running[finite & ~solved]
            if not running.size:
                break
        Z[rhs.home.asarray(np.concatenate([*failed, running]))] = np.nan

    def _residual(self, rhs: RightHandSide, at: Points, Z: NDArray) -> NDArray:
        return self._residual_of(rhs, at, Z, rhs(*self.places(at, Z)))

    def _residual_of(self, rhs: RightHandSide, at: Points, Z: NDArray, F: NDArray) -> NDArray:
        residual: NDArray = rhs.weighed(Z) - at.h[:, None, None] * (self.A @ F.reshape(Z.shape))
        return residual

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
        dZ = linear_solve(rhs, stage_matrix(rhs, self.A, J, at.h), right.reshape(m, s * n, n))
        jacobian: NDArray = rhs.home.xp.eye(n) + dZ.reshape(m, s, n, n)[:, -1]
        return jacobian


def _flags(rhs: RightHandSide, *flags: NDArray) -> NDArray:
    """Return flags of steps in host memory, by one copy."""
    return rhs.home.to_numpy(np.stack(flags))


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
        Z = method.stages(rhs, at)
        self._places = t, points, lane = method.places(at, Z)
        J = rhs.jacobian(t, points, None, lane, central=True)
        self._J = J.reshape(*Z.shape[:2], *J.shape[1:])

    def jacobian(self) -> NDArray:
        """Return the Jacobians of the new states."""
        return self._method.propagated(self._rhs, self._at, self._J)

    def rows(self, index: slice) -> ImplicitTape:
        """Return the tape of some of the steps."""
        other, s = copy(self), self._J.shape[1]
        other._at, other._J = self._at.rows(index), self._J[index]
        stages = slice(index.start * s, index.stop * s)
        t, points, lane = self._places
        other._places = t[stages], points[stages], None if lane is None else lane[stages]
        return other

    def pull(self, w: NDArray, c_bar: NDArray | None = None) -> Pullback:
        """Pull cotangents back through the stages, of which the last is the new state."""
        (m, s), n, A = self._J.shape[:2], w.shape[1], self._method.A
        Z_bar = np.zeros((m, s, n), np.result_type(w, self._J))
        y_bar = w
        if c_bar is not None and self._B is not None:
            Z_bar += np.einsum("di,dmn->min", self._B, c_bar[1:])
            y_bar = w + c_bar[0]
        Z_bar[:, -1] += w
        h = self._at.h
        mu = solve_stages(self._rhs, A, self._J, h, Z_bar, transpose=True)
        F_bar = h[:, None, None] * (A.T @ mu)
        back = self._rhs.times(self._J, F_bar, transpose=True).sum(axis=1)
        t, points, lane = self._places
        return Pullback(y_bar + back, t, points, F_bar.reshape(m * s, n), lane)
