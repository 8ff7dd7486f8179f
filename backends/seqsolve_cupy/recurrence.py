"""Linear recurrences by scans on the device."""

from __future__ import annotations

from seqsolve.backend import Array
from seqsolve_cupy.plans import LARGEST
from seqsolve_cupy.scans import Task, launch, plan_for

__all__ = ["applies", "solve"]


def applies(A: Array, b: Array) -> bool:
    """Return whether the kernels take matrices of this size."""
    return bool(A.ndim == b.ndim or A.shape[-1] <= LARGEST)


def solve(
    A: Array, b: Array, y0: Array | None, *, reverse: bool, transpose: bool, out: Array
) -> None:
    """Solve ``y[t] = A[t] y[t-1] + b[t]``, ``y[-1] = y0``, into `out`.

    Sums and products are formed in double precision, and the same arguments
    give the same bits.

    Parameters
    ----------
    A : cupy.ndarray, shape (n_steps, n_batch, n) or (n_steps, n_batch, n, n)
        Diagonal or dense matrices, of a size that `applies`. Any strides.
    b : cupy.ndarray, shape (n_steps, n_batch, n)
        Right-hand side, of the same dtype, not empty. Any strides.
    y0 : cupy.ndarray, shape (n_batch, n), or None
        The state before the first step; None: zero, and ``A[0]`` is not read.
    reverse, transpose : bool
        Solve from the end; let the matrices act transposed. Nothing is copied.
    out : cupy.ndarray, shape (n_steps, n_batch, n)
        Receives the states; overlaps no input.

    References
    ----------
    .. [1] D. Merrill, M. Garland, "Single-pass parallel prefix scan with
       decoupled look-back", NVIDIA NVR-2016-002. Blocks here look back a
       fixed distance, which makes the order of operations one and the same.
    """
    if transpose and A.ndim > b.ndim:
        A = A.swapaxes(-1, -2)
    step = slice(None, None, -1 if reverse else 1)
    task = Task.linear(A[step], b[step], y0, out[step])
    launch(task, plan_for(task))
