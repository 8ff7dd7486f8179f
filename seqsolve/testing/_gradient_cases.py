"""Cases for gradients, error bounds and exponents on a backend."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from seqsolve.adjoint import vjp
from seqsolve.backend import Backend
from seqsolve.deer import deer
from seqsolve.jacobi import jacobi, triangular_map
from seqsolve.lyapunov import lyapunov_exponent
from seqsolve.sequential import sequential
from seqsolve.testing import _oracle
from seqsolve.testing._case import ConformanceCase
from seqsolve.testing._expect import (
    close,
    context,
    equal,
    expect,
    noise,
    on_backend,
    precision,
    real_dtypes,
)
from seqsolve.testing._recurrences import STRUCTURES, Cell, logistic, recurrence, solver_tolerance
from seqsolve.testing.dot_test import dot_test


def cases() -> Iterator[ConformanceCase]:
    """Yield the cases of this module."""
    yield ConformanceCase("vjp-initial-state-and-adjoint", _adjoint)
    yield ConformanceCase("vjp-after-inexact-solvers", _after_any_solver)
    yield ConformanceCase("vjp-input-and-parameters", _parameters)
    yield ConformanceCase("vjp-dot-test", _dot_test)
    yield ConformanceCase("error-bound", _error_bound)
    yield ConformanceCase("lyapunov-exponent", _exponent)


def _adjoint(backend: Backend) -> None:
    for dtype in backend.capabilities.dtypes:
        for structure in STRUCTURES:
            for batch in ((), (3,)):
                with context(f"{dtype}, {structure}, batch {batch}"):
                    r = recurrence(backend, structure, dtype, batch=batch)
                    g = noise(np.random.default_rng(1), r.x.shape, dtype)
                    lam, y0_bar = _oracle.adjoint(r.jacobians(), g)
                    for window in (None, 17):
                        solution = deer(r.f, r.jac, r.x, r.y0, backend=backend, window=window)
                        got = vjp(solution, g)
                        allowed = 40 * solver_tolerance(dtype)
                        host = on_backend(backend, got.adjoint, g.shape, dtype, "adjoint")
                        close(host, lam, allowed, "adjoint")
                        host = on_backend(backend, got.y0, g.shape[1:], dtype, "y0")
                        close(host, y0_bar, allowed, "y0")


def _after_any_solver(backend: Backend) -> None:
    for dtype in backend.capabilities.dtypes:
        r = recurrence(backend, "dense", dtype, batch=(3,))
        g = noise(np.random.default_rng(2), r.x.shape, dtype)
        y0_bar = _oracle.adjoint(r.jacobians(), g)[1]
        h = triangular_map(r.f, r.x, r.y0, backend=backend)
        for name, solution in {
            "quasi-Newton": deer(r.f, r.jac, r.x, r.y0, backend=backend, jac_structure="diagonal"),
            "sequential": sequential(r.f, r.x, r.y0, backend=backend),
            "jacobi": jacobi(h, np.zeros(h.shape, dtype)),
        }.items():
            with context(f"{dtype}, {name}"):
                got = on_backend(backend, vjp(solution, g).y0, y0_bar.shape, dtype, "y0")
                # Where no Jacobian is given, it comes from forward differences.
                rough = np.finfo(dtype).eps ** 0.5 if name != "quasi-Newton" else 0
                close(got, y0_bar, 40 * (solver_tolerance(dtype) + rough), "y0")


def _cell(dtype: str, n_steps: int) -> tuple[Cell, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    U = noise(rng, (4, 4), dtype)
    params = {
        "U": (0.5 * U / np.linalg.norm(U, 2)).astype(dtype),
        "c": (0.1 * noise(rng, (4,), dtype)).astype(dtype),
    }
    x = (0.2 * noise(rng, (n_steps, 3, 4), dtype)).astype(dtype)
    return Cell(params), x, (0.2 * noise(rng, (3, 4), dtype)).astype(dtype)


def _parameters(backend: Backend) -> None:
    """Differentiate a step object whose parameters lie in host memory."""
    for dtype in backend.capabilities.dtypes:
        cell, x, y0 = _cell(dtype, 40)
        g = noise(np.random.default_rng(4), x.shape, dtype)
        wide = Cell({k: _oracle.wide(p) for k, p in cell.params.items()})
        y = _oracle.trajectory(wide, x, y0, len(x))
        before = np.concatenate([_oracle.wide(y0)[None], y[:-1]])
        lam, _ = _oracle.adjoint(wide.jac(before, _oracle.wide(x)), g)
        expected = wide.vjp(before, _oracle.wide(x), lam)
        for window in (None, 11):
            with context(f"{dtype}, window {window}"):
                solution = deer(cell, None, x, y0, backend=backend, window=window)
                got, allowed = vjp(solution, g), 200 * solver_tolerance(dtype)
                close(on_backend(backend, got.x, x.shape, dtype, "x"), expected.x, allowed, "x")
                assert got.params is not None
                assert expected.params is not None
                equal(set(got.params), {"U", "c"}, "params")
                for key, value in expected.params.items():
                    host = on_backend(backend, got.params[key], value.shape, dtype, key)
                    close(host, value, allowed, f"params[{key!r}]")


def _dot_test(backend: Backend) -> None:
    for dtype in backend.capabilities.dtypes:
        cell, x, y0 = _cell(dtype, 12)
        with context(dtype):
            dot_test(deer(cell, None, x, y0, backend=backend))


def _error_bound(backend: Backend) -> None:
    for dtype in backend.capabilities.dtypes:
        r = recurrence(backend, "dense", dtype, batch=(3,))
        with context(dtype):
            solution = deer(r.f, r.jac, r.x, r.y0, backend=backend, rtol=1e-3, atol=1e-3)
            bound = on_backend(
                backend, solution.error_bound(), r.x.shape, precision(dtype), "error_bound()"
            )
            error = np.abs(backend.to_numpy(solution.y) - r.trajectory())
            slack = solver_tolerance(dtype) + 0.1 * bound
            expect((error <= bound + slack).all(), "`error_bound()` must bound the error.")


def _exponent(backend: Backend) -> None:
    """Find log 2 for the tent-like logistic map at rate 4."""
    for dtype in real_dtypes(backend):
        x, y0 = np.zeros((3000, 1), dtype), np.array([0.3], dtype)
        with context(dtype):
            solution = sequential(logistic(3.99999), x, y0, backend=backend)
            exponent = float(lyapunov_exponent(solution))
            expect(
                abs(exponent - np.log(2)) < 0.05,
                f"`lyapunov_exponent` must be about 0.693; got {exponent:.4f}.",
            )
