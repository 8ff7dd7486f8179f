"""The test of the residual, one pass over memory on the device."""

from __future__ import annotations

import cupy
import numpy as np
import numpy.typing as npt

from seqsolve.backend import Array
from seqsolve_cupy import layout
from seqsolve_cupy.compilation import kernel

__all__ = ["residual_test"]

_THREADS = 256

#: Steps that a thread has in flight, as in ``kernels/residual_test.cu``.
_AHEAD = 4

#: Blocks that keep a multiprocessor busy.
_BLOCKS_PER_MULTIPROCESSOR = 8


def residual_test(
    y: Array, fy: Array, rtol: float, atol: Array
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Return each sequence's first failing step and largest residual.

    Parameters
    ----------
    y, fy : cupy.ndarray, shape (n_steps, n_batch, n_state)
        The iterate, and the step function there. Any strides.
    rtol : float
        Relative tolerance.
    atol : cupy.ndarray, shape (n_state,)
        Absolute tolerances.

    Returns
    -------
    ndarray of intp, shape (n_batch,)
        The first step at which ``abs(y - fy) <= atol + rtol * abs(y)`` fails,
        or ``abs(y - fy)`` is not finite; `n_steps` if none.
    ndarray of float64, shape (n_batch,)
        The largest ``abs(y - fy)``; NaN counts as infinite.
    """
    n_steps, n_batch, n_state = y.shape
    if not y.size:
        return np.full(n_batch, n_steps, np.intp), np.zeros(n_batch)
    n_lanes = n_batch * n_state
    steps_adjacent = abs(y.strides[0]) == y.itemsize
    lanes = 1 if n_lanes == 1 or steps_adjacent else 8 if n_lanes <= 16 else 32
    rows, n_groups = _THREADS // lanes, -(-n_lanes // lanes)
    busy = layout.n_multiprocessors() * _BLOCKS_PER_MULTIPROCESSOR
    n_slices = max(1, min(-(-n_steps // (rows * _AHEAD)), busy // n_groups))
    found = cupy.zeros((2, n_batch), dtype="uint64")
    instance = f"seqsolve::residual_test<{layout.SCALARS[y.dtype.name]}, {lanes}, {_THREADS}>"
    kernel("residual_test", instance)(
        (n_groups * n_slices,),
        (_THREADS,),
        (
            *(y, *layout.strides(y)),
            *(fy, *layout.strides(fy)),
            *(cupy.ascontiguousarray(atol, dtype="float64"), np.float64(rtol)),
            *map(np.int64, (n_steps, n_lanes, n_state, n_groups)),
            *(found[0], found[1]),
        ),
    )
    left, largest = cupy.asnumpy(found)
    return (n_steps - left.astype(np.intp)).astype(np.intp), largest.view(np.float64)
