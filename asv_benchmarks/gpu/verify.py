"""Whether results are right, on the device: each step must follow from the one before.

A deviation is relative to what is tolerated; more than 1, or NaN, is wrong.
That every step of a trajectory satisfies its recurrence proves the whole of it.
"""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

#: Relative deviations that are tolerated, by the size of a real number in bytes.
TOLERANCE = {4: 1e-5, 8: 1e-11}

#: Numbers that are compared at a time.
_AT_ONCE = 2**26


def recurrence(A: Any, b: Any, y: Any) -> float:
    """Return the deviation from ``y[t] = A[t] y[t-1] + b[t]``, zero before the first step."""
    zero = cupy.zeros_like(y[:1])

    def residual(part: slice, before: Any) -> tuple[Any, Any]:
        product, size = _product(A[part], before)
        return y[part] - product - b[part], abs(y[part]) + size + abs(b[part])

    return _worst(residual, y, lambda start: y[start - 1 : start] if start else zero, A.ndim)


def newton_update(A: Any, fy: Any, old: Any, y: Any) -> float:
    """Return the deviation from ``y[t] = fy[t] + A[t] (y[t-1] - old[t-1])``, first ``fy[0]``."""
    zero = cupy.zeros_like(y[:1])

    def residual(part: slice, before: Any) -> tuple[Any, Any]:
        start, stop, _ = part.indices(len(y))
        before_old = cupy.concatenate([old[start - 1 : start] if start else zero, old[part][:-1]])
        product, size = _product(A[part], before - before_old)
        _, large = _product(A[part], abs(before) + abs(before_old))
        if not start:
            product[0] = size[0] = large[0] = 0
        return y[start:stop] - product - fy[part], abs(y[part]) + large + abs(fy[part])

    return _worst(residual, y, lambda start: y[start - 1 : start] if start else zero, A.ndim)


def residual_test(y: Any, fy: Any, rtol: float, result: tuple[Any, Any]) -> float:
    """Return the deviation of first failing steps and largest residuals, `atol` being 0."""
    first, largest = result
    expected, expected_largest = np.full(y.shape[1], len(y)), np.zeros(y.shape[1])
    for part in reversed(_parts(y)):
        difference = abs(y[part] - fy[part])
        fails = ~(difference <= rtol * abs(y[part])).all(axis=2)
        found = cupy.asnumpy(cupy.where(fails.any(axis=0), fails.argmax(axis=0), -1))
        expected = np.where(found >= 0, part.start + found, expected)
        expected_largest = np.maximum(expected_largest, cupy.asnumpy(difference.max(axis=(0, 2))))
    if not (first == expected).all():
        return float("inf")
    over = np.abs(largest - expected_largest).max() / expected_largest.max()
    return float(over) / TOLERANCE[y.real.itemsize]


def same(a: Any, b: Any, tolerance: float | None = None) -> float:
    """Return the deviation of one array from another, relative to the largest number in it."""
    tolerance = TOLERANCE[b.real.itemsize] if tolerance is None else tolerance
    return float(abs(a - b).max() / abs(b).max()) / tolerance


def _worst(residual: Any, y: Any, before_first: Any, A_ndim: int) -> float:
    worst = 0.0
    for part in _parts(y, y.shape[-1] if A_ndim == 4 else 1):
        before = cupy.concatenate([before_first(part.start), y[part][:-1]])
        r, size = residual(part, before)
        tolerance = TOLERANCE[y.real.itemsize] * (size + 1e-2 * size.max())
        ratio = float((abs(r) / tolerance).max())
        worst = max(worst, ratio) if ratio == ratio else float("inf")
    return worst


def _product(A: Any, v: Any) -> tuple[Any, Any]:
    """Return ``A v`` and ``|A| |v|``."""
    if A.ndim == v.ndim:
        return A * v, abs(A * v)
    products = A * v[..., None, :]
    return products.sum(axis=-1), abs(products).sum(axis=-1)


def _parts(y: Any, entries: int = 1) -> list[slice]:
    """Return slices of steps that are compared at a time."""
    steps = max(1, _AT_ONCE // (y[0].size * entries))
    return [slice(start, min(start + steps, len(y))) for start in range(0, len(y), steps)]
