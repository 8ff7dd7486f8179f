"""Element steps, compiled and fused: by the CuPy backend, and by Numba."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from benchmarks.common import gru_problem

import seqsolve
from gpu.figures import Case, Session
from gpu.kernels import Shape, measure_recurrence, sized
from gpu.measure import measured_by_user, release
from gpu.targets import TOLERANCE

#: Units, sequences, steps.
GRUS = [(1, 1, 10**5), (1, 16, 10**5), (4, 1, 10**5), (4, 1024, 10**4), (16, 1, 10**4)]

#: Recurrences of Numba's kernels.
RECURRENCES = [Shape(2**24, 1, 1), Shape(2**21, 1, 4, dense=True), Shape(2**10, 2**12, 4, True)]


def measure_element_steps(session: Session) -> None:
    """Measure stepping, Newton's method and sweeps on both backends, and Numba's recurrences."""
    numba = seqsolve.get_backend("numba")
    on_device = type(numba).__name__ == "CudaBackend"
    if not (on_device or session.tiny):
        note = f"does not use the device: {numba.describe().get('cuda', '')}"
        session.add({}, "Numba", lambda: {"seconds": None, "note": note})
    for shape in session.cases(RECURRENCES) if on_device else ():
        shape = sized(session, shape)
        measure = partial(measure_recurrence, session, numba, shape)
        session.add(shape.case(), "linear_recurrence, numba", measure)
        release()
    backends = [seqsolve.get_backend("cupy"), *([numba] if on_device or session.tiny else [])]
    for n_units, n_batch, n_steps in session.cases(GRUS, 1):
        case = {
            "n_units": n_units,
            "n_batch": session.size(n_batch, 3),
            "n_steps": session.size(n_steps, 24),
        }
        for backend in backends:
            session.attempt(case, _element_step, session, backend, case)
            release()


def _element_step(session: Session, backend: Any, case: Case) -> None:
    n_units, n_batch, n_steps = case.values()
    cell, x, y0 = gru_problem(n_units, n_steps, (n_batch,))
    exact = seqsolve.sequential(cell, x, y0, backend="numpy").y
    for variant, solve in _solves(backend, cell.element_step(), backend.asarray(x), y0).items():
        session.add(
            case,
            f"{variant}, {backend.name}",
            partial(_solved, session, backend, solve, x.nbytes, exact),
        )


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
