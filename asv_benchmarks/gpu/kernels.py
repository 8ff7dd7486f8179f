"""Each primitive's bytes per second over shapes and dtypes, each result verified."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import cupy
import numpy as np

import seqsolve
from gpu import verify
from gpu.figures import Case, Session
from gpu.measure import measured, n_sets, random, release


class Shape(NamedTuple):
    """A recurrence's size."""

    n_steps: int
    n_batch: int
    n_state: int
    dense: bool = False
    dtype: str = "float32"

    def case(self) -> Case:
        """Return it as the report has it."""
        return {
            "n_steps": self.n_steps,
            "n_batch": self.n_batch,
            "n_state": self.n_state,
            "matrices": "dense" if self.dense else "diagonal",
            "dtype": self.dtype,
        }


#: The targets' shapes first, then the most telling.
SHAPES = [
    Shape(2**24, 1, 1),
    Shape(2**14, 1, 2**12),
    Shape(2**28, 1, 1),
    Shape(2**22, 1, 2, dense=True),
    Shape(2**21, 1, 4, dense=True),
    Shape(2**12, 2**12, 2, dense=True),
    Shape(2**10, 2**12, 4, dense=True),
    Shape(2**26, 1, 1),
    Shape(2**16, 1, 2**10),
    Shape(2**20, 16, 1),
    Shape(2**20, 1, 8, dense=True),
    Shape(2**18, 1, 16, dense=True),
    Shape(2**16, 1, 32, dense=True),
    Shape(2**14, 1, 64, dense=True),
    Shape(2**10, 2**10, 8, dense=True),
    Shape(2**24, 1, 1, dtype="float64"),
    Shape(2**21, 1, 4, dense=True, dtype="float64"),
    Shape(2**24, 1, 1, dtype="complex64"),
    Shape(2**23, 1, 1, dtype="complex128"),
    Shape(2**21, 1, 3, dense=True),
    Shape(2**20, 1, 2, dense=True, dtype="complex64"),
    Shape(2**12, 1, 128, dense=True),
]

#: Systems of cyclic reduction; the ones of wide matrices are DeepPCR's.
SYSTEMS = [
    Shape(1024, 1, 256, dense=True),
    Shape(2**20, 1, 4, dense=True),
    Shape(1024, 64, 4, dense=True),
    Shape(1024, 1, 64, dense=True),
    Shape(1024, 1, 16, dense=True),
    Shape(2**17, 1, 12, dense=True),
    Shape(2**17, 1, 16, dense=True),
    Shape(2**20, 1, 2, dense=True),
    Shape(2**24, 1, 1),
    Shape(1024, 1, 128, dense=True),
]

ROUNDS = "batched cuBLAS, all rounds"

#: Of the test of the residual.
RTOL = 1e-3


def sized(session: Session, shape: Shape) -> Shape:
    """Return the shape, or a small one where the report itself is tested."""
    n_state = session.size(shape.n_state, 4 if shape.dense else 64)
    n_steps, n_batch = session.size(shape.n_steps), session.size(shape.n_batch, 3)
    return shape._replace(n_steps=n_steps, n_batch=n_batch, n_state=n_state)


def system(shape: Shape, largest: float, seed: int = 0) -> tuple[Any, Any]:
    """Return random contractive matrices, and a right-hand side."""
    n_steps, n_batch, n, dense, dtype = shape
    if dense:
        bound = largest / n
        A = random((n_steps, n_batch, n, n), dtype, -bound, bound, seed)
    else:
        A = random((n_steps, n_batch, n), dtype, 0.5 * largest, largest, seed)
    return A, random((n_steps, n_batch, n), dtype, -1.0, 1.0, seed + 1)


def measure_primitives(session: Session) -> None:
    """Measure the three primitives."""
    backend = seqsolve.get_backend("cupy")
    for shape in session.cases(SHAPES):
        shape = sized(session, shape)
        case = shape.case()
        for variant, measure in (
            ("linear_recurrence", measure_recurrence),
            ("newton_update", measure_newton_update),
            ("residual_test", measure_residual_test),
        ):
            session.add(case, variant, partial(measure, session, backend, shape))
            release()


def measure_recurrence(
    session: Session, backend: Any, shape: Shape, method: str = "auto"
) -> dict[str, Any]:
    """Return the time, floor and deviation of solving a linear recurrence."""

    def call(A: Any, b: Any, y: Any) -> Any:
        return lambda: backend.linear_recurrence(
            A, b, None, reverse=False, transpose=False, method=method, out=y
        )

    return measured_recurrence(session, shape, call)


def measured_recurrence(session: Session, shape: Shape, call: Any) -> dict[str, Any]:
    """Return the time, floor and deviation of ``call(A, b, y)()``, which writes `y`."""
    A, b = system(shape, 0.99)
    n_bytes = A.nbytes + 2 * b.nbytes
    sets = [(A, b, poisoned(b))]
    for seed in range(1, n_sets(session, n_bytes)):
        A, b = system(shape, 0.99, seed)
        sets.append((A, b, poisoned(b)))
    calls = [call(*arrays) for arrays in sets]
    for run in calls:
        run()
    deviation = max(verify.recurrence(*arrays) for arrays in sets)
    for _, _, y in sets:
        y.fill(np.nan)
    result = measured(session, calls, n_bytes=n_bytes)
    deviation = max(deviation, *(verify.recurrence(*arrays) for arrays in sets))
    return {**result, "deviation": deviation}


def measure_newton_update(session: Session, backend: Any, shape: Shape) -> dict[str, Any]:
    """Return the time, floor and deviation of one update."""
    return measured_newton_update(
        session,
        shape,
        lambda A, fy, y: lambda: backend.newton_update(A, fy, y, method="auto"),
    )


def measured_newton_update(session: Session, shape: Shape, call: Any) -> dict[str, Any]:
    """Return the time, floor and deviation of ``call(A, fy, y)()``, which updates `y`."""
    sets = []
    n_bytes = 0
    while len(sets) < (n_sets(session, n_bytes) if sets else 1):
        A, fy = system(shape, 0.4, len(sets))  # so small that repeated updates do not grow
        sets.append((A, fy, fy + 0.1 * fy[::-1]))
        n_bytes = A.nbytes + 3 * fy.nbytes
    calls = [call(*arrays) for arrays in sets]
    deviation = max(
        _update_deviation(*arrays, run) for arrays, run in zip(sets, calls, strict=True)
    )
    result = measured(session, calls, n_bytes=n_bytes)
    A, fy, y = sets[-1]
    y[...] = fy - 0.1 * fy[::-1]
    deviation = max(deviation, _update_deviation(A, fy, y, calls[-1]))
    return {**result, "deviation": deviation}


def _update_deviation(A: Any, fy: Any, y: Any, run: Any) -> float:
    old = y.copy()
    run()
    return verify.newton_update(A, fy, old, y)


def measure_residual_test(session: Session, backend: Any, shape: Shape) -> dict[str, Any]:
    """Return the time, floor and deviation of the test of the residual."""
    sets: list[tuple[Any, Any]] = []
    n_bytes = 0
    while len(sets) < (n_sets(session, n_bytes) if sets else 1):
        y = random(shape[:3], shape.dtype, -1.0, 1.0, len(sets))
        fy = y.copy()
        fy[2 * shape.n_steps // 3] += 1
        sets.append((y, fy))
        n_bytes = 2 * y.nbytes
    atol = cupy.zeros(shape.n_state, dtype=np.empty(0, shape.dtype).real.dtype)
    calls = [lambda y=y, fy=fy: backend.residual_test(y, fy, RTOL, atol) for y, fy in sets]
    deviation = max(
        verify.residual_test(y, fy, RTOL, run()) for (y, fy), run in zip(sets, calls, strict=True)
    )
    note = "its result copied to the host"
    return {**measured(session, calls, n_bytes=n_bytes), "deviation": deviation, "note": note}


def measure_reduction(session: Session) -> None:
    """Measure cyclic reduction against the scan and against rounds of batched products."""
    from seqsolve.portable import cyclic_reduction

    backend = seqsolve.get_backend("cupy")

    def rounds(A: Any, b: Any, y: Any) -> Any:
        return lambda: cupy.copyto(y, cyclic_reduction(cupy, A, b))

    for shape in session.cases(SYSTEMS, 1):
        shape = sized(session, shape)
        case = shape.case()
        for method in ("cyclic_reduction", "scan"):
            session.add(case, method, partial(measure_recurrence, session, backend, shape, method))
        session.add(case, ROUNDS, partial(measured_recurrence, session, shape, rounds))
        release()


def poisoned(like: Any) -> Any:
    """Return an array of NaN."""
    return cupy.full(like.shape, np.nan, dtype=like.dtype)
