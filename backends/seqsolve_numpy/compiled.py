"""Calls the compiled loops: picks the kernel and hands it arrays of its form."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from seqsolve_numpy.layout import NDArray, View, as_lanes, as_rows, fit, fits, is_interleaved

#: Bytes of an operand that are copied at a time where a kernel cannot take its strides.
_CHUNK_BYTES = 2**16

#: Rows of the residual test are folded up to about this many values.
_FOLDED_VALUES = 512


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
    _run(A, fy, y, np.empty(y.shape[1:], y.dtype), fresh=True, newton=True)


def residual_test(y: NDArray, fy: NDArray, rtol: float, atol: NDArray) -> tuple[NDArray, NDArray]:
    """Return each sequence's first failing step and largest residual."""
    n_steps, n_batch, n_state = y.shape
    first, largest = np.empty(n_batch, np.intp), np.empty(n_batch)
    if y.size == 0:
        first[...] = n_steps
        largest[...] = 0
        return first, largest
    dtype = y.dtype
    u, v = fit(y, dtype, as_lanes), fit(fy, dtype, as_lanes)
    fold = 1
    if u.flags.c_contiguous and v.flags.c_contiguous:
        fold = max(1, min(n_steps, _FOLDED_VALUES // (n_batch * n_state)))
    tolerance = np.ascontiguousarray(atol, np.finfo(dtype).dtype)
    _kernels().residual_kernel(dtype)(u, v, fold, rtol, tolerance, first, largest)
    return first, largest


def _run(A: NDArray, b: NDArray, y: NDArray, state: NDArray, *, fresh: bool, newton: bool) -> None:
    """Run a recurrence kernel, on copies of chunks where it cannot take the strides."""
    dtype = state.dtype
    n_steps, n_batch, n_state = b.shape
    if A.ndim == 4 and n_state == 1:
        A = A[..., 0]
    view: View
    if A.ndim == 3:
        view = as_lanes
        state = state.reshape(-1)
        kernel = _kernels().diagonal_kernel(dtype, n_batch * n_state, newton)
    else:
        view = as_rows
        by_rows = A.strides[-1] == A.itemsize or A.strides[-2] != A.itemsize
        if not by_rows:
            A = A.swapaxes(-1, -2)
        interleaved = n_batch > 1 and (is_interleaved(A) or is_interleaved(b))
        kernel = _kernels().dense_kernel(dtype, n_state, by_rows, interleaved, newton)
    chunk = n_steps
    if not all(fits(a, dtype, view) for a in (A, b, y)):
        chunk = max(1, _CHUNK_BYTES // (A[0].size * dtype.itemsize))
    limit = float(np.finfo(dtype).max) ** 0.5
    for start in range(0, n_steps, chunk):
        part = slice(start, start + chunk)
        target = y[part]
        result = fit(target, dtype, view)
        kernel(fit(A[part], dtype, view), fit(b[part], dtype, view), result, state, limit, fresh)
        fresh = False
        if not np.may_share_memory(result, target):
            target[...] = result.reshape(target.shape)


@functools.cache
def _kernels() -> Any:
    from seqsolve_numpy import kernels

    return kernels
