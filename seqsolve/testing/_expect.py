"""Comparisons that say what was expected, and what came."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from seqsolve.backend import Array, Backend
from seqsolve.testing._oracle import HostArray

#: The norm of random matrices.
NORM = 0.8


def eps(dtype: str) -> float:
    """Return the rounding unit of a dtype."""
    return float(np.finfo(dtype).eps)


@contextmanager
def context(what: str) -> Iterator[None]:
    """Say in failures inside the block what was tried."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from None
    except Exception as error:
        raise AssertionError(f"{what}: raised {type(error).__name__}: {error}") from error


def expect(condition: object, message: str) -> None:
    """Raise AssertionError with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def equal(got: Any, expected: Any, what: str) -> None:
    """Expect one thing, compared by ``==``."""
    expect(got == expected, f"`{what}` must be {expected!r}; got {got!r}.")


def on_backend(backend: Backend, got: Any, shape: tuple[int, ...], dtype: str, what: str) -> Any:
    """Expect an array of the backend of that shape and dtype; return it in host memory."""
    kind = type(backend.asarray(np.zeros(1)))
    expect(
        isinstance(got, kind),
        f"`{what}` must be an array of the backend ({kind.__name__}); got {type(got).__name__}.",
    )
    equal(tuple(got.shape), shape, f"{what}.shape")
    equal(str(got.dtype), dtype, f"{what}.dtype")
    host = backend.to_numpy(got)
    expect(
        isinstance(host, np.ndarray),
        f"`to_numpy` must return a NumPy array; got {type(host).__name__}.",
    )
    return host


def close(got: HostArray, expected: HostArray, allowed: Any, what: str) -> None:
    """Expect values within an absolute error, which may differ from element to element."""
    equal(got.shape, expected.shape, f"{what}.shape")
    error = np.where(got == expected, 0.0, np.abs(got - expected))
    wrong = ~(error <= allowed)
    if not wrong.any():
        return
    worst = np.unravel_index(
        int(np.argmax(np.where(wrong, np.where(np.isnan(error), np.inf, error), -1.0))), error.shape
    )
    index = ", ".join(str(int(i)) for i in worst)
    bound = float(np.broadcast_to(allowed, error.shape)[worst])
    raise AssertionError(
        f"`{what}[{index}]` must be {expected[worst]:.9g} within {bound:.2g}; "
        f"got {got[worst]:.9g} ({int(wrong.sum())} of {wrong.size} values are wrong)."
    )


def unchanged(backend: Backend, array: Array, before: HostArray, what: str) -> None:
    """Expect that an input still holds what it held."""
    same = np.array_equal(backend.to_numpy(array), before, equal_nan=True)
    expect(same, f"`{what}` must not be written to; it has changed.")


def owned(backend: Backend, a: HostArray, dtype: str | None = None) -> Array:
    """Return a writable array of the backend that shares memory with nothing else."""
    return backend.asarray(np.array(a, dtype)) + 0


def real_dtypes(backend: Backend) -> list[str]:
    """Return the real dtypes that a backend declares."""
    return [d for d in backend.capabilities.dtypes if np.dtype(d).kind == "f"]


def methods(backend: Backend) -> tuple[str, ...]:
    """Return all methods of a backend's linear solver."""
    return ("auto", *backend.capabilities.linear_solvers)


def random_matrices(
    rng: np.random.Generator, structure: str, size: tuple[int, int, int], dtype: str
) -> HostArray:
    """Return matrices of norm `NORM`: what is wrong at one step shows in few others."""
    A = noise(rng, size if structure == "diagonal" else (*size, size[2]), dtype)
    norm = np.abs(A) if structure == "diagonal" else np.linalg.norm(A, 2, (-2, -1), keepdims=True)
    contracting: HostArray = (A * (NORM / np.maximum(norm, 1e-3))).astype(dtype)
    return contracting


def rounding(structure: str, n_state: int, dtype: str) -> float:
    """Return the error allowed in a recurrence of such matrices, its input about one.

    A step that sums n terms rounds by (n + 2) eps of the state's size, which
    is the input's over ``1 - NORM``; the errors of all steps add up to another
    ``1 / (1 - NORM)``. A factor of 4 is left for other orders of summation.
    """
    n_terms = n_state if structure == "dense" else 1
    return 4 * (n_terms + 2) * eps(dtype) * math.sqrt(2 * n_state) / (1 - NORM) ** 2


def precision(dtype: str) -> str:
    """Return the dtype of the magnitudes of `dtype`."""
    return np.finfo(dtype).dtype.name


def noise(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> HostArray:
    """Return numbers of magnitude about one."""
    values: HostArray = rng.uniform(-1, 1, shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.uniform(-1, 1, shape)
    return values.astype(dtype)
