"""Calls the compiled loops: picks the kernel and hands it arrays of its form."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from seqsolve_numpy.layout import (
    Layout,
    NDArray,
    fit,
    has_contiguous_rows,
    has_contiguous_steps,
    is_interleaved,
)

#: Bytes of the matrices that are copied at a time where a kernel cannot take their strides.
_CHUNK_BYTES = 2**16

#: The residual test takes so many values of few-valued steps for one row.
_ROW_VALUES = 512


def linear_recurrence(
    A: NDArray, b: NDArray, y0: NDArray | None, reverse: bool, transpose: bool, out: NDArray | None
) -> NDArray:
    """Solve ``y[t] = A[t] y[t-1] + b[t]``, as the backend contract says."""
    dtype = np.result_type(A, b)
    if out is None:
        out = np.empty(b.shape, dtype)
    if b.size == 0:
        return out
    if transpose and A.ndim == 4:
        A = A.swapaxes(-1, -2)
    y = out
    if reverse:
        A, b, y = A[::-1], b[::-1], out[::-1]
    state = np.empty(b.shape[1:], dtype)
    if y0 is not None:
        state[...] = y0
    _run(A, b, y, state, fresh=y0 is None, newton=False)
    return out


def newton_update(A: NDArray, fy: NDArray, y: NDArray) -> None:
    """Advance the iterate `y` in place, as the backend contract says."""
    if y.size == 0:
        return
    if np.may_share_memory(fy, y):
        fy = fy.copy()
    if np.may_share_memory(A, y):
        A = A.copy()
    _run(A, fy, y, np.empty(y.shape[1:], y.dtype.newbyteorder("=")), fresh=True, newton=True)


def residual_test(y: NDArray, fy: NDArray, rtol: float, atol: NDArray) -> tuple[NDArray, NDArray]:
    """Return each sequence's first failing step and largest residual."""
    n_steps, n_batch, n_state = y.shape
    first, largest = np.empty(n_batch, np.intp), np.empty(n_batch)
    if y.size == 0:
        first[...] = n_steps
        largest[...] = 0
        return first, largest
    dtype = y.dtype.newbyteorder("=")
    y, fy = fit(y, dtype, has_contiguous_steps), fit(fy, dtype, has_contiguous_steps)
    fold = 1
    if y.flags.c_contiguous and fy.flags.c_contiguous:
        fold = max(1, min(n_steps, _ROW_VALUES // (n_batch * n_state)))
    atol = np.asarray(atol, np.float64)
    _kernels().residual_kernel(dtype)(y, fy, fold, rtol, atol, first, largest)
    return first, largest


def _run(A: NDArray, b: NDArray, y: NDArray, state: NDArray, *, fresh: bool, newton: bool) -> None:
    dtype = state.dtype
    _, n_batch, n_state = b.shape
    if A.ndim == 4 and n_state == 1:
        A = A[..., 0]
    layout: Layout
    if A.ndim == 3:
        layout = has_contiguous_steps
        kernel = _kernels().diagonal_kernel(dtype, n_batch * n_state, newton)
    else:
        layout = has_contiguous_rows
        by_rows = A.strides[-1] == A.itemsize or A.strides[-2] != A.itemsize
        if not by_rows:
            A = A.swapaxes(-1, -2)
        interleaved = n_batch > 1 and (is_interleaved(A) or is_interleaved(b))
        kernel = _kernels().dense_kernel(dtype, n_state, by_rows, interleaved, newton)
    limit = _LIMITS[dtype.char]
    if A.dtype == b.dtype == y.dtype == dtype and layout(A) and layout(b) and layout(y):
        kernel(A, b, y, state, limit, fresh)
        return
    chunk = max(1, _CHUNK_BYTES // (A[0].size * dtype.itemsize))
    for start in range(0, len(b), chunk):
        part = slice(start, start + chunk)
        y_part = fit(y[part], dtype, layout)
        kernel(
            fit(A[part], dtype, layout), fit(b[part], dtype, layout), y_part, state, limit, fresh
        )
        fresh = False
        if not np.may_share_memory(y_part, y):
            y[part] = y_part


@functools.cache
def _kernels() -> Any:
    from seqsolve_numpy import kernels

    return kernels


#: Newton updates beyond this magnitude are repaired: the root of the largest number.
_LIMITS = {char: float(np.finfo(char).max) ** 0.5 for char in "fdFD"}
