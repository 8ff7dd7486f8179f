"""The first calls of a user's functions: that they are what the solvers take them for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from seqsolve import _checks
from seqsolve import jacobian as jacobians
from seqsolve._bound import BoundProblem
from seqsolve._slopes import Slopes
from seqsolve._tree import leaves, tree_map
from seqsolve.backend import Array
from seqsolve.element import ElementStep
from seqsolve.jacobian import Structure

if TYPE_CHECKING:
    from seqsolve._problem import Problem, Sequences


def try_step(problem: Problem) -> None:
    """Try the step on two steps: shapes, dtypes, and that steps and sequences are apart.

    The problem takes the dtype that the step returns, if that is wider, and
    the last state that was tried: where `y0` is zero, that tells more. The two
    states differ, or a step that takes one for the other would not show.
    """
    if problem.n_steps == 0 or problem.n_sequences == 0:
        return
    if isinstance(problem.step, ElementStep) and problem.fused is not None:
        problem.widen(_checks.dtype_name(problem.step.result_dtype(problem.y0, problem.x)))
        return
    xp = problem.backend.xp
    with np.errstate(all="ignore"):
        y1 = _new_states(problem, slice(0, 1), problem.y0[None])
        dtype = np.result_type(problem.dtype, _checks.dtype_name(y1.dtype)).name
        if dtype != problem.dtype:
            problem.widen(dtype)
            y1 = _new_states(problem, slice(0, 1), problem.y0[None])
        states, together, rows = problem.y0[None], y1, slice(0, 1)
        if problem.n_steps > 1:
            second = xp.where(xp.isfinite(y1), y1, states)
            apart = second + 0.125 * (1 + xp.abs(second))
            second = xp.where(second == states, apart, second)
            y2 = _new_states(problem, slice(1, 2), second)
            problem.tried = slice(1, 2), second
            states, rows = xp.concatenate([states, second]), slice(0, 2)
            together = _new_states(problem, rows, states)
            alone = xp.concatenate([y1, y2])
            compare(
                problem, together, alone, 0.0, "the first two steps together", "each of them alone"
            )
        if problem.n_sequences > 1:
            for i in (0, problem.n_sequences - 1):
                one = slice(i, i + 1)
                alone = _new_states(problem, rows, states[:, one], np.array([i]))
                compare(
                    problem,
                    together[:, one],
                    alone,
                    0.0,
                    "all sequences together",
                    f"number {i} alone",
                )


def first_jacobian(problem: Problem) -> Array:
    """Return the Jacobian at one of the first steps, as its source gives it."""
    rows, y_prev = problem.tried
    return _call(problem, "jac", BoundProblem.source_jacobian, rows, y_prev, sequences=None)


def couples_beyond(problem: Problem, structure: Structure) -> bool:
    """Return whether the Jacobian at the first states has entries outside a structure.

    Differences that take the structure at its word would add those to
    what lies inside.
    """
    if structure.kind == "dense" or problem.n_steps == 0 or problem.n_sequences == 0:
        return False
    xp, first, y = problem.backend.xp, problem.bind(slice(0, 1)), problem.y0[None]
    scheme = "cs" if problem.jac == "cs" else "3-point"
    with np.errstate(all="ignore"):
        for state in (y, first(y)):
            if jacobians.outside(xp, first.raw, state, scheme, structure) > 0:
                return True
    return False


def differentiable(problem: Problem) -> bool:
    """Return whether the Jacobian that is computed of the step is its Jacobian, where it was tried.

    For a real state, only the complex step may miss some of it.
    """
    empty = problem.n_steps == 0 or problem.n_sequences == 0
    if empty or (problem.jac != "cs" and np.dtype(problem.dtype).kind == "f"):
        return True
    rows, y = problem.tried
    with np.errstate(all="ignore"):
        slopes = Slopes(problem.backend.xp, problem.bind(rows).raw, y)
        return slopes.have_complex_step() if problem.jac == "cs" else slopes.are_complex()


def _new_states(problem: Problem, rows: slice, y_prev: Array, sequences: Sequences = None) -> Array:
    return _call(problem, "f", BoundProblem.raw, rows, y_prev, sequences)


def _call(
    problem: Problem,
    name: str,
    function: Callable[[BoundProblem, Array], Array],
    rows: slice,
    y_prev: Array,
    sequences: Sequences,
) -> Array:
    """Return what a user's function gives for copies of its arguments, which it must not change."""
    x = problem.input(rows, sequences)
    own_x, own_y = tree_map(_copy, x), _copy(y_prev)
    result = function(BoundProblem(problem, own_x), own_y)
    given = dict(leaves(own_x, "x")) | {"y_prev": own_y}
    for path, before in (dict(leaves(x, "x")) | {"y_prev": y_prev}).items():
        same = given[path] == before
        if not bool(same.all()) and not bool((same | (before != before)).all()):
            raise ValueError(
                f"`{name}` must leave its arguments as they are, and return a new array; "
                f"it changed `{path}` in place."
            )
    return result


def _copy(a: Any) -> Array:
    return a.copy()


def compare(problem: Problem, a: Array, b: Array, residual: float, what: str, other: str) -> None:
    """Raise where the same states differ by more than roundings, and what residuals explain."""
    apart = difference(problem, a, b, residual)
    if apart is not None:
        raise ValueError(
            "`f` must treat every step and every sequence on its own, by broadcasting over "
            f"the leading axes: {what} and {other} differ by {apart:.3g}. What "
            "differs between steps or sequences belongs in `x`, with leading axes "
            "(n_steps, *batch) or 1 in place of a batch axis; so does noise, drawn beforehand."
        )


def difference(problem: Problem, a: Array, b: Array, residual: float) -> float | None:
    """Return the largest difference, None if roundings and residuals explain it."""
    xp = problem.backend.xp
    apart, size = xp.abs(a - b), xp.maximum(1, xp.abs(b))
    tolerance = float(np.finfo(problem.dtype).eps) ** 0.5
    if not bool((apart > tolerance * size + residual).any()):
        return None
    return float(xp.where(xp.isfinite(apart), apart, 0).max())
