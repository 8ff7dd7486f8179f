"""Cases for element steps, and for the backends that fuse them with the solvers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from seqsolve.backend import Backend, FusedSteps, JacobiSweeps
from seqsolve.deer import deer
from seqsolve.element import ElementStep, element_step
from seqsolve.jacobi import gauss_seidel, gs_jacobi, jacobi, jacobi_gs, triangular_map
from seqsolve.sequential import sequential
from seqsolve.solution import Solution, Status
from seqsolve.testing import _oracle
from seqsolve.testing._case import ConformanceCase
from seqsolve.testing._expect import (
    close,
    context,
    eps,
    equal,
    expect,
    noise,
    on_backend,
    owned,
    real_dtypes,
)
from seqsolve.testing._oracle import HostArray
from seqsolve.testing._recurrences import solver_tolerance

_SOLVERS: dict[str, Callable[..., Solution]] = {
    "jacobi": jacobi,
    "jacobi, windows": partial(jacobi, window=7),
    "gauss_seidel": gauss_seidel,
    "gs_jacobi": partial(gs_jacobi, block_size=5),
    "jacobi_gs": partial(jacobi_gs, block_size=4),
    "jacobi_gs, windows": partial(jacobi_gs, block_size=3, window=10),
}

#: (n_steps, n_batch, window, block_size, maxiter)
_SWEEPS = (
    (1, 1, 1, 1, 1),
    (19, 3, 19, 1, 19),
    (19, 2, 19, 1, 4),
    (19, 3, 6, 1, 6),
    (19, 2, 1, 1, 1),
    (20, 3, 20, 4, 20),
    (19, 2, 19, 5, 3),
    (23, 2, 9, 2, 9),
    (11, 1, 11, 11, 11),
)


def cases() -> Iterator[ConformanceCase]:
    """Yield the cases of this module."""
    for structure in ("diagonal", "dense"):
        yield ConformanceCase(f"element-steps-sequential-{structure}", partial(_march, structure))
        yield ConformanceCase(f"element-steps-deer-{structure}", partial(_newton, structure))
        yield ConformanceCase(f"sweep_windows-iterates-{structure}", partial(_iterates, structure))
    for name, check in {
        "element-steps-jacobi-family": _family,
        "element-steps-shared-input": _shared,
        "element-steps-without-input": _autonomous,
        "element-steps-not-a-number": _not_a_number,
        "element-steps-empty": _empty,
        "sweep_windows-not-finite": _not_finite,
        "sweep_windows-not-finite-unverified": _unverified,
        "sweep_windows-bad-guess": _bad_guess,
        "sweep_windows-not-a-number": _nan_values,
    }.items():
        yield ConformanceCase(name, check)


def _dense(y_prev: Any, x: Any, params: Any, y_out: Any) -> None:
    W, gain = params
    for i in range(len(y_prev)):
        total = x[i]
        for j in range(len(y_prev)):
            total += W[i, j] * y_prev[j]
        y_out[i] = gain * total / (1.0 + total * total)


def _dense_jac(y_prev: Any, x: Any, params: Any, jac_out: Any) -> None:
    W, gain = params
    for i in range(len(y_prev)):
        total = x[i]
        for j in range(len(y_prev)):
            total += W[i, j] * y_prev[j]
        square = total * total
        slope = gain * (1.0 - square) / ((1.0 + square) * (1.0 + square))
        for j in range(len(y_prev)):
            jac_out[i, j] = slope * W[i, j]


def _diagonal(y_prev: Any, x: Any, params: Any, y_out: Any) -> None:
    W, gain = params
    for i in range(len(y_prev)):
        total = W[i, i] * y_prev[i] + x[i]
        y_out[i] = gain * total / (1.0 + total * total)


def _diagonal_jac(y_prev: Any, x: Any, params: Any, jac_out: Any) -> None:
    W, gain = params
    for i in range(len(y_prev)):
        total = W[i, i] * y_prev[i] + x[i]
        square = total * total
        jac_out[i] = gain * (1.0 - square) / ((1.0 + square) * (1.0 + square)) * W[i, i]


def _cell(structure: str, dtype: str, n_state: int = 2) -> ElementStep:
    """Return a contracting step, its parameters in host memory."""
    rng = np.random.default_rng(n_state)
    W = noise(rng, (n_state, n_state), dtype) * np.array(0.7 / n_state, dtype)
    functions = (_dense, _dense_jac) if structure == "dense" else (_diagonal, _diagonal_jac)
    params = {"W": W, "gain": np.array(0.9, dtype)}
    return element_step(*functions, n_state=n_state, params=params, jac_structure=structure)


def _input(dtype: str, shape: tuple[int, ...]) -> tuple[HostArray, HostArray]:
    """Return an input and an initial state."""
    rng = np.random.default_rng(shape)
    return noise(rng, shape, dtype), noise(rng, shape[1:], dtype)


def _expected(cell: ElementStep, x: Any, y0: HostArray, n_steps: int) -> HostArray:
    wide = cell.with_params({name: _oracle.wide(p) for name, p in cell.params.items()})
    y = np.empty((n_steps, *y0.shape))
    state = _oracle.wide(y0)[None]
    for t in range(n_steps):
        state = wide(state, None if x is None else _oracle.wide(x[t : t + 1]))
        y[t] = state[0]
    return y


def _dtypes(structure: str, backend: Backend) -> list[str]:
    """Return all real dtypes for dense steps, one for others: each has to be compiled."""
    return real_dtypes(backend)[: None if structure == "dense" else 1]


def _check(backend: Backend, solution: Solution, expected: HostArray, dtype: str) -> None:
    expect(solution.success, f"`success` must be True; got {solution!r}.")
    y = on_backend(backend, solution.y, expected.shape, dtype, "y")
    close(y, expected, solver_tolerance(dtype), "y")
    equal((solution.converged_steps == len(expected)).all(), True, "converged_steps == n_steps")


def _march(structure: str, backend: Backend) -> None:
    for dtype in _dtypes(structure, backend):
        for batch in ((), (3,), (2, 2)):
            with context(f"{dtype}, batch {batch}"):
                cell = _cell(structure, dtype)
                x, y0 = _input(dtype, (15, *batch, 2))
                solution = sequential(cell, x, y0, backend=backend)
                _check(backend, solution, _expected(cell, x, y0, 15), dtype)


def _newton(structure: str, backend: Backend) -> None:
    for dtype in _dtypes(structure, backend):
        cell = _cell(structure, dtype)
        x, y0 = _input(dtype, (21, 3, 2))
        expected = _expected(cell, x, y0, 21)
        broken = expected.astype(dtype)
        broken[4, 0], broken[9:, 1] = np.nan, np.inf
        for window in (2, 8, 21):
            for name, guess in {"none": None, "broken": broken}.items():
                with context(f"{dtype}, window {window}, guess {name}"):
                    solution = deer(
                        cell, None, x, y0, backend=backend, window=window, initial_guess=guess
                    )
                    _check(backend, solution, expected, dtype)


def _family(backend: Backend) -> None:
    for structure, batch in (("dense", (3,)), ("diagonal", ())):
        for dtype in _dtypes(structure, backend):
            cell = _cell(structure, dtype)
            x, y0 = _input(dtype, (21, *batch, 2))
            expected = _expected(cell, x, y0, 21)
            h = triangular_map(cell, x, y0, backend=backend)
            for name, solver in _SOLVERS.items():
                with context(f"{name}, {structure}, {dtype}"):
                    solution = solver(h, np.zeros(h.shape, dtype))
                    _check(backend, solution, expected, dtype)


def _shared(backend: Backend) -> None:
    """Share an input between the sequences; take items of several axes, or none."""

    def wide_item(y_prev: Any, x: Any, params: Any, y_out: Any) -> None:
        y_out[0] = 0.5 * y_prev[0] + x[0, 1] - x[1, 0]

    def scalar_item(y_prev: Any, x: Any, params: Any, y_out: Any) -> None:
        y_out[0] = 0.5 * y_prev[0] + x

    dtype = real_dtypes(backend)[0]
    y0 = noise(np.random.default_rng(1), (3, 1), dtype)
    for function, item in ((wide_item, (2, 2)), (scalar_item, ())):
        for n in (1, 3):
            x = noise(np.random.default_rng(2), (12, n, *item), dtype)
            cell = element_step(function, n_state=1)
            expected = _expected(cell, x, y0, 12)
            with context(f"{function.__name__}, inputs of {n} sequences"):
                solution = sequential(cell, x, y0, backend=backend)
                _check(backend, solution, expected, dtype)
                h = triangular_map(cell, x, y0, backend=backend)
                _check(backend, jacobi(h, np.zeros(h.shape, dtype)), expected, dtype)


def _halves(y_prev: Any, x: Any, params: Any, y_out: Any) -> None:
    for i in range(len(y_prev)):
        y_out[i] = 0.5 * y_prev[i]


def _autonomous(backend: Backend) -> None:
    for dtype in real_dtypes(backend):
        cell, y0 = element_step(_halves, n_state=2), np.array([1, -2], dtype)
        h = triangular_map(cell, None, y0, n_steps=9, backend=backend)
        expected = _expected(cell, None, y0, 9)
        with context(dtype):
            _check(backend, sequential(cell, None, y0, n_steps=9, backend=backend), expected, dtype)
            _check(backend, jacobi(h, np.zeros(h.shape, dtype)), expected, dtype)


def _squares(y_prev: Any, x: Any, params: Any, y_out: Any) -> None:
    y_out[0] = y_prev[0] * y_prev[0] + x[0]


def _not_a_number(backend: Backend) -> None:
    """Report the sequence that leaves the range; solve the others."""
    for dtype in real_dtypes(backend):
        x, y0 = np.zeros((14, 3, 1), dtype), np.array([[0.5], [2.0], [0.9]], dtype)
        finite = 9 if dtype == "float64" else 6
        h = triangular_map(element_step(_squares, n_state=1), x, y0, backend=backend)
        for name, solver in _SOLVERS.items():
            if name == "gauss_seidel":
                continue
            with context(f"{name}, {dtype}"):
                solution = solver(h, np.zeros(h.shape, dtype), on_failure="return")
                equal(solution.status, Status.NON_FINITE, "status")
                equal(solution.converged_steps.tolist(), [14, finite, 14], "converged_steps")


def _empty(backend: Backend) -> None:
    dtype = real_dtypes(backend)[0]
    for n_steps, batch in [(0, ()), (0, (2,)), (5, (0,)), (1, ())]:
        cell = _cell("dense", dtype)
        x, y0 = _input(dtype, (n_steps, *batch, 2))
        expected = _expected(cell, x, y0, n_steps)
        h = triangular_map(cell, x, y0, backend=backend)
        with context(f"n_steps = {n_steps}, batch {batch}"):
            _check(backend, sequential(cell, x, y0, backend=backend), expected, dtype)
            for solver in (jacobi, partial(jacobi_gs, block_size=2)):
                _check(backend, solver(h, np.zeros(h.shape, dtype)), expected, dtype)


def _compare(
    backend: Backend, cell: ElementStep, x: HostArray, y: HostArray, **options: Any
) -> None:
    """Compare the primitive with the loop: iterates, sweeps, and what stopped."""
    if not isinstance(backend, JacobiSweeps):
        return
    expect(isinstance(backend, FusedSteps), "`JacobiSweeps` goes with `FusedSteps`.")
    dtype, atol = str(y.dtype), 1e-3
    expected = y.copy()
    outcome = _oracle.sweep_windows(
        lambda y_prev, rows, k: cell(y_prev, x[rows, k]), expected, atol=atol, **options
    )
    moved = cell.with_params({name: backend.asarray(p) for name, p in cell.params.items()})
    array = owned(backend, y)
    got = backend.sweep_windows(
        moved,
        backend.asarray(x),
        array,
        rtol=0.0,
        atol=backend.asarray(np.full(cell.n_state, atol, dtype)),
        **options,
    )
    with context(f"{dtype}, {y.shape[0] - 1} steps, {options}"):
        for name in ("converged", "stuck", "nit"):
            equal(
                np.asarray(getattr(got, name)).tolist(),
                getattr(outcome, name).tolist(),
                name,
            )
        allowed = 64 * eps(dtype)
        states = on_backend(backend, array, y.shape, dtype, "y")
        size = np.where(np.isfinite(expected), np.maximum(1, np.abs(expected)), 1)
        known = np.isfinite(expected) | np.isfinite(states)
        close(np.where(known, states, 0), np.where(known, expected, 0), allowed * size, "y")
        width = outcome.nit.max(initial=0)
        large = np.maximum(1, np.nan_to_num(outcome.trace[:, :width], posinf=1))
        close(got.trace[:, :width], outcome.trace[:, :width], allowed * large, "trace")
        close(got.residual, outcome.residual, allowed, "residual")


def _iterates(structure: str, backend: Backend) -> None:
    for dtype in _dtypes(structure, backend):
        cell = _cell(structure, dtype)
        for n_steps, n_batch, window, block_size, maxiter in _SWEEPS:
            x, _ = _input(dtype, (n_steps, n_batch, 2))
            y = noise(np.random.default_rng(n_steps), (n_steps + 1, n_batch, 2), dtype)
            options = {"window": window, "block_size": block_size, "maxiter": maxiter}
            _compare(backend, cell, x, y, **options)


def _not_finite(backend: Backend) -> None:
    """End a sequence where its exact value leaves the range, in any window and block."""
    cell = element_step(_squares, n_state=1)
    for dtype in real_dtypes(backend):
        x = np.zeros((17, 3, 1), dtype)
        y = np.zeros((18, 3, 1), dtype)
        y[0, :, 0] = [0.5, 3.0, 1.0]
        for window, block_size in ((17, 1), (4, 1), (17, 4), (6, 3)):
            _compare(backend, cell, x, y, window=window, block_size=block_size, maxiter=window)


def _unverified(backend: Backend) -> None:
    """Verify the blocks that were solved together before one in which a value is not finite."""
    cell = element_step(_squares, n_state=1)
    for dtype in real_dtypes(backend):
        for late in (2e-4, 0.5):
            x = np.full((14, 2, 1), 0.1, dtype)
            x[9, 1] = np.inf
            y = np.full((15, 2, 1), (1 - 0.6**0.5) / 2, dtype)
            y[6] += np.array(late, dtype)
            for block_size in (2, 3, 5):
                for maxiter in (1, 2, 20):
                    options = {"window": 14, "block_size": block_size, "maxiter": maxiter}
                    _compare(backend, cell, x, y, **options)


def _bad_guess(backend: Backend) -> None:
    """Sweep from a guess that is not finite, or huge, in one sequence of two."""
    for dtype in real_dtypes(backend):
        cell = _cell("dense", dtype)
        x, _ = _input(dtype, (13, 2, 2))
        for value in (np.nan, np.inf, 1e3):
            y = noise(np.random.default_rng(0), (14, 2, 2), dtype)
            y[5:, 1] = value
            for block_size in (1, 3):
                _compare(backend, cell, x, y, window=13, block_size=block_size, maxiter=13)


def _nan_values(backend: Backend) -> None:
    """Do not take NaN for success: neither at a step nor in the rest."""
    cell = element_step(_squares, n_state=1)
    for dtype in real_dtypes(backend):
        x = np.full((12, 2, 1), 0.1, dtype)
        x[7, 1] = np.nan
        y = np.full((13, 2, 1), 0.2, dtype)
        for block_size in (1, 5):
            _compare(backend, cell, x, y, window=12, block_size=block_size, maxiter=12)
