"""Linear algebra that CuPy has as well."""

from __future__ import annotations

from typing import Any

import numpy as np
from cupy._array import compute

_FUNCTIONS = {"cholesky", "det", "eigh", "eigvalsh", "inv", "norm", "pinv", "qr", "solve", "svd"}


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        fun = getattr(np.linalg, name)
        return lambda *args, **kwargs: compute(fun, *args, **kwargs)
    raise AttributeError(f"module 'cupy.linalg' has no attribute {name!r}")
