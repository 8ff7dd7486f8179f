"""Cases for the public solvers on a backend."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from seqsolve._outcome import ON_FAILURE, OnFailure
from seqsolve.backend import Backend
from seqsolve.deeppcr import deeppcr
from seqsolve.deer import deer
from seqsolve.jacobi import gauss_seidel, gs_jacobi, jacobi, jacobi_gs, triangular_map
from seqsolve.jacobian import BlockDiagonal, Hutchinson
from seqsolve.recurrence import cyclic_reduction, linear_recurrence
from seqsolve.sequential import sequential
from seqsolve.solution import ConvergenceError, ConvergenceWarning, Solution, Status
from seqsolve.testing import _oracle
from seqsolve.testing._case import ConformanceCase
from seqsolve.testing._expect import (
    close,
    context,
    eps,
    equal,
    expect,
    methods,
    noise,
    on_backend,
    random_matrices,
    real_dtypes,
    rounding,
)
from seqsolve.testing._oracle import HostArray
from seqsolve.testing._recurrences import (
    STRUCTURES,
    Recurrence,
    logistic,
    recurrence,
    solver_tolerance,
)


def cases() -> Iterator[ConformanceCase]:
    """Yield the cases of this module."""
    for structure in STRUCTURES:
        for source in ("jac", "cs", "2-point", "3-point"):
            yield ConformanceCase(f"deer-{structure}-{source}", partial(_deer, structure, source))
    for name, check in {
        "deer-methods": _deer_methods,
        "deer-windows": _windows,
        "deer-batch-axes": _batches,
        "deer-trees-of-inputs": _trees,
        "deer-sequences-converge-one-by-one": _one_by_one,
        "deer-quasi-newton": _quasi,
        "deer-initial-guess": _guess,
        "deer-out": _out,
        "deer-empty": _empty,
        "deer-chaos": _chaos,
        "deer-overflow": _overflow,
        "deer-not-a-number": _not_a_number,
        "deer-step-that-returns-its-argument": _identity,
        "deeppcr-layers": _layers,
        "sequential": _sequential,
        "jacobi-family": _jacobi_family,
        "public-linear_recurrence": _linear,
        "public-linear_recurrence-out": _linear_out,
    }.items():
        yield ConformanceCase(name, check)
    for on_failure in ON_FAILURE:
        yield ConformanceCase(f"on_failure-{on_failure}", partial(_on_failure, on_failure))


def _solved(
    backend: Backend, solution: Solution, expected: HostArray, allowed: Any, dtype: str
) -> None:
    """Expect a solution to hold the trajectory, and to say so."""
    expect(solution.success, f"`success` must be True; got {solution!r}.")
    equal(solution.backend, backend.name, "backend")
    y = on_backend(backend, solution.y, expected.shape, dtype, "y")
    close(y, expected, allowed, "y")
    equal(solution.residual.shape, expected.shape[1:-1], "residual.shape")
    equal(set(solution.converged_steps.ravel().tolist()) - {expected.shape[0]}, set(), "unsolved")


def _solve(backend: Backend, r: Recurrence, **options: Any) -> None:
    """Solve a recurrence and expect the loop's trajectory."""
    solution = deer(r.f, options.pop("jac", r.jac), r.x, r.y0, backend=backend, **options)
    _solved(backend, solution, r.trajectory(), solver_tolerance(r.dtype), r.dtype)


def _deer(structure: str, source: str, backend: Backend) -> None:
    for dtype in backend.capabilities.dtypes:
        if source == "cs" and np.dtype(dtype).kind == "c":
            continue
        for batch in ((), (3,)):
            with context(f"{dtype}, batch {batch}"):
                r = recurrence(backend, structure, dtype, batch=batch)
                if source == "jac":
                    _solve(backend, r)
                else:
                    declared = BlockDiagonal(2) if structure == "block_diagonal" else structure
                    _solve(backend, r, jac=source, jac_structure=declared)


def _deer_methods(backend: Backend) -> None:
    for method in methods(backend):
        for structure in STRUCTURES:
            for dtype in backend.capabilities.dtypes:
                with context(f"{method}, {structure}, {dtype}"):
                    r = recurrence(backend, structure, dtype, n_steps=45, batch=(3,))
                    _solve(backend, r, linear_solver=method)


def _windows(backend: Backend) -> None:
    for dtype in backend.capabilities.dtypes:
        for structure in ("diagonal", "dense"):
            r = recurrence(backend, structure, dtype, n_steps=60, batch=(3,))
            for window in (1, 2, 7, 59, 60, 1000):
                with context(f"{dtype}, {structure}, window {window}"):
                    _solve(backend, r, window=window)


def _batches(backend: Backend) -> None:
    dtype = backend.capabilities.dtypes[0]
    for batch in [(), (1,), (3,), (2, 3), (2, 1, 2)]:
        with context(f"batch {batch}"):
            _solve(backend, recurrence(backend, "dense", dtype, batch=batch))
            _solve(backend, recurrence(backend, "block_diagonal", dtype, batch=batch), window=20)
    r = recurrence(backend, "dense", dtype, batch=(3,))
    solution = deer(r.f, r.jac, backend.asarray(r.x), backend.asarray(r.y0), backend=backend)
    _solved(backend, solution, r.trajectory(), solver_tolerance(dtype), dtype)


def _trees(backend: Backend) -> None:
    """Take inputs in containers, some of them with an axis of 1 in place of the batch."""
    rng = np.random.default_rng(1)

    def f(y: Any, x: Any) -> Any:
        return np.tanh((x["R"] @ y[..., None])[..., 0] + x["drive"][0] * x["drive"][1])

    for dtype in backend.capabilities.dtypes:
        R = (0.2 * noise(rng, (40, 1, 4, 4), dtype)).astype(dtype)
        gain = (0.5 * noise(rng, (40, 1, 1), dtype)).astype(dtype)
        drive = (0.5 * noise(rng, (40, 3, 4), dtype)).astype(dtype)
        y0 = noise(rng, (3, 4), dtype) * np.array(0.2, dtype)
        wide = {"R": _oracle.wide(R), "g": _oracle.wide(gain), "d": _oracle.wide(drive)}
        expected = _oracle.trajectory(
            lambda y, x: f(y, {"R": x["R"], "drive": (x["g"], x["d"])}), wide, y0, 40
        )
        for window in (None, 11):
            with context(f"{dtype}, window {window}"):
                x = {"R": R, "drive": (gain, drive)}
                solution = deer(f, "2-point", x, y0, backend=backend, window=window)
                _solved(backend, solution, expected, solver_tolerance(dtype), dtype)


def _one_by_one(backend: Backend) -> None:
    """Solve sequences that need few and many iterations in one batch."""
    rate = np.array([0.0, 3.3, 0.5])[:, None]
    for dtype in real_dtypes(backend):
        x = {"rate": np.broadcast_to(rate, (50, 3, 1)).astype(dtype)}
        y0 = np.full((3, 1), 0.3, dtype)

        def f(y: Any, x: Any) -> Any:
            return x["rate"] * y * (1 - y)

        def jac(y: Any, x: Any) -> Any:
            return x["rate"] * (1 - 2 * y)

        wide = {"rate": _oracle.wide(x["rate"])}
        expected = _oracle.trajectory(f, wide, y0, 50)
        for window in (50, 20):
            with context(f"{dtype}, window {window}"):
                solution = deer(f, jac, x, y0, backend=backend, window=window)
                _solved(backend, solution, expected, 20 * solver_tolerance(dtype), dtype)


def _quasi(backend: Backend) -> None:
    for dtype in backend.capabilities.dtypes:
        r = recurrence(backend, "dense", dtype, batch=(3,))
        variants: dict[str, dict[str, Any]] = {
            "diagonal of the Jacobian": {"jac_structure": "diagonal"},
            "blocks of the Jacobian": {"jac_structure": BlockDiagonal(2)},
            "damped": {"damping": 0.3},
            "Hutchinson": {"jac": Hutchinson(products=2)},
        }
        for name, options in variants.items():
            with context(f"{dtype}, {name}"):
                _solve(backend, r, **options)


def _guess(backend: Backend) -> None:
    for dtype in backend.capabilities.dtypes:
        r = recurrence(backend, "dense", dtype, batch=(3,))
        right = r.trajectory().astype(dtype)
        broken = right.copy()
        broken[7, 0], broken[30:, 1] = np.nan, np.inf
        for name, guess in {
            "right": right,
            "right, on the backend": backend.asarray(right),
            "NaN and infinity": broken,
            "huge": np.full_like(right, 1e6),
        }.items():
            with context(f"{dtype}, guess {name}"):
                _solve(backend, r, initial_guess=guess)


def _out(backend: Backend) -> None:
    for dtype in backend.capabilities.dtypes:
        r = recurrence(backend, "dense", dtype, batch=(3,))
        expected, allowed = r.trajectory(), solver_tolerance(dtype)
        device, host = backend.asarray(np.zeros_like(r.x)) + 0, np.zeros_like(r.x)
        for name, out in (("on the backend", device), ("in host memory", host)):
            with context(f"{dtype}, out {name}"):
                solution = deer(r.f, r.jac, r.x, r.y0, backend=backend, window=25, out=out)
                equal(solution.y is out, True, "y is out")
                y = out if isinstance(out, np.ndarray) else backend.to_numpy(out)
                close(y, expected, allowed, "out")


def _empty(backend: Backend) -> None:
    for dtype in backend.capabilities.dtypes:
        for n_steps, batch in [(0, ()), (0, (2,)), (5, (0,)), (1, ()), (2, (1,))]:
            with context(f"{dtype}, n_steps = {n_steps}, batch {batch}"):
                _solve(backend, recurrence(backend, "dense", dtype, n_steps=n_steps, batch=batch))


def _residual(f: Callable[[Any, Any], Any], x: HostArray, y0: HostArray, y: HostArray) -> HostArray:
    """Return ``|y[t] - f(y[t-1], x[t])|`` in double precision."""
    before = np.concatenate([_oracle.wide(y0)[None], _oracle.wide(y[:-1])])
    residual: HostArray = np.abs(_oracle.wide(y) - f(before, _oracle.wide(x)))
    return residual


def _chaos(backend: Backend) -> None:
    """Solve exactly what no parallel method can solve fast."""
    f = logistic(3.95)
    for dtype in real_dtypes(backend):
        x, y0 = np.zeros((90, 3, 1), dtype), np.array([[0.3], [0.6], [0.2]], dtype)
        with context(dtype):
            solution = deer(f, lambda y, x: 3.95 * (1 - 2 * y), x, y0, backend=backend, window=90)
            expect(solution.success, f"`success` must be True; got {solution!r}.")
            y = on_backend(backend, solution.y, x.shape, dtype, "y")
            allowed = solver_tolerance(dtype)
            close(_residual(f, x, y0, y), np.zeros(x.shape), allowed, "residual")


def _overflow(backend: Backend) -> None:
    """Report that the recurrence itself leaves the range; solve the other sequences."""
    for dtype in real_dtypes(backend):
        x, y0 = np.zeros((30, 3, 1), dtype), np.array([[0.5], [2.0], [0.9]], dtype)
        finite = 9 if dtype == "float64" else 6
        with context(dtype):
            _leaves_the_range(backend, lambda y, x: y * y + x, lambda y, x: 2 * y, x, y0, finite)


def _not_a_number(backend: Backend) -> None:
    """Report that the step function gives NaN; solve the other sequences."""
    for dtype in real_dtypes(backend):
        x, y0 = np.zeros((30, 3, 1), dtype), np.ones((3, 1), dtype)
        x[:, 1] = 0.5
        with context(dtype):
            _leaves_the_range(
                backend, lambda y, x: np.sqrt(y) - x, lambda y, x: 0.5 / np.sqrt(y), x, y0, 3
            )


def _leaves_the_range(
    backend: Backend,
    f: Callable[[Any, Any], Any],
    jac: Callable[[Any, Any], Any],
    x: HostArray,
    y0: HostArray,
    finite: int,
) -> None:
    """Expect of three sequences that the second one ends after some finite steps."""
    dtype = str(y0.dtype)
    solution = deer(f, jac, x, y0, backend=backend, window=len(x), on_failure="return")
    equal(solution.success, False, "success")
    equal(solution.status, Status.NON_FINITE, "status")
    equal(solution.converged_steps.tolist(), [len(x), finite, len(x)], "converged_steps")
    y, expected = on_backend(backend, solution.y, x.shape, dtype, "y"), _exact(f, x, y0)
    for k, n in ((0, len(x)), (1, finite), (2, len(x))):
        right = expected[:n, k]
        allowed = solver_tolerance(dtype) + 1e3 * eps(dtype) * np.abs(right)
        close(y[:n, k], right, allowed, f"y[:, {k}]")


def _exact(f: Callable[[Any, Any], Any], x: HostArray, y0: HostArray) -> HostArray:
    return _oracle.trajectory(f, _oracle.wide(x), y0, len(x))


def _identity(backend: Backend) -> None:
    """Iterate functions whose values share memory with their arguments."""
    for dtype in backend.capabilities.dtypes:
        y0 = noise(np.random.default_rng(2), (3, 4), dtype)
        for name, f in {
            "the state": lambda y, x: y,
            "the state reversed": lambda y, x: y[..., ::-1],
        }.items():
            with context(f"{dtype}, {name}"):
                solution = deer(f, "2-point", None, y0, backend=backend, n_steps=6)
                expected = _oracle.trajectory(f, np.zeros(6), y0, 6)
                _solved(backend, solution, expected, solver_tolerance(dtype), dtype)


def _layers(backend: Backend) -> None:
    rng = np.random.default_rng(4)

    def layer(y: Any, p: Any) -> Any:
        return np.tanh((p["W"] @ y[..., None])[..., 0] + p["b"])

    for dtype in backend.capabilities.dtypes:
        W = random_matrices(rng, "dense", (24, 1, 5), dtype) * np.array(0.5, dtype)
        layers = {"W": W, "b": (0.2 * noise(rng, (24, 1, 5), dtype)).astype(dtype)}
        y0 = (0.2 * noise(rng, (3, 5), dtype)).astype(dtype)
        wide = {k: _oracle.wide(v) for k, v in layers.items()}
        with context(dtype):
            solution = deeppcr(layer, "2-point", layers, y0, backend=backend)
            expected = _oracle.trajectory(layer, wide, y0, 24)
            _solved(backend, solution, expected, solver_tolerance(dtype), dtype)


def _sequential(backend: Backend) -> None:
    for dtype in backend.capabilities.dtypes:
        for batch in ((), (3,)):
            with context(f"{dtype}, batch {batch}"):
                r = recurrence(backend, "dense", dtype, batch=batch)
                solution = sequential(r.f, r.x, r.y0, backend=backend)
                _solved(backend, solution, r.trajectory(), solver_tolerance(dtype), dtype)
                equal(solution.status, Status.SEQUENTIAL, "status")


def _jacobi_family(backend: Backend) -> None:
    solvers: dict[str, Callable[..., Solution]] = {
        "jacobi": jacobi,
        "jacobi, windows": partial(jacobi, window=13),
        "gauss_seidel": gauss_seidel,
        "gs_jacobi": partial(gs_jacobi, block_size=8),
        "jacobi_gs": partial(jacobi_gs, block_size=7),
    }
    for dtype in backend.capabilities.dtypes:
        for batch in ((), (3,)):
            r = recurrence(backend, "dense", dtype, n_steps=40, batch=batch)
            h = triangular_map(r.f, r.x, r.y0, backend=backend)
            for name, solver in solvers.items():
                with context(f"{name}, {dtype}, batch {batch}"):
                    solution = solver(h, np.zeros(h.shape, dtype))
                    _solved(backend, solution, r.trajectory(), solver_tolerance(dtype), dtype)


def _linear(backend: Backend) -> None:
    rng = np.random.default_rng(6)
    for dtype in backend.capabilities.dtypes:
        for batch in ((), (3,), (2, 2)):
            b, y0 = noise(rng, (20, *batch, 4), dtype), noise(rng, (*batch, 4), dtype)
            flat = (20, int(np.prod(batch)), 4)
            dense = random_matrices(rng, "dense", flat, dtype).reshape(20, *batch, 4, 4)
            halves = random_matrices(rng, "dense", (20, 2 * flat[1], 2), dtype)
            matrices = {
                "diagonal": random_matrices(rng, "diagonal", flat, dtype).reshape(b.shape),
                "block-diagonal": halves.reshape(20, *batch, 2, 2, 2),
                "dense": dense,
                "dense, one step for all": dense[:1],
            }
            for name, A in matrices.items():
                full = np.broadcast_to(A, (20, *A.shape[1:]))
                for reverse in (False, True):
                    with context(f"{dtype}, {name}, batch {batch}, reverse={reverse}"):
                        expected = _oracle.linear_recurrence(full, b, y0, reverse=reverse)
                        for y in (
                            linear_recurrence(A, b, y0, backend=backend, reverse=reverse),
                            cyclic_reduction(A, b, y0, backend=backend, reverse=reverse),
                        ):
                            host = on_backend(backend, y, b.shape, dtype, "y")
                            close(host, expected, rounding("dense", 4, dtype), "y")


def _linear_out(backend: Backend) -> None:
    rng = np.random.default_rng(7)
    for dtype in backend.capabilities.dtypes:
        A = random_matrices(rng, "dense", (20, 3, 4), dtype)
        b, y0 = noise(rng, (20, 3, 4), dtype), noise(rng, (3, 4), dtype)
        expected = _oracle.linear_recurrence(A, b, y0)
        device, host = backend.asarray(np.zeros_like(b)) + 0, np.zeros_like(b)
        own = backend.asarray(b) + 0
        for name, right, out in (
            ("on the backend", b, device),
            ("in host memory", backend.asarray(b), host),
            ("is `b`", own, own),
        ):
            with context(f"{dtype}, out {name}"):
                y = linear_recurrence(A, right, y0, backend=backend, out=out)
                equal(y is out, True, "y is out")
                y = out if isinstance(out, np.ndarray) else backend.to_numpy(out)
                close(y, expected, rounding("dense", 4, dtype), "out")


def _on_failure(on_failure: OnFailure, backend: Backend) -> None:
    """Run out of iterations, in one sequence of three."""
    dtype = real_dtypes(backend)[-1] if real_dtypes(backend) else backend.capabilities.dtypes[0]
    rate = np.array([0.1, 3.9, 0.5])[:, None]
    x, y0 = np.broadcast_to(rate, (80, 3, 1)).astype(dtype), np.full((3, 1), 0.3, dtype)
    solution: Solution | None = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            solution = deer(
                lambda y, x: x * y * (1 - y),
                lambda y, x: x * (1 - 2 * y),
                x,
                y0,
                backend=backend,
                window=80,
                maxiter=9,
                on_failure=on_failure,
            )
        except ConvergenceError as error:
            equal(on_failure, "raise", "on_failure")
            solution = error.solution
        else:
            expect(on_failure != "raise", "ConvergenceError must be raised; nothing was.")
    told = [w for w in caught if issubclass(w.category, ConvergenceWarning)]
    equal(len(told), int(on_failure == "warn"), "number of warnings")
    y = on_backend(backend, solution.y, x.shape, dtype, "y")
    residual = _residual(lambda y, x: x * y * (1 - y), x, y0, y)[..., 0]
    solved = solution.converged_steps
    equal([int(solved[0]), int(solved[2])], [80, 80], "converged_steps[[0, 2]]")
    if on_failure == "sequential":
        expect(solution.success, f"`success` must be True; got {solution!r}.")
        equal(solution.status, Status.SEQUENTIAL, "status")
    else:
        equal(solution.success, False, "success")
        equal(solution.status, Status.MAXITER, "status")
        expect(9 <= solved[1] < 80, f"`converged_steps[1]` must be in [9, 80); got {solved[1]}.")
        expect(np.isfinite(y).all(), "`y` must be finite: the best iterate.")
    for k in range(3):
        prefix = residual[: solved[k], k]
        close(prefix, np.zeros(prefix.shape), solver_tolerance(dtype), "residual")
