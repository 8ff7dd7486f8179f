"""Kernels that Numba compiles: element steps, sweeps and the noise of likelihood ratios."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from benchmarks.common import gru_problem

import seqsolve
from gpu.figures import Case, Session
from gpu.kernels import Shape, measure_recurrence, sized
from gpu.measure import measured, measured_by_user, release
from gpu.solvers import TOLERANCE
from seqsolve.random import NoiseStream, add_noise, weigh_noise

#: Units, sequences, steps.
GRUS = [(1, 1, 10**5), (1, 16, 10**5), (4, 1, 10**5), (4, 1024, 10**4), (16, 1, 10**4)]

#: Copies, data, units.
LAYERS = [(64, 128, 1024), (1, 4096, 4096)]

STREAM = NoiseStream((1, 2), 3, "normal", False, None)

RECURRENCES = [Shape(2**24, 1, 1), Shape(2**21, 1, 4, dense=True), Shape(2**10, 2**12, 4, True)]


def measure_numba(session: Session) -> None:
    """Measure the backend "numba" on the device."""
    backend = seqsolve.get_backend("numba")
    device = backend.describe().get("cuda", "")
    if type(backend).__name__ != "CudaBackend" and not session.tiny:
        note = f"the backend does not use the device: {device}"
        session.add({}, "numba", lambda: {"seconds": None, "note": note})
        return
    for n_units, n_batch, n_steps in session.cases(GRUS):
        case = {
            "n_units": n_units,
            "n_batch": session.size(n_batch, 3),
            "n_steps": session.size(n_steps),
        }
        session.attempt(case, _element_step, session, backend, case)
        release()
    for sizes in session.cases(LAYERS):
        n_copies, n_data, n_units = (session.size(n, 8) for n in sizes)
        case = {"n_copies": n_copies, "n_data": n_data, "n_units": n_units}
        session.attempt(case, _noise, session, backend, case)
        release()
    if type(backend).__name__ == "CudaBackend":
        for shape in session.cases(RECURRENCES):
            shape = sized(session, shape)
            measure = partial(measure_recurrence, session, backend, shape)
            session.add(shape.case(), "linear_recurrence", measure)
            release()


def _element_step(session: Session, backend: Any, case: Case) -> None:
    n_units, n_batch, n_steps = case.values()
    cell, x, y0 = gru_problem(n_units, n_steps, (n_batch,))
    exact = seqsolve.sequential(cell, x, y0, backend="numpy").y
    for variant, solve in _solves(backend, cell.element_step(), backend.asarray(x), y0).items():
        session.add(case, variant, partial(_solved, session, backend, solve, x.nbytes, exact))


def _solves(backend: Any, step: Any, x: Any, y0: Any) -> dict[str, Callable[[], Any]]:
    """Return every way to solve one recurrence."""
    h = seqsolve.triangular_map(step, x, y0, backend=backend)
    guess = backend.asarray(np.zeros(h.shape, np.float32))
    block = min(1024, guess.shape[0])
    given = {"on_failure": "return"}
    return {
        "sequential": lambda: seqsolve.sequential(step, x, y0, backend=backend),
        "deer, fused": lambda: seqsolve.deer(step, None, x, y0, backend=backend, **given),
        "jacobi": lambda: seqsolve.jacobi(h, guess, **given),
        "gs_jacobi": lambda: seqsolve.gs_jacobi(h, guess, block_size=block, **given),
        "jacobi_gs": lambda: seqsolve.jacobi_gs(h, guess, block_size=min(8, block), **given),
    }


def _solved(
    session: Session, backend: Any, solve: Callable[[], Any], n_bytes: int, exact: Any
) -> dict[str, Any]:
    solution = solve()
    difference = float(np.abs(backend.to_numpy(solution.y) - exact).max())
    return {
        **measured_by_user(session, solve, n_bytes=n_bytes + exact.nbytes),
        "deviation": difference / TOLERANCE if solution.success else float("inf"),
        "note": f"{solution.status.name.lower()}, nit {solution.nit}",
    }


def _noise(session: Session, backend: Any, case: Case) -> None:
    n_copies, n_data, n_units = case.values()
    z = np.random.default_rng(0).standard_normal((1, n_data, n_units), dtype=np.float32)
    weights = np.random.default_rng(1).standard_normal((n_copies, n_data), dtype=np.float32)
    session.add(case, "add_noise", partial(_noisy, session, backend, z, n_copies))
    session.add(case, "weigh_noise", partial(_weighed, session, backend, weights, n_units))


def _noisy(session: Session, backend: Any, z: Any, n_copies: int) -> dict[str, Any]:
    on_device = backend.asarray(z)

    def call(copies: range = range(n_copies)) -> Any:
        return backend.add_noise(on_device, 0.37, STREAM, copies)

    few = range(min(2, n_copies))
    deviation = _bits(backend.to_numpy(call(few)), add_noise(np, z, 0.37, STREAM, few))
    n_bytes = (1 + n_copies) * z.nbytes
    return {**measured(session, [call], n_bytes=n_bytes), "deviation": deviation}


def _weighed(session: Session, backend: Any, weights: Any, n_units: int) -> dict[str, Any]:
    n_copies, n_data = weights.shape
    few, copies = min(8, n_data), range(n_copies)
    exact = np.zeros((few, n_units), np.float32)
    weigh_noise(np, weights[:, :few], STREAM, copies, exact)
    on_device, out = backend.asarray(weights), backend.asarray(np.zeros((n_data, n_units), "f4"))

    def call() -> None:
        backend.weigh_noise(on_device, STREAM, copies, out)

    call()
    deviation = _bits(backend.to_numpy(out)[:few], exact)
    n_bytes = weights.nbytes + 2 * out.nbytes
    return {**measured(session, [call], n_bytes=n_bytes), "deviation": deviation}


def _bits(got: Any, expected: Any) -> float:
    """Return 0 where all bits agree."""
    return 0.0 if np.array_equal(got, expected) else float("inf")
