"""Gradients of a solved recurrence, by the reversed and transposed linear recurrence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seqsolve import _checks, _replay
from seqsolve._bound import BoundProblem
from seqsolve._placement import placed
from seqsolve._problem import Problem
from seqsolve._tree import leaves, tree_map
from seqsolve._warn import warn
from seqsolve._windows import Windows
from seqsolve.backend import Array
from seqsolve.solution import ConvergenceWarning, Solution
from seqsolve.step import StepCotangents, Tree

__all__ = ["Cotangents", "vjp"]

MAX_REFINEMENTS = 100


class Cotangents(NamedTuple):
    """Gradients with respect to everything that a trajectory depends on.

    Parameters
    ----------
    y0 : array, shape (*batch, n_state)
        With respect to the initial state.
    x : tree or None
        With respect to the input, in its shapes; None if the step has no
        `vjp`.
    params : mapping or None
        With respect to the step's parameters; None likewise.
    adjoint : array, shape (n_steps, *batch, n_state)
        With respect to each state, all its consequences included: ``lam[t]``.
    """

    y0: npt.NDArray[Any]
    x: Tree
    params: Mapping[str, npt.NDArray[Any]] | None
    adjoint: npt.NDArray[Any]


@placed
def vjp(solution: Solution, cotangent: Any) -> Cotangents:
    """Pull a cotangent of the trajectory back to what the trajectory depends on.

    Solves ``lam[t] = g[t] + A[t+1]^T lam[t+1]`` with the exact Jacobian at the
    trajectory found, whatever approximation found it, so gradients after a
    quasi-Newton, damped or Jacobi solve are as exact as after Newton's method.
    Where the step supplies its own `vjp`, that has the last word: a Jacobian
    that disagrees with it serves as a preconditioner. Without either, the
    Jacobian comes from central differences, and gradients are good to about
    1e-9 in double and 1e-4 in single precision. Complex cotangents pair without
    conjugation.

    Parameters
    ----------
    solution : Solution
        Of any solver of recurrences.
    cotangent : array_like, shape (n_steps, *batch, n_state)
        Gradient of a scalar with respect to ``solution.y``, directly.

    Returns
    -------
    Cotangents
        `x` and `params` are None unless the step has a `vjp`
        (`seqsolve.step.ArrayStep` adds one to a plain function).

    Raises
    ------
    TypeError, ValueError
        An argument is wrong; the message names it.

    Warns
    -----
    ConvergenceWarning
        The trajectory is not converged, so this is not its gradient.
    RuntimeWarning
        The step's own Jacobian is not its derivative, and it has no `vjp`.

    See Also
    --------
    seqsolve.ivp.vjp : The same for differential equations.
    seqsolve.testing.dot_test : Whether a step's own `vjp` is right.

    References
    ----------
    .. [1] Y. H. Lim et al., "Parallelizing non-linear sequential models over
       the sequence length", arXiv:2309.12252, section 3.1.1.

    Examples
    --------
    How the last state depends on the first:

    >>> import numpy as np, seqsolve
    >>> f = lambda y, x: 0.9 * y + x
    >>> solution = seqsolve.deer(f, "cs", np.zeros((10, 1)), [1.0])
    >>> g = np.zeros((10, 1))
    >>> g[-1] = 1
    >>> bool(np.isclose(seqsolve.vjp(solution, g).y0[0], 0.9**10))
    True
    """
    problem = _replay.recurrence_of(solution)
    backend, xp = problem.backend, problem.backend.xp
    g = _checks.numeric("cotangent", cotangent, backend)
    if tuple(g.shape) != problem.shape:
        raise ValueError(
            f"`cotangent` must have the trajectory's shape {problem.shape}; got {tuple(g.shape)}."
        )
    if np.dtype(str(g.dtype)).kind == "c" and np.dtype(problem.dtype).kind == "f":
        raise TypeError(f"`cotangent` must be real, as the trajectory is; got {g.dtype}.")
    if not bool(xp.isfinite(g).all()):
        raise ValueError("`cotangent` must be finite; got NaN or infinity.")
    if not solution.success:
        warn(
            "The trajectory is not converged, so this is not its gradient. " + solution.message,
            ConvergenceWarning,
        )
    sample = _replay.Sample(solution)
    sample.check_unchanged()
    given = callable(problem.jac) or problem.jac == "step"
    if given and not _has_vjp(problem) and not sample.has_its_jacobian():
        warn(
            "The Jacobian that `jac` gives is not that of `f`, whose differences disagree, so this "
            "is not the gradient. Correct it (seqsolve.testing.check_jacobian shows where), or, if "
            "it is an approximation on purpose, give the step a `vjp`.",
            RuntimeWarning,
        )
    g = backend.asarray(g, dtype=problem.dtype).reshape(
        problem.n_steps, problem.n_sequences, problem.n_state
    )
    adjoint = xp.empty(g.shape, dtype=problem.dtype)
    gathered = _Gathered(problem)
    carry = xp.zeros_like(problem.y0)
    if problem.n_steps == 0 and _has_vjp(problem):
        rows = slice(0, 0)
        gathered.add(rows, _step_vjp(problem, problem.bind(rows), g, g))
    windows = Windows(problem, problem.parallel_window(problem.natural), 1, reverse=True)
    with np.errstate(all="ignore"):
        for rows in windows:
            pulled = windows.attempt(rows, _pull_back, problem, solution.y, rows, g[rows], carry)
            if pulled is None:
                continue
            lam, carry, step = pulled
            adjoint[rows] = lam
            if step is not None:
                gathered.add(rows, step)
    return Cotangents(
        y0=carry.reshape(problem.shape[1:]),
        x=gathered.x,
        params=gathered.params,
        adjoint=adjoint.reshape(problem.shape),
    )


def _pull_back(
    problem: Problem, y: Array, rows: slice, g: Array, carry: Array
) -> tuple[Array, Array, StepCotangents | None]:
    """Return a window's adjoint, what it hands to the window before, and the step's cotangents."""
    y_prev = _replay.previous_states(problem, y, rows)
    bound = problem.bind(rows)
    A = bound.jacobian(y_prev)
    g = problem.backend.xp.concatenate([g[:-1], g[-1:] + carry])
    lam, before = _solve_adjoint(problem, A, g)
    if not _has_vjp(problem):
        return lam, before, None
    for _ in range(MAX_REFINEMENTS):
        step = _step_vjp(problem, bound, y_prev, lam)
        if step.y_prev is None:
            return lam, before, step
        back = step.y_prev if problem.batch else step.y_prev[:, None]
        rest = g[:-1] + back[1:] - lam[:-1]
        if _negligible(problem, rest, lam):
            return lam, back[0], step
        rest = problem.backend.xp.concatenate([rest, problem.backend.xp.zeros_like(lam[:1])])
        lam = lam + _solve_adjoint(problem, A, rest)[0]
    lam = _step_back(problem, rows, y_prev, g)
    step = _step_vjp(problem, bound, y_prev, lam)
    y_bar: Array = step.y_prev
    return lam, (y_bar if problem.batch else y_bar[:, None])[0], step


def _has_vjp(problem: Problem) -> bool:
    return callable(getattr(problem.step, "vjp", None))


def _step_back(problem: Problem, rows: slice, y_prev: Array, g: Array) -> Array:
    """Return a window's adjoint from the step's cotangents, one step after the other."""
    lam = g + 0
    for t in reversed(range(1, g.shape[0])):
        bound = problem.bind(slice(rows.start + t, rows.start + t + 1))
        back: Array = _step_vjp(problem, bound, y_prev[t : t + 1], lam[t : t + 1]).y_prev
        lam[t - 1] += back[0]
    return lam


def _solve_adjoint(problem: Problem, A: Array, g: Array) -> tuple[Array, Array]:
    """Return the adjoint of a window, and ``A[0]^T lam[0]``.

    Both come from one recurrence: the adjoint, shifted by a step.
    """
    backend, structure = problem.backend, problem.natural
    xp = backend.xp
    shifted = xp.concatenate([xp.zeros_like(g[:1]), g[:-1]])
    y = backend.linear_recurrence(
        A,
        problem.lanes(shifted, structure),
        problem.lanes(g[-1:], structure)[0],
        reverse=True,
        transpose=True,
        method="auto",
        out=None,
    ).reshape(g.shape)
    return xp.concatenate([y[1:], g[-1:]]), y[0]


def _step_vjp(problem: Problem, bound: BoundProblem, y_prev: Array, lam: Array) -> StepCotangents:
    step = _checks.call_user(
        "vjp", problem.step.vjp, bound.user_view(y_prev), bound.x, bound.user_view(lam)
    )
    if not isinstance(step, StepCotangents):
        raise TypeError(f"`vjp` must return StepCotangents; got {type(step).__name__}.")
    expected = bound.user_shape(lam)
    if step.y_prev is not None and tuple(step.y_prev.shape) != expected:
        raise ValueError(
            f"`vjp` must return a cotangent of `y_prev` of shape {expected}; "
            f"got {tuple(step.y_prev.shape)}."
        )
    if step.x is not None:
        inputs, bars = dict(leaves(bound.x, "x")), dict(leaves(step.x, "x"))
        if inputs.keys() != bars.keys():
            raise ValueError(
                f"`vjp` must return cotangents of {', '.join(inputs)}; got {', '.join(bars)}."
            )
        for path, leaf in inputs.items():
            if tuple(bars[path].shape) != tuple(leaf.shape):
                raise ValueError(
                    f"`vjp` must return a cotangent of `{path}` of shape {tuple(leaf.shape)}; "
                    f"got {tuple(bars[path].shape)}."
                )
    return step


def _negligible(problem: Problem, rest: Array, lam: Array) -> bool:
    """Return whether what is left is at the level of rounding errors, step by step."""
    xp, limits = problem.backend.xp, np.finfo(problem.dtype)
    size = xp.abs(lam).max(axis=-1, keepdims=True)
    tolerance = 64 * float(limits.eps) * (size[:-1] + size[1:]) + float(limits.tiny)
    return bool((xp.abs(rest) <= tolerance).all())


class _Gathered:
    """The step's cotangents of all windows."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.x: Tree = None
        self.params: Mapping[str, Array] | None = None

    def add(self, rows: slice, step: StepCotangents) -> None:
        problem, xp = self.problem, self.problem.backend.xp
        if step.params is not None:
            params = self.params or {}
            self.params = {k: params[k] + p if k in params else p for k, p in step.params.items()}
        if step.x is None:
            return
        if self.x is None:
            self.x = tree_map(
                lambda leaf, bar: xp.empty(leaf.shape, dtype=bar.dtype), problem.x, step.x
            )

        def put(target: Array, leaf: Any, bar: Array) -> None:
            target[rows] = problem.input_cotangent(leaf, bar)

        tree_map(put, self.x, problem.x, step.x)
