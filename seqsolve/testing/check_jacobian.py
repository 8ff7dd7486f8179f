"""Whether a Jacobian is that of its step function, entry by entry."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from seqsolve import _checks, jacobian
from seqsolve._problem import Problem
from seqsolve._tree import tree_map
from seqsolve.jacobian import Structure
from seqsolve.step import Parametrised, Tree
from seqsolve.testing._widen import widen

__all__ = ["check_jacobian"]


def check_jacobian(
    f: Any,
    jac: Any,
    x: Tree,
    y: Any,
    *,
    backend: Any = None,
    rtol: float | None = None,
    atol: float | None = None,
) -> None:
    """Compare a Jacobian with the derivative of its step function.

    The derivative is computed numerically: by complex steps where `f` takes
    complex numbers and is analytic, else by central differences, in double
    precision where the backend has it.

    Parameters
    ----------
    f : callable
        ``f(y_prev, x) -> y``, as the solvers take it.
    jac : callable or None
        ``jac(y_prev, x)``, as the solvers take it. None: the one that the step
        object `f` carries.
    x : array, tree of arrays or None
        Input of some steps.
    y : array_like, shape (n_steps, *batch, n_state)
        The states to differentiate at, each the previous state of a step.
    backend : str or Backend, optional
        Where to run; by default where the arrays live.
    rtol, atol : float, optional
        An entry is wrong if it is off by more than ``atol + rtol * size``,
        where `size` is the largest entry of that step and sequence. Default of
        both: 4e-8 in double and 1.2e-4 in single precision.

    Raises
    ------
    AssertionError
        The Jacobian is wrong; the message says where, or that it is
        transposed, or that its structure leaves something out.
    TypeError, ValueError
        An argument is wrong.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.testing import check_jacobian
    >>> f = lambda y, x: np.sin(y) + x
    >>> x, y = np.zeros((100, 2)), np.linspace(0, 1, 200).reshape(100, 2)
    >>> check_jacobian(f, lambda y, x: np.cos(y), x, y)
    >>> check_jacobian(f, lambda y, x: np.sin(y), x, y)
    Traceback (most recent call last):
    AssertionError: `jac` is wrong at step 0, row 0, column 0: 0 given, 1 expected...
    """
    engine = _checks.choose_backend(backend, y=y, x=x)
    states = _checks.numeric("y", y, engine)
    if states.ndim < 2 or not states.shape[0]:
        raise ValueError(
            "`y` must have shape (n_steps, *batch, n_state), with one step or more; "
            f"got {tuple(states.shape)}."
        )
    if not bool(engine.xp.isfinite(states).all()):
        raise ValueError("`y` must be finite; got NaN or infinity.")
    problem = Problem(f, jac, x, states[0], backend=engine, n_steps=states.shape[0])
    if problem.jac != "step" and not callable(problem.jac):
        raise TypeError(f"`jac` must be callable, or None if `f` carries one; got {jac!r}.")
    flat = states.reshape(states.shape[0], problem.n_sequences, problem.n_state)
    flat = engine.asarray(flat, dtype=problem.dtype)
    given, inside = _given(problem, flat)
    expected = _derivative(problem, flat)
    allowed = _allowed(problem.dtype, expected, rtol, atol)
    wrong = ~(np.abs(given - expected) <= allowed)
    if not wrong.any():
        return
    if not (np.abs(given.swapaxes(-1, -2) - expected) > allowed).any():
        raise AssertionError(
            "`jac` is transposed: its entry in row i, column j must be the derivative of element "
            "i of `f` with respect to element j of `y_prev`."
        )
    error = np.abs(given - expected)
    if (wrong & inside).any():
        where, n_wrong = _worst(error, wrong & inside), int((wrong & inside).sum())
        raise AssertionError(
            f"`jac` is wrong at {_place(where, problem)}: {given[where]:.6g} given, "
            f"{expected[where]:.6g} expected (largest of {n_wrong} wrong entries in "
            f"{int(np.broadcast_to(inside, wrong.shape).sum())})."
        )
    where = _worst(error, wrong)
    raise AssertionError(
        f"`jac` leaves out a derivative at {_place(where, problem)}: {expected[where]:.6g} "
        f"expected (largest of {int(wrong.sum())}). Return the dense Jacobian, or keep to the "
        "part of it that you want to iterate with by `jac_structure` (quasi-Newton)."
    )


def _given(problem: Problem, y: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Return the user's Jacobian as dense matrices, and which entries its structure has."""
    step = problem.bind(slice(0, problem.n_steps))
    A = problem.backend.to_numpy(problem.backend.asarray(step.source_jacobian(y)))
    n = problem.n_state
    try:
        structure = jacobian.structure_of(A.shape, step.user_shape(y))
    except ValueError as error:
        raise AssertionError(str(error)) from None
    k = structure.width(n)
    blocks = A.reshape(problem.n_steps, problem.n_sequences, n // k, k, k)
    dense = np.zeros((problem.n_steps, problem.n_sequences, n, n), A.dtype)
    for h in range(n // k):
        part = slice(h * k, (h + 1) * k)
        dense[..., part, part] = blocks[:, :, h]
    return dense, np.kron(np.eye(n // k), np.ones((k, k))) > 0


def _derivative(problem: Problem, y: Any) -> npt.NDArray[Any]:
    """Return the dense derivative of the step function."""
    backend, step = problem.backend, problem.step
    if isinstance(step, Parametrised):
        step = step.with_params({k: widen(backend, p) for k, p in step.params.items()})
    y = widen(backend, y)
    wide = Problem(
        step,
        None,
        tree_map(lambda leaf: widen(backend, leaf), problem.x),
        y[0].reshape(problem.shape[1:]),
        backend=backend,
        n_steps=problem.n_steps,
    )
    f = wide.bind(slice(0, wide.n_steps)).raw

    def differences(scheme: str) -> npt.NDArray[Any]:
        A = jacobian.differences(backend.xp, f, y, None, scheme, Structure("dense"))
        return backend.to_numpy(A)

    central = differences("3-point")
    if np.dtype(problem.dtype).kind == "c":
        return central
    try:
        analytic = differences("cs")
    except Exception:
        # A step function may refuse complex numbers in any way it likes.
        return central
    tolerance = float(np.finfo(central.dtype).eps) ** 0.5
    return analytic if np.allclose(analytic, central, rtol=tolerance, atol=tolerance) else central


def _allowed(dtype: str, expected: npt.NDArray[Any], rtol: Any, atol: Any) -> npt.NDArray[Any]:
    noise = float(np.finfo(expected.dtype).eps) ** (2 / 3)
    default = 1e3 * max(float(np.finfo(dtype).eps), noise)
    relative = default if rtol is None else _checks.real("rtol", rtol, 0.0)
    absolute = default if atol is None else _checks.real("atol", atol, 0.0)
    size: npt.NDArray[Any] = np.abs(expected).max(axis=(-2, -1), keepdims=True)
    return absolute + relative * size


def _worst(error: npt.NDArray[Any], among: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    ranked = np.where(among, np.where(np.isnan(error), np.inf, error), -1.0)
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(ranked)), error.shape))


def _place(where: tuple[int, ...], problem: Problem) -> str:
    step, sequence, row, column = where
    place = f"step {step}, "
    if problem.batch:
        index = np.unravel_index(sequence, problem.batch)
        place += f"sequence {tuple(int(i) for i in index)}, "
    return place + f"row {row}, column {column}"
