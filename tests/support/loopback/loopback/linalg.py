"""Linear algebra, which tells of no singular matrix, as on a device."""

from __future__ import annotations

from typing import Any

import numpy as np

from loopback._array import Array, unwrap, wrap


def solve(a: Array, b: Array) -> Array:
    """Solve many linear systems; what singular matrices give is not finite."""
    matrices, right = unwrap(a), unwrap(b)
    try:
        return wrap(np.linalg.solve(matrices, right))
    except np.linalg.LinAlgError:
        if matrices.ndim == 2:
            return wrap(np.full_like(right, np.nan))
        return wrap(
            np.stack([solve(wrap(M), wrap(v)).get() for M, v in zip(matrices, right, strict=True)])
        )


def pinv(a: Array) -> Array:
    """Return the pseudo-inverse."""
    return wrap(np.linalg.pinv(unwrap(a)))


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module 'loopback.linalg' has no attribute {name!r}")
