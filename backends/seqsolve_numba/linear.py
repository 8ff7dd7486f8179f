"""Linear recurrences, Newton updates and the stopping test, compiled; threads over the batch."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import types

from seqsolve_numba.compilation import Kernel, compile_kernel, readable, real, writable
from seqsolve_numba.intrinsics import local
from seqsolve_numba.specialization import NDArray
from seqsolve_numba.threads import over_sequences

#: So many states of a diagonal recurrence are stepped together: they are held on the stack.
PIECE = 4096


def linear_recurrence(
    A: NDArray, b: NDArray, y0: NDArray | None, reverse: bool, transpose: bool, out: NDArray | None
) -> NDArray:
    """Solve ``y[t] = A[t] y[t-1] + b[t]``, as the backend contract says."""
    dtype = np.result_type(A, b).newbyteorder("=")
    if out is None:
        out = np.empty(b.shape, dtype)
    if b.size == 0:
        return out
    if transpose and A.ndim == 4:
        A = A.swapaxes(-1, -2)
    y = out
    if reverse:
        A, b, y = A[::-1], b[::-1], out[::-1]
    start = np.zeros(b.shape[1:], dtype)
    if y0 is not None:
        start[...] = y0
    target = y if y.dtype == dtype else np.empty(y.shape, dtype)
    _run(A.astype(dtype, copy=False), b.astype(dtype, copy=False), target, start, fresh=y0 is None)
    if target is not y:
        y[...] = target
    return out


def newton_update(A: NDArray, fy: NDArray, y: NDArray) -> None:
    """Advance the iterate `y` in place, as the backend contract says."""
    if y.size == 0:
        return
    fy, A = (a.copy() if np.may_share_memory(a, y) else a for a in (fy, A))
    dtype = y.dtype
    start = np.zeros(y.shape[1:], dtype)
    _run(
        A.astype(dtype, copy=False), fy.astype(dtype, copy=False), y, start, fresh=True, newton=True
    )


def residual_test(y: NDArray, fy: NDArray, rtol: float, atol: NDArray) -> tuple[NDArray, NDArray]:
    """Return each sequence's first failing step and largest residual."""
    n_batch = y.shape[1]
    first, largest = np.full(n_batch, y.shape[0]), np.zeros(n_batch)
    if y.size:
        kernel = _residual_kernel(y.dtype)
        fy, atol = fy.astype(y.dtype, copy=False), np.asarray(atol, np.finfo(y.dtype).dtype)
        over_sequences(
            lambda start, stop: kernel(y, fy, rtol, atol, first, largest, start, stop),
            n_batch,
            y.size,
        )
    return first, largest


def _run(
    A: NDArray, b: NDArray, y: NDArray, start: NDArray, *, fresh: bool, newton: bool = False
) -> None:
    n, limit = b.shape[2], float(np.finfo(y.dtype).max) ** 0.5
    if A.ndim == 3 and n > PIECE:
        for low in range(0, n, PIECE):
            piece = slice(low, low + PIECE)
            _run(
                *(a[..., piece] for a in (A, b, y, start)),
                fresh=fresh,
                newton=newton,
            )
        return
    kernel = _kernel(y.dtype, n, A.ndim == 4, newton)
    over_sequences(
        lambda first, stop: kernel(A, b, y, start, limit, fresh, first, stop), b.shape[1], A.size
    )


@functools.cache
def _kernel(dtype: np.dtype[Any], n: int, dense: bool, newton: bool) -> Kernel:
    return compile_kernel(
        _recurrence(n, dense, newton),
        (
            readable(dtype, 4 if dense else 3),
            readable(dtype, 3),
            writable(dtype, 3),
            readable(dtype, 2),
            real(dtype),
            types.boolean,
            types.intp,
            types.intp,
        ),
        f"recurrence {n} {dense} {newton}",
    )


def _recurrence(n: int, dense: bool, newton: bool) -> Any:
    vector = local(n)

    def kernel(
        A: Any, b: Any, y: Any, start: Any, limit: Any, fresh: bool, first: int, stop: int
    ) -> None:
        state, new = vector(y), vector(y)
        for k in range(first, stop):
            for i in range(n):
                state[i] = start[k, i]
            for t in range(b.shape[0]):
                for i in range(n):
                    new[i] = b[t, k, i]
                if not (fresh and t == 0):
                    for i in range(n):
                        if dense:
                            total = new[i]
                            for j in range(n):
                                total += A[t, k, i, j] * state[j]
                            new[i] = total
                        else:
                            new[i] += A[t, k, i] * state[i]
                if newton:
                    for i in range(n):
                        if not abs(new[i]) <= limit:
                            if np.isfinite(b[t, k, i]):
                                new[i] = b[t, k, i]
                            else:
                                new[i] = y[t, k, i]
                    for i in range(n):
                        state[i] = new[i] - y[t, k, i]
                        y[t, k, i] = new[i]
                else:
                    for i in range(n):
                        state[i] = new[i]
                        y[t, k, i] = new[i]

    return kernel


@functools.cache
def _residual_kernel(dtype: np.dtype[Any]) -> Kernel:
    return compile_kernel(
        _residual,
        (
            readable(dtype, 3),
            readable(dtype, 3),
            real(dtype),
            readable(np.finfo(dtype).dtype, 1),
            writable(np.intp, 1),
            writable(np.float64, 1),
            types.intp,
            types.intp,
        ),
        "residual",
    )


def _residual(
    y: Any, fy: Any, rtol: Any, atol: Any, first: Any, largest: Any, start: int, stop: int
) -> None:
    n_steps, _, n = y.shape
    for k in range(start, stop):
        front, peak = n_steps, rtol * 0
        for t in range(n_steps):
            for i in range(n):
                r = abs(y[t, k, i] - fy[t, k, i])
                if not (r <= atol[i] + rtol * abs(y[t, k, i]) and r < np.inf):
                    front = min(front, t)
                if not r <= peak:
                    peak = r if r < np.inf else np.inf
        first[k], largest[k] = front, peak
