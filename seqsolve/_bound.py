"""The step of a recurrence with its input fixed: states and Jacobians as the solvers take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from seqsolve import _checks
from seqsolve import jacobian as jacobians
from seqsolve._protocol import offers
from seqsolve.backend import Array, BindsElementSteps
from seqsolve.element import ElementStep
from seqsolve.jacobian import Hutchinson, Structure
from seqsolve.step import BoundStep, Tree

if TYPE_CHECKING:
    from seqsolve._problem import Problem


class BoundProblem:
    """The step on some steps and sequences, its input fixed."""

    def __init__(self, problem: Problem, x: Tree) -> None:
        self._problem = problem
        self.x = x
        self._bound = _bound_step(problem, x)

    def user_shape(self, y: Array) -> tuple[int, ...]:
        """Return the shape in which the user's functions see `y`."""
        return tuple(y.shape) if self._problem.batch else (y.shape[0], y.shape[2])

    def user_view(self, y: Array) -> Array:
        """Return `y` as the user's functions see it."""
        return y if self._problem.batch else y[:, 0]

    def raw(self, y_prev: Array) -> Array:
        """Return the new states in the dtype in which the step gives them."""
        user = self.user_view(y_prev)
        if self._bound is not None:
            fy = self._call_bound(self._bound, user)
        else:
            fy = _checks.call_user("f", self._problem.step, user, self.x)
        return self._state(fy, y_prev)

    def _call_bound(self, fun: Callable[[Array], Any], user: Array) -> Any:
        """Call a function of a bound step; its exceptions tell of the input, too."""
        return _checks.call_user("f", lambda y, _: fun(y), user, self.x)

    def __call__(self, y_prev: Array) -> Array:
        """Return the new states."""
        return self._problem.cast(self.raw(y_prev))

    def linearize(self, y_prev: Array) -> tuple[Array, Callable[[], Array]]:
        """Return the new states, and a function that completes the solvers' Jacobian."""
        problem = self._problem
        if problem.jac == "step" and self._bound is not None:
            problem.counts.nfev += 1
            user = self.user_view(y_prev)
            fy, complete = self._call_bound(self._bound.linearize, user)
            fy = problem.cast(self._state(fy, y_prev, count=False))
            return fy, lambda: self._finish(self._real(complete()), y_prev, problem.structure)
        fy = self(y_prev)
        if isinstance(problem.jac, Hutchinson):
            return fy, lambda: self._estimate(y_prev, fy)
        return fy, lambda: self._finish(self.source_jacobian(y_prev, fy), y_prev, problem.structure)

    def jacobian(self, y_prev: Array) -> Array:
        """Return the exact Jacobian, as the linear solvers take it.

        Central differences stand for one-sided ones: what suffices for an
        iteration is too coarse for a gradient.
        """
        return self._finish(self.source_jacobian(y_prev), y_prev, self._problem.natural)

    def source_jacobian(self, y_prev: Array, fy: Array | None = None) -> Array:
        """Return the Jacobian as its source gives it."""
        problem, user = self._problem, self.user_view(y_prev)
        if problem.jac == "step":
            if self._bound is not None:
                return self._real(self._call_bound(self._bound.linearize, user)[1]())
            return self._real(_checks.call_user("jac", problem.step.jac, user, self.x))
        if callable(problem.jac):
            return self._real(_checks.call_user("jac", problem.jac, user, self.x))
        scheme = problem.jac if fy is not None or problem.jac == "cs" else "3-point"
        xp, structure = problem.backend.xp, problem.natural
        A = jacobians.differences(xp, self.raw, y_prev, fy, scheme, structure)
        return A if problem.batch else A[:, 0]

    def _real(self, A: Any) -> Array:
        """Return a Jacobian as an array of numbers, real if the state is."""
        problem = self._problem
        if getattr(A, "dtype", None) == problem.dtype:
            return A
        A = _checks.returned("jac", A, problem.backend)
        if np.dtype(problem.dtype).kind == "f" and np.dtype(str(A.dtype)).kind == "c":
            raise TypeError(f"`jac` must be real for a real state; got {A.dtype}.")
        return A

    def _estimate(self, y_prev: Array, fy: Array) -> Array:
        problem = self._problem
        problem.counts.njev += 1
        estimate = problem.jac
        rng = np.random.default_rng((estimate.seed, problem.counts.njev))
        draws = rng.integers(0, 2, (estimate.products, *y_prev.shape), dtype=np.int8) * 2 - 1
        signs = [problem.backend.asarray(z, dtype=problem.dtype) for z in draws]
        return jacobians.hutchinson(problem.backend.xp, self.raw, y_prev, fy, signs)

    def _finish(self, A: Array, y_prev: Array, target: Structure) -> Array:
        """Check a Jacobian, project it and bring it into the linear solvers' form."""
        problem = self._problem
        xp, dtype = problem.backend.xp, problem.dtype
        problem.counts.njev += 1
        A = problem.backend.asarray(A)
        source = jacobians.structure_of(A.shape, self.user_shape(y_prev))
        if source != problem.natural:
            raise ValueError(
                f"`jac` must return one structure throughout: {problem.natural} at the first "
                f"step, then {source} (shape {tuple(A.shape)})."
            )
        if A.dtype != dtype:
            A = problem.backend.asarray(A, dtype=dtype)
        if not problem.batch:
            A = A[:, None]
        A = jacobians.project(xp, A, source, target)
        if target.kind == "block_diagonal":
            A = A.reshape(A.shape[0], -1, *A.shape[-2:])
        return A[..., 0] if A.ndim == 4 and A.shape[-1] == 1 else A

    def _state(self, fy: Any, y_prev: Array, *, count: bool = True) -> Array:
        problem = self._problem
        if count:
            problem.counts.nfev += 1
        if getattr(fy, "dtype", None) != problem.dtype:
            fy = _checks.returned("f", fy, problem.backend)
        fy = problem.backend.asarray(fy)
        expected = self.user_shape(y_prev)
        if tuple(fy.shape) != expected:
            given = "" if self.x is None else f", for `x` {_checks.describe(self.x)}"
            raise ValueError(
                f"`f` must return an array of the shape of `y_prev`, {expected}; "
                f"got {tuple(fy.shape)}{given}.{_remedy(self.x, expected, tuple(fy.shape))}"
            )
        return fy if problem.batch else fy[:, None]


def _remedy(x: Tree, expected: tuple[int, ...], got: tuple[int, ...]) -> str:
    """Return what to do about new states of a wrong shape, where the shape tells."""
    if isinstance(x, tuple | list) and len(x) in got and len(x) not in expected:
        return (
            f" `x` is taken for a tree of {len(x)} arrays, each with time as its first axis; "
            "np.stack(x) makes one array of rows."
        )
    if got == (expected[-1], *expected[:-1]):
        return " The elements of a state are on the last axis: np.stack([...], axis=-1)."
    if len(got) > len(expected) == 2 and (got[0], got[-1]) == expected:
        return f" A batch of sequences needs an initial state for each: `y0` of shape {got[1:]}."
    return ""


def _bound_step(problem: Problem, x: Tree) -> BoundStep | None:
    """Return the step with its input fixed, where the backend or the step itself does that."""
    step, backend = problem.step, problem.backend
    if isinstance(step, ElementStep) and offers(backend, BindsElementSteps):
        return backend.bind_step(step, x)
    bound: BoundStep | None = step.bind(x) if problem.binds else None
    return bound
