"""Each primitive's bytes per second, and cyclic reduction against its rivals."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

import seqsolve
from gpu.measure import Session, random
from seqsolve.portable import cyclic_reduction as batched_products

PRIMITIVES = "Primitives at the speed of memory"
REDUCTION = "Cyclic reduction"

#: n_steps, n_batch, n_state, dense, dtype; the most telling first.
SHAPES = [
    (2**24, 1, 1, False, "float32"),
    (2**14, 1, 2**12, False, "float32"),
    (2**22, 1, 2, True, "float32"),
    (2**21, 1, 4, True, "float32"),
    (2**28, 1, 1, False, "float32"),
    (2**26, 1, 1, False, "float32"),
    (2**16, 1, 2**10, False, "float32"),
    (2**20, 16, 1, False, "float32"),
    (2**10, 2**12, 4, True, "float32"),
    (2**12, 2**12, 2, True, "float32"),
    (2**20, 1, 8, True, "float32"),
    (2**18, 1, 16, True, "float32"),
    (2**16, 1, 32, True, "float32"),
    (2**14, 1, 64, True, "float32"),
    (2**10, 2**10, 8, True, "float32"),
    (2**24, 1, 1, False, "float64"),
    (2**21, 1, 4, True, "float64"),
    (2**23, 1, 1, False, "complex128"),
    (2**24, 1, 1, False, "complex64"),
    (2**12, 1, 128, True, "float32"),
]

#: n_steps, n_batch, n_state of cyclic reduction; the last ones are DeepPCR's.
SYSTEMS = [
    (1024, 1, 256),
    (1024, 1, 64),
    (1024, 64, 4),
    (2**20, 1, 4),
    (1024, 1, 16),
    (2**17, 1, 16),
    (2**20, 1, 2),
    (1024, 1, 128),
]


def measure_primitives(session: Session) -> None:
    """Measure the three primitives over shapes and dtypes."""
    backend = seqsolve.get_backend("cupy")
    for shape in session.cases(SHAPES):
        n_steps, n_batch, n_state = map(session.size, shape[:3])
        dense, dtype = shape[3:]
        case = {
            "n_steps": n_steps,
            "n_batch": n_batch,
            "n_state": n_state,
            "matrices": "dense" if dense else "diagonal",
            "dtype": dtype,
        }
        A, b = _system(n_steps, n_batch, n_state, dense, dtype)
        y, fy = cupy.empty_like(b), b * 0.5
        atol = cupy.zeros(n_state, dtype=np.empty(0, dtype).real.dtype)
        session.add(
            PRIMITIVES,
            case,
            "linear_recurrence",
            lambda A=A, b=b, y=y: backend.linear_recurrence(
                A, b, None, reverse=False, transpose=False, method="auto", out=y
            ),
            n_bytes=A.nbytes + 2 * b.nbytes,
            on_device=True,
        )
        session.add(
            PRIMITIVES,
            case,
            "newton_update",
            lambda A=A, fy=fy, y=y: backend.newton_update(A, fy, y, method="auto"),
            n_bytes=A.nbytes + 3 * b.nbytes,
            on_device=True,
        )
        session.add(
            PRIMITIVES,
            case,
            "residual_test",
            lambda fy=fy, b=b, atol=atol: backend.residual_test(b, fy, 1e-3, atol),
            n_bytes=2 * b.nbytes,
            on_device=True,
        )


def measure_cyclic_reduction(session: Session) -> None:
    """Measure cyclic reduction against the scan and against rounds of batched products."""
    backend = seqsolve.get_backend("cupy")
    for n_steps, n_batch, n_state in (
        tuple(map(session.size, system)) for system in session.cases(SYSTEMS)
    ):
        if session.tiny:
            n_state = min(n_state, 4)
        case = {"n_steps": n_steps, "n_batch": n_batch, "n_state": n_state, "dtype": "float32"}
        A, b = _system(n_steps, n_batch, n_state, True, "float32")
        for method in ("cyclic_reduction", "scan"):
            session.add(
                REDUCTION,
                case,
                method,
                lambda A=A, b=b, method=method: backend.linear_recurrence(
                    A, b, None, reverse=False, transpose=False, method=method, out=None
                ),
                n_bytes=A.nbytes + 2 * b.nbytes,
                on_device=True,
            )
        session.add(
            REDUCTION,
            case,
            "batched cuBLAS, all rounds",
            lambda A=A, b=b: batched_products(cupy, A, b),
            n_bytes=A.nbytes + 2 * b.nbytes,
            on_device=True,
        )


def _system(n_steps: int, n_batch: int, n_state: int, dense: bool, dtype: str) -> tuple[Any, Any]:
    """Return contractive matrices and a right-hand side."""
    if dense:
        bound = 0.9 / n_state
        A = random((n_steps, n_batch, n_state, n_state), dtype, -bound, bound)
    else:
        A = random((n_steps, n_batch, n_state), dtype, 0.5, 0.99)
    return A, random((n_steps, n_batch, n_state), dtype, -1.0, 1.0)
