"""Linear recurrences by scans on the device."""

from __future__ import annotations

import cupy

from seqsolve.backend import Array
from seqsolve_cupy.plans import LARGEST
from seqsolve_cupy.scans import Task, plan_for, solve

__all__ = ["applies", "linear_recurrence"]


def applies(A: Array, b: Array) -> bool:
    """Return whether the kernels take matrices of this size."""
    return bool(A.ndim == b.ndim or A.shape[-1] <= LARGEST)


def linear_recurrence(
    A: Array,
    b: Array,
    y0: Array | None,
    *,
    reverse: bool,
    transpose: bool,
    out: Array | None,
) -> Array:
    """Solve ``y[t] = A[t] y[t-1] + b[t]``, ``y[-1] = y0``, on the current stream.

    Sums and products are formed in double precision, and the same arguments
    give the same bits.

    Parameters
    ----------
    A : cupy.ndarray, shape (n_steps, n_batch, n) or (n_steps, n_batch, n, n)
        Diagonal or dense matrices, of a size that `applies`. Any strides.
    b : cupy.ndarray, shape (n_steps, n_batch, n)
        Right-hand side, of the same dtype. Any strides.
    y0 : cupy.ndarray, shape (n_batch, n), or None
        The state before the first step; None: zero, and ``A[0]`` is not read.
    reverse, transpose : bool
        Solve from the end; let the matrices act transposed. Nothing is copied.
    out : cupy.ndarray, shape (n_steps, n_batch, n), or None
        Receives the states; overlaps no input.

    Returns
    -------
    cupy.ndarray, shape (n_steps, n_batch, n)
        `out`, or a new array.

    References
    ----------
    .. [1] D. Merrill, M. Garland, "Single-pass parallel prefix scan with
       decoupled look-back", NVIDIA NVR-2016-002. Blocks here look back a
       fixed distance, which makes the order of operations one and the same.
    """
    if out is None:
        out = cupy.empty(b.shape, dtype=b.dtype)
    if b.size:
        if transpose and A.ndim > b.ndim:
            A = A.swapaxes(-1, -2)
        step = slice(None, None, -1 if reverse else 1)
        task = Task.linear(A[step], b[step], y0, out[step])
        solve(task, plan_for(task))
    return out
