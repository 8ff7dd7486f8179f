"""Newton's method on the equations of all steps and all their stages at once.

A step function has its stages inside: evaluating it takes as many calls of the
right-hand side, one after the other, as it has stages. With the stages among
the unknowns, all points at which the right-hand side is needed are known
beforehand, and an iteration takes one call, whatever the method. What remains
between the calls is linear.

References
----------
.. [1] J. Albersmeyer, M. Diehl, "The lifted Newton method and its application
   in optimization", SIAM J. Optim. 20, 2010.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np

from seqsolve.backend import Backend
from seqsolve.ivp._banded_systems import BandedStages
from seqsolve.ivp._dense import DenseOutput
from seqsolve.ivp._explicit import EmbeddedRungeKutta, ExplicitRungeKutta
from seqsolve.ivp._implicit import ImplicitRungeKutta
from seqsolve.ivp._method import Attempt, Method, NDArray, Points, quartic
from seqsolve.ivp._rhs import RightHandSide
from seqsolve.ivp._stage_equations import linear_solve, stage_matrix
from seqsolve.ivp.radau import Radau


@dataclass(frozen=True)
class Iterate:
    """An approximate solution of a method's equations on a mesh.

    Parameters
    ----------
    t : ndarray, shape (m + 1,)
        The mesh.
    y0 : ndarray, shape (n,)
        The state at its beginning.
    Y : ndarray, shape (s, m, n)
        The states at the stages of every step.
    new : int
        The stage that is the state at the end of the step.
    """

    t: NDArray
    y0: NDArray
    Y: NDArray
    new: int

    @cached_property
    def y(self) -> NDArray:
        """The states on the mesh, shape ``(m + 1, n)``."""
        return np.concatenate([self.y0[None], self.Y[self.new]])

    @cached_property
    def at(self) -> Points:
        """Where the steps begin."""
        return Points(self.t[:-1], np.diff(self.t), self.y[:-1])


class Update(NamedTuple):
    """What one iteration gives.

    Parameters
    ----------
    iterate : Iterate
        The next one.
    made : Attempt
        Its steps, with their errors and interpolants.
    change : ndarray, shape (m, n)
        By how much the new states of the steps moved.
    moved : ndarray, shape (m, n)
        By how much the unknowns of the steps moved at most.
    defect : ndarray, shape (m, n)
        By how much the new states would move if only their own step were solved.
    """

    iterate: Iterate
    made: Attempt
    change: NDArray
    moved: NDArray
    defect: NDArray


class Lifted(ABC):
    """A method's equations on a mesh, with unknowns of its choice.

    Attributes
    ----------
    c : ndarray, shape (s,)
        Nodes of the unknown stages.
    new : int
        The stage that is the state at the end of the step.
    stability : float
        Steps times the spectral radius of the Jacobian are at most that.
    """

    c: NDArray
    new: int
    stability: float = np.inf

    def sampled(self, t: NDArray, y0: NDArray, trajectory: DenseOutput) -> Iterate:
        """Return the iterate on a mesh that follows a trajectory, but for its beginning."""
        times = t[:-1] + self.c[:, None] * np.diff(t)
        Y = trajectory.rows(times.ravel()).reshape(*times.shape, y0.size)
        return Iterate(t, y0, Y, self.new)

    @abstractmethod
    def update(self, rhs: RightHandSide, iterate: Iterate) -> Update:
        """Iterate once."""


def lifted(method: Method) -> Lifted:
    """Return a method's equations."""
    if isinstance(method, Radau):
        return LiftedRadau(method)
    if isinstance(method, ImplicitRungeKutta):
        return LiftedImplicit(method)
    if isinstance(method, EmbeddedRungeKutta):
        return LiftedEmbedded(method)
    if isinstance(method, ExplicitRungeKutta):
        return LiftedExplicit(method)
    return Unlifted(method)


class Unlifted(Lifted):
    """Only the states on the mesh are unknown: for any method."""

    def __init__(self, method: Method) -> None:
        self.method = method
        self.c, self.new = np.ones(1), 0

    def update(self, rhs: RightHandSide, iterate: Iterate) -> Update:
        """Iterate once, then make the steps."""
        y_new, complete = self.method.linearize(rhs, iterate.at)
        defect = y_new - iterate.Y[0]
        change = _recurrence(rhs.backend, complete(), defect)
        after = Iterate(iterate.t, iterate.y0, iterate.Y + change, 0)
        return Update(after, self.method.attempt(rhs, after.at), change, change, defect)


class LiftedRungeKutta(Lifted):
    """The stages ``Y[i] = y + h sum_j A[i, j] f(Y[j])``, the state `y` before all others.

    Attributes
    ----------
    A : ndarray, shape (s + 1, s + 1)
        The tableau, with a first row of zeros for the state before the step.
    """

    A: NDArray

    def update(self, rhs: RightHandSide, iterate: Iterate) -> Update:
        """Iterate once: one call of the right-hand side at all stages."""
        at = iterate.at
        F, J = self._linearized(rhs, iterate)
        Y = np.concatenate([at.y[None], iterate.Y])
        increments = at.h[:, None] * np.tensordot(self.A[1:], F, 1)
        residual = rhs.weighed(iterate.Y - at.y) - increments
        moved, own = self._moves(rhs, at.h, J, -residual)
        change = moved[self.new]
        before = np.concatenate([np.zeros_like(change[:1]), change[:-1]])
        after = Iterate(iterate.t, iterate.y0, iterate.Y + moved, self.new)
        moves = np.concatenate([before[None], moved])
        K = F + rhs.times(J, moves)
        made = self._made(rhs, after.at, Y + moves, K, J)
        return Update(after, made, change, np.abs(moved).max(axis=0), own[self.new])

    def _linearized(self, rhs: RightHandSide, iterate: Iterate) -> tuple[NDArray, NDArray]:
        """Return derivatives and Jacobians at the states before the steps and at the stages."""
        s, m, n = iterate.Y.shape
        t, h = iterate.t[:-1], np.diff(iterate.t)
        times = np.append(iterate.t[0], t + self.c[:, None] * h)
        points = np.concatenate([iterate.y0[None], iterate.Y.reshape(s * m, n)])
        f, jacobians = rhs.linearized(times, points)
        F, J = (a[1:].reshape(s, m, *a.shape[1:]) for a in (f, jacobians))
        return (
            np.concatenate([[np.concatenate([f[:1], F[self.new, :-1]])], F]),
            np.concatenate([[np.concatenate([jacobians[:1], J[self.new, :-1]])], J]),
        )

    def _moves(
        self, rhs: RightHandSide, h: NDArray, J: NDArray, right: NDArray
    ) -> tuple[NDArray, NDArray]:
        """Solve the linearised equations of all steps.

        Returns
        -------
        moved, own : ndarray, shape (s, m, n)
            How the stages move, and how they would if only their own step were solved.
        """
        response, own = self._stages(rhs, h, J, right)
        change = _recurrence(rhs.backend, response[self.new], own[self.new])
        before = np.concatenate([np.zeros_like(change[:1]), change[:-1]])
        return (response @ before[..., None])[..., 0] + own, own

    @abstractmethod
    def _stages(
        self, rhs: RightHandSide, h: NDArray, J: NDArray, right: NDArray
    ) -> tuple[NDArray, NDArray]:
        """Solve the linearised equations of every step.

        Returns
        -------
        response : ndarray, shape (s, m, n, n)
            How the stages follow the state before the step.
        own : ndarray, shape (s, m, n)
            What the right-hand side adds.
        """

    @abstractmethod
    def _made(self, rhs: RightHandSide, at: Points, Y: NDArray, K: NDArray, J: NDArray) -> Attempt:
        """Return the steps, from their stages, the derivatives and the Jacobians there."""


class LiftedExplicit(LiftedRungeKutta):
    """An explicit method with the two steps of half the size, for the error.

    Stages: the method's, the new state, then those of both halves.
    """

    def __init__(self, method: ExplicitRungeKutta) -> None:
        s = len(method.b)
        self.method, self.new = method, s - 1
        first = np.concatenate([[0], np.arange(s + 1, 2 * s)])
        second = np.arange(2 * s, 3 * s)
        A = np.zeros((3 * s, 3 * s))
        A[:s, :s], A[s, :s] = method.A, method.b
        A[s + 1 : 2 * s, first] = method.A[1:] / 2
        A[2 * s :, first] = method.b / 2
        A[2 * s :, second] += method.A / 2
        self.A = A
        self.c = np.concatenate([method.c, [1], method.c[1:] / 2, (1 + method.c) / 2])[1:]
        self._second = second
        self.stability = _real_interval(method)

    def _stages(
        self, rhs: RightHandSide, h: NDArray, J: NDArray, right: NDArray
    ) -> tuple[NDArray, NDArray]:
        """Solve stage after stage."""
        s, m, n = right.shape
        P = np.zeros((s + 1, m, n, n + 1), J.dtype)
        P[..., :n] = np.eye(n)
        P[1:, ..., n] = right
        JP = np.empty_like(P)
        for i in range(s + 1):
            used = np.flatnonzero(self.A[i])
            if used.size:
                P[i] += h[:, None, None] * np.tensordot(self.A[i, used], JP[used], 1)
            JP[i] = J[i] @ P[i]
        return P[1:, ..., :n], P[1:, ..., n]

    def _made(self, rhs: RightHandSide, at: Points, Y: NDArray, K: NDArray, J: NDArray) -> Attempt:
        method, h = self.method, at.h[:, None]
        y_new, middle, f_new = Y[self.new + 1], Y[self._second[0]], K[self.new + 1]
        end = middle + h / 2 * np.tensordot(method.b, K[self._second], 1)
        error = (end - y_new) * (2**method.order / (2**method.order - 1))
        return Attempt(y_new, error, quartic(at, middle, y_new, K[0], f_new), f_new)


class LiftedEmbedded(LiftedExplicit):
    """An explicit method with embedded error estimate, and the stages of its interpolant."""

    method: EmbeddedRungeKutta

    def __init__(self, method: EmbeddedRungeKutta) -> None:
        self.method, self.new = method, len(method.b) - 1
        self.A, self.c = method.full_A, method.full_c[1:]
        self.stability = _real_interval(method)

    def _made(self, rhs: RightHandSide, at: Points, Y: NDArray, K: NDArray, J: NDArray) -> Attempt:
        method, end = self.method, self.new + 1
        error = method.errors(at, K[: end + 1])
        return Attempt(Y[end], error, method.interpolant(at, Y[end], K), K[end])


class LiftedImplicit(LiftedRungeKutta):
    """A stiffly accurate method with the two steps of half the size, for the error."""

    method: ImplicitRungeKutta

    def __init__(self, method: ImplicitRungeKutta) -> None:
        s = len(method.c)
        self.method, self.new = method, s - 1
        A = np.zeros((3 * s, 3 * s))
        whole, first, second = (slice(k * s, (k + 1) * s) for k in range(3))
        A[whole, whole] = method.A
        A[first, first] = A[second, second] = method.A / 2
        A[second, first] = method.A[-1] / 2
        self.A = np.pad(A, ((1, 0), (1, 0)))
        self.c = np.concatenate([method.c, method.c / 2, (1 + method.c) / 2])

    def _moves(
        self, rhs: RightHandSide, h: NDArray, J: NDArray, right: NDArray
    ) -> tuple[NDArray, NDArray]:
        """Solve the linearised equations; banded ones step after step, without matrices of all."""
        if rhs.bands is None:
            return super()._moves(rhs, h, J, right)
        systems = BandedStages(rhs, rhs.bands, self.A[1:, 1:], J[1:].swapaxes(0, 1), h)
        moved, own = systems.sweep(right.swapaxes(0, 1), self.new)
        return moved.swapaxes(0, 1), own.swapaxes(0, 1)

    def _stages(
        self, rhs: RightHandSide, h: NDArray, J: NDArray, right: NDArray
    ) -> tuple[NDArray, NDArray]:
        """Solve the linear systems of the steps."""
        s, m, n = right.shape
        M = stage_matrix(rhs, self.A[1:, 1:], J[1:].swapaxes(0, 1), h)
        b = np.empty((m, s, n, n + 1), J.dtype)
        b[..., :n] = rhs.weights
        b[..., n] = right.swapaxes(0, 1)
        solved = linear_solve(rhs, M, b.reshape(m, s * n, n + 1))
        solved = solved.reshape(m, s, n, n + 1).swapaxes(0, 1)
        return solved[..., :n], solved[..., n]

    def _made(self, rhs: RightHandSide, at: Points, Y: NDArray, K: NDArray, J: NDArray) -> Attempt:
        method, s = self.method, self.new + 1
        whole, middle, end = Y[s], Y[2 * s], Y[3 * s]
        error = (end - whole) * (2**method.order / (2**method.order - 1))
        coefficients, f_new = method.between(rhs, at, middle, whole, K[0])
        return Attempt(whole, error, coefficients, f_new)


class LiftedRadau(LiftedImplicit):
    """Radau's method, with its own error estimate and interpolant."""

    method: Radau

    def __init__(self, method: Radau) -> None:
        self.method, self.new = method, len(method.c) - 1
        self.A, self.c = np.pad(method.A, ((1, 0), (1, 0))), method.c

    def _made(self, rhs: RightHandSide, at: Points, Y: NDArray, K: NDArray, J: NDArray) -> Attempt:
        Z = (Y[1:] - at.y).swapaxes(0, 1)
        return self.method.made(rhs, at, Z, K[0], J[0])


def _real_interval(method: ExplicitRungeKutta) -> float:
    """Return how far a step times a negative eigenvalue may go before errors grow."""
    return _interval_of(method.A.astype(float).tobytes(), method.b.astype(float).tobytes())


@cache
def _interval_of(A: bytes, b: bytes) -> float:
    weights = np.frombuffer(b)
    s = len(weights)
    sizes = np.arange(1, 2000) / 100
    tableau = np.frombuffer(A).reshape(s, s)
    stages = np.linalg.solve(np.eye(s) + sizes[:, None, None] * tableau, np.ones((s, 1)))
    growth = np.abs(1 - sizes * (stages[..., 0] @ weights))
    return float(sizes[int((growth > 1).argmax())])


def _recurrence(backend: Backend, A: NDArray, b: NDArray) -> NDArray:
    """Solve ``d[k] = A[k] d[k - 1] + b[k]`` from zero."""
    d = backend.linear_recurrence(
        backend.asarray(np.ascontiguousarray(A[:, None])),
        backend.asarray(np.ascontiguousarray(b[:, None])),
        None,
        reverse=False,
        transpose=False,
        method="auto",
        out=None,
    )
    return backend.to_numpy(d)[:, 0]
