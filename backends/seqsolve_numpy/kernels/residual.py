"""The stopping test, in one pass over the iterate and its image."""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba import types

from seqsolve_numpy.kernels.access import row
from seqsolve_numpy.kernels.compilation import Kernel, compiled, readable, real
from seqsolve_numpy.kernels.scalars import magnitude

#: Lanes whose running results stay in the first-level cache.
TILE = 1024


@functools.cache
def residual_kernel(dtype: np.dtype[Any]) -> Kernel:
    """Return the kernel ``(y, fy, fold, rtol, atol, first, largest)``.

    The loop over a row of ``y`` keeps, for every entry of the row ("lane"),
    the first row that fails and the largest ``|y - fy|``, in vector
    instructions. Where a step has few entries, ``fold`` steps make one row.

    Parameters
    ----------
    dtype : dtype
        Of ``y`` and ``fy``.

    Returns
    -------
    callable
        ``y`` and ``fy`` are ``(n_steps, n_batch * n_state)`` with contiguous
        rows, and contiguous as a whole if ``fold > 1``; ``atol`` is
        ``(n_state,)``. ``first`` (intp) and ``largest`` (float64),
        ``(n_batch,)``, receive the result.
    """
    precision = real(dtype)
    return compiled(
        _kernel(np.dtype(f"i{np.finfo(dtype).dtype.itemsize}")),
        readable(dtype, 2),
        readable(dtype, 2),
        types.intp,
        precision,
        types.Array(precision, 1, "C", readonly=True),
        types.Array(types.intp, 1, "C"),
        types.Array(numba.from_dtype(np.dtype(np.float64)), 1, "C"),
    )


def _kernel(row_number: np.dtype[Any]) -> Any:
    def kernel(y: Any, fy: Any, fold: int, rtol: Any, atol: Any, first: Any, largest: Any) -> None:
        n_steps, n_values = y.shape
        n_state = atol.shape[0]
        n_rows = (n_steps + fold - 1) // fold
        n_lanes = fold * n_values
        width = min(TILE, n_lanes)
        tolerance = np.empty(width, atol.dtype)
        fails = np.empty(width, row_number)
        peak = np.empty(width, atol.dtype)
        first[:] = n_steps
        largest[:] = 0
        i = k = step = 0
        for start in range(0, n_lanes, TILE):
            size = min(TILE, n_lanes - start)
            entry = start % n_state
            for lane in range(size):
                tolerance[lane] = atol[entry]
                entry = entry + 1 if entry + 1 < n_state else 0
                fails[lane] = n_rows
                peak[lane] = 0
            y_tile, fy_tile = y[:, start:], fy[:, start:]
            for r in range(n_rows):
                u, v = row(y_tile, (r * fold,)), row(fy_tile, (r * fold,))
                for lane in range(min(size, (n_steps - r * fold) * n_values)):
                    error = magnitude(u[lane] - v[lane])
                    passes = error <= tolerance[lane] + rtol * magnitude(u[lane])
                    if not passes and fails[lane] > r:
                        fails[lane] = r
                    if not error <= peak[lane]:
                        peak[lane] = error if error < np.inf else np.inf
            for lane in range(size):
                if fails[lane] < n_rows:
                    first[k] = min(first[k], fails[lane] * fold + step)
                largest[k] = max(largest[k], peak[lane])
                i += 1
                if i == n_state:
                    i = 0
                    k += 1
                    if k == first.shape[0]:
                        k = 0
                        step += 1

    return kernel
