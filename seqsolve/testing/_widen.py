"""Inputs in double precision, to differentiate at."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqsolve.backend import Array, Backend

_WIDER = {"float32": "float64", "complex64": "complex128"}


def is_inexact(a: Any) -> bool:
    """Return whether an array holds real or complex numbers, not integers."""
    return np.dtype(str(a.dtype)).kind in "fc"


def wider(backend: Backend, dtype: str) -> str:
    """Return the dtype in double precision, or the dtype where the backend has none."""
    wide = _WIDER.get(dtype, dtype)
    return wide if wide in backend.capabilities.dtypes else dtype


def widen(backend: Backend, a: Any) -> Array:
    """Return an array in double precision, as far as the backend has it."""
    if not is_inexact(a):
        return a
    return backend.asarray(a, dtype=wider(backend, str(a.dtype)))
