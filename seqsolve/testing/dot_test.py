"""The dot test: whether gradients are the transpose of the derivative."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from seqsolve import _checks, _replay
from seqsolve._problem import Problem
from seqsolve._tree import leaves, tree_map
from seqsolve.adjoint import Cotangents, vjp
from seqsolve.backend import Array
from seqsolve.solution import Solution
from seqsolve.step import Parametrised
from seqsolve.testing._widen import is_inexact, widen, wider

__all__ = ["dot_test"]

#: Everything that a trajectory depends on, by name.
Inputs: TypeAlias = Mapping[str, Array]

#: ``change(t, y_prev, w)``: the change of step `t` as its previous state changes by `w`.
Change: TypeAlias = Callable[[int, Array, Array], Array]


def dot_test(
    solution: Solution, cotangent: Any = None, *, rtol: float | None = None, seed: int = 0
) -> float:
    """Check that `vjp` is the transpose of the derivative: ``<g, J v> = <J^T g, v>``.

    ``J v`` is the change of the trajectory along a random direction `v` of one
    input at a time: the initial state, and every leaf of `x` and every
    parameter for which the step supplies a gradient. It comes from the step
    function alone, by complex steps where it takes complex numbers and is
    analytic, else by central differences, in double precision where the
    backend has it.

    Parameters
    ----------
    solution : Solution
        Of any solver of recurrences. The test steps through time: some hundred
        steps are enough.
    cotangent : array_like, shape (n_steps, *batch, n_state), optional
        ``g``; random by default.
    rtol : float, optional
        Allowed mismatch, relative to the sum of the magnitudes that are added
        up. Default: ten times the root of the rounding unit, since gradients
        may rest on differences as well.
    seed : int
        Of the random directions.

    Returns
    -------
    float
        The largest relative mismatch.

    Raises
    ------
    AssertionError
        A gradient is wrong; the message says of what, and gives both numbers.
    TypeError, ValueError
        An argument is wrong.

    Examples
    --------
    >>> import numpy as np, seqsolve
    >>> from seqsolve.step import ArrayStep, StepCotangents
    >>> f = lambda y, x: np.tanh(0.5 * y + x)
    >>> def pull_back(y, x, lam):
    ...     slope = (1 - f(y, x) ** 2) * lam
    ...     return StepCotangents(0.5 * slope, slope, None)
    >>> step = ArrayStep(f, vjp=pull_back)
    >>> solution = seqsolve.deer(step, "cs", np.ones((50, 2)), np.zeros(2))
    >>> seqsolve.testing.dot_test(solution) < 1e-12
    True
    """
    if not isinstance(solution, Solution):
        raise TypeError(f"`solution` must be a Solution; got {type(solution).__name__}.")
    problem = _replay.recurrence_of(solution)
    rng = np.random.default_rng(_checks.integer("seed", seed, 0))
    allowed = 10 * float(np.finfo(problem.dtype).eps) ** 0.5
    if rtol is not None:
        allowed = _checks.real("rtol", rtol, 0.0)
    if cotangent is None:
        cotangent = _random(rng, problem.shape, problem.dtype)
    g = problem.backend.to_numpy(_checks.numeric("cotangent", cotangent, problem.backend))
    largest = 0.0
    for name, gradient in _gradients(vjp(solution, g)).items():
        if not is_inexact(gradient):
            continue
        v = _random(rng, tuple(gradient.shape), str(gradient.dtype))
        changes = g * _tangent(problem, solution.y, name, v)
        pulled_back = problem.backend.to_numpy(gradient) * v
        left, right = changes.sum(), pulled_back.sum()
        size = max(np.abs(changes).sum(), np.abs(pulled_back).sum())
        mismatch = float(abs(left - right) / size) if size else 0.0
        if not mismatch <= allowed:
            raise AssertionError(
                f"The gradient with respect to `{name}` must be the transpose of the "
                f"derivative: <g, J v> is {left:.9g}, <J^T g, v> is {right:.9g}; relative to "
                f"the magnitudes added up they differ by {mismatch:.2g}, and {allowed:.2g} is "
                "allowed."
            )
        largest = max(largest, mismatch)
    return largest


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


def _gradients(cotangents: Cotangents) -> Inputs:
    params = {f"params[{k!r}]": p for k, p in (cotangents.params or {}).items()}
    return {"y0": cotangents.y0, **dict(leaves(cotangents.x, "x")), **params}


def _inputs(problem: Problem) -> Inputs:
    params = problem.step.params if isinstance(problem.step, Parametrised) else {}
    return {
        "y0": problem.y0.reshape(problem.shape[1:]),
        **dict(leaves(problem.x, "x")),
        **{f"params[{k!r}]": p for k, p in params.items()},
    }


def _with_inputs(problem: Problem, inputs: Inputs) -> Problem:
    step = problem.step
    if isinstance(step, Parametrised):
        step = step.with_params({k: inputs[f"params[{k!r}]"] for k in step.params})
    x_leaves = iter([inputs[path] for path, _ in leaves(problem.x, "x")])
    return Problem(
        step,
        None,
        tree_map(lambda _: next(x_leaves), problem.x),
        inputs["y0"],
        backend=problem.backend,
        n_steps=problem.n_steps,
    )


def _tangent(problem: Problem, y: Array, name: str, v: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the change of the trajectory along a direction of one input."""
    backend = problem.backend
    if problem.n_steps == 0:
        return np.zeros(problem.shape)
    y_prev = widen(backend, _replay.previous_states(problem, y, slice(0, problem.n_steps)))
    start = v.reshape(problem.y0.shape) if name == "y0" else np.zeros(problem.y0.shape)
    w = backend.asarray(start[None], dtype=wider(backend, problem.dtype))
    change = _change(problem, name, v, y_prev, w)
    tangent = np.empty((problem.n_steps, *problem.y0.shape), str(w.dtype))
    for t in range(problem.n_steps):
        w = change(t, y_prev[t : t + 1], w)
        tangent[t] = backend.to_numpy(w)[0]
    return tangent.reshape(problem.shape)


def _change(problem: Problem, name: str, v: npt.NDArray[Any], y_prev: Array, w: Array) -> Change:
    """Return how to differentiate a step: by complex steps, if differences agree."""
    inputs = {key: widen(problem.backend, a) for key, a in _inputs(problem).items()}
    direction = widen(problem.backend, v)
    central = _central_differences(problem, inputs, name, direction, y_prev)
    if np.dtype(problem.dtype).kind == "c":
        return central
    try:
        analytic = _complex_steps(problem, inputs, name, direction)
        first = problem.backend.to_numpy(analytic(0, y_prev[:1], w))
    except Exception:
        # A step function may refuse complex numbers in any way it likes.
        return central
    expected = problem.backend.to_numpy(central(0, y_prev[:1], w))
    tolerance = float(np.finfo(expected.dtype).eps) ** 0.5
    agree = np.allclose(first, expected, rtol=tolerance, atol=tolerance)
    return analytic if agree else central


def _complex_steps(problem: Problem, inputs: Inputs, name: str, v: Array) -> Change:
    h = 1e-20
    moved = _with_inputs(problem, {**inputs, name: inputs[name] + 1j * h * v})

    def change(t: int, y_prev: Array, w: Array) -> Array:
        return moved.bind(slice(t, t + 1)).raw(y_prev + 1j * h * w).imag / h

    return change


def _central_differences(
    problem: Problem, inputs: Inputs, name: str, v: Array, y_prev: Array
) -> Change:
    size = max(1.0, float(problem.backend.xp.abs(y_prev).max()))
    h = size * float(np.finfo(np.dtype(str(y_prev.dtype))).eps) ** (1 / 3)
    plus = _with_inputs(problem, {**inputs, name: inputs[name] + h * v})
    minus = _with_inputs(problem, {**inputs, name: inputs[name] - h * v})

    def change(t: int, y_prev: Array, w: Array) -> Array:
        row = slice(t, t + 1)
        return (plus.bind(row).raw(y_prev + h * w) - minus.bind(row).raw(y_prev - h * w)) / (2 * h)

    return change
