"""The parts of one step, shared by all recurrence kernels.

They are inlined, so that loops over a vector of known length unroll.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from seqsolve_numpy.kernels.access import row
from seqsolve_numpy.kernels.scalars import increment, size_bound, within


@register_jitable(inline="always")
def advance(new: Any, y: Any, state: Any) -> None:
    """Finish a step of the recurrence: `new` is the next value and state."""
    for i in range(state.shape[0]):
        y[i] = new[i]
        state[i] = new[i]


@register_jitable(inline="always")
def advance_newton(product: Any, fy: Any, y: Any, state: Any, limit: Any) -> None:
    """Finish a step of the Newton update: repair and store ``fy + product``, keep its increment.

    `product` and `state` may be the same vector. One sum over the whole vector
    tells whether any entry can need repair.
    """
    total = size_bound(fy[0] + product[0])
    for i in range(1, state.shape[0]):
        total += size_bound(fy[i] + product[i])
    if total <= limit:
        for i in range(state.shape[0]):
            p, old = product[i], y[i]
            y[i] = fy[i] + p
            state[i] = increment(fy[i], old, p)
    else:
        for i in range(state.shape[0]):
            old, new = y[i], fy[i] + product[i]
            if not within(new, limit):
                new = fy[i] if np.isfinite(fy[i]) else old
            y[i] = new
            state[i] = new - old


@register_jitable(inline="always")
def add_product_by_rows(A: Any, t: int, k: int, state: Any, new: Any) -> None:
    """Add ``M @ state`` to `new`, where ``A[t, k, i]`` is row ``i`` of ``M``."""
    n = state.shape[0]
    for i in range(n):
        a = row(A, (t, k, i))
        total = new[i]
        for j in range(n):
            total += a[j] * state[j]
        new[i] = total


@register_jitable(inline="always")
def add_product_by_columns(A: Any, t: int, k: int, state: Any, new: Any) -> None:
    """Add ``M @ state`` to `new`, where ``A[t, k, j]`` is column ``j`` of ``M``."""
    n = state.shape[0]
    for j in range(n):
        a = row(A, (t, k, j))
        for i in range(n):
            new[i] += a[i] * state[j]


@register_jitable(inline="always")
def add_long_product_by_rows(A: Any, t: int, k: int, state: Any, new: Any) -> None:
    """Add ``M @ state`` to `new`, four rows at a time."""
    n = state.shape[0]
    for i in range(0, n - 3, 4):
        a0, a1 = row(A, (t, k, i)), row(A, (t, k, i + 1))
        a2, a3 = row(A, (t, k, i + 2)), row(A, (t, k, i + 3))
        s0, s1, s2, s3 = new[i], new[i + 1], new[i + 2], new[i + 3]
        for j in range(n):
            s0 += a0[j] * state[j]
            s1 += a1[j] * state[j]
            s2 += a2[j] * state[j]
            s3 += a3[j] * state[j]
        new[i] = s0
        new[i + 1] = s1
        new[i + 2] = s2
        new[i + 3] = s3
    for i in range(n - n % 4, n):
        a = row(A, (t, k, i))
        total = new[i]
        for j in range(n):
            total += a[j] * state[j]
        new[i] = total


@register_jitable(inline="always")
def add_long_product_by_columns(A: Any, t: int, k: int, state: Any, new: Any) -> None:
    """Add ``M @ state`` to `new`, four columns at a time."""
    n = state.shape[0]
    for j in range(0, n - 3, 4):
        a0, a1 = row(A, (t, k, j)), row(A, (t, k, j + 1))
        a2, a3 = row(A, (t, k, j + 2)), row(A, (t, k, j + 3))
        s0, s1, s2, s3 = state[j], state[j + 1], state[j + 2], state[j + 3]
        for i in range(n):
            new[i] += (a0[i] * s0 + a1[i] * s1) + (a2[i] * s2 + a3[i] * s3)
    for j in range(n - n % 4, n):
        a = row(A, (t, k, j))
        for i in range(n):
            new[i] += a[i] * state[j]
