"""The stopping test, in one pass over the iterate and its image."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import types

from seqsolve_numpy.kernels.access import span
from seqsolve_numpy.kernels.compilation import Kernel, compiled, readable, real
from seqsolve_numpy.kernels.scalars import magnitude

#: So many lanes' running results stay in cache.
TILE = 2048


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
        ``y`` and ``fy`` are ``(n_steps, n_batch, n_state)``, each step
        contiguous, and contiguous as a whole if ``fold > 1``; ``atol``
        (float64) is ``(n_state,)``. ``first`` (intp) and ``largest`` (float64),
        ``(n_batch,)``, receive the result.
    """
    single = np.finfo(dtype).bits == 32
    return compiled(
        _kernel(np.float32, np.int32) if single else _kernel(np.float64, np.int64),
        readable(dtype, 3),
        readable(dtype, 3),
        types.intp,
        real(dtype),
        readable(np.dtype(np.float64), 1),
        types.Array(types.intp, 1, "C"),
        types.Array(types.float64, 1, "C"),
    )


def _kernel(number: type[np.floating[Any]], index: type[np.signedinteger[Any]]) -> Any:
    def kernel(y: Any, fy: Any, fold: int, rtol: Any, atol: Any, first: Any, largest: Any) -> None:
        n_steps, n_batch, n_state = y.shape
        n_values = n_batch * n_state
        n_rows = (n_steps + fold - 1) // fold
        n_lanes = fold * n_values
        width = min(TILE, n_lanes)
        tolerance = np.empty(width, number)
        fails = np.empty(width, index)
        peak = np.empty(width, number)
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
            for r in range(n_rows):
                n = min(size, (n_steps - r * fold) * n_values)
                u, v, row = span(y, r * fold, start, n), span(fy, r * fold, start, n), index(r)
                for lane in range(n):
                    error = magnitude(u[lane] - v[lane])
                    bound = tolerance[lane] + rtol * magnitude(u[lane])
                    passes = (error <= bound) & (error < np.inf)
                    if not passes and fails[lane] > row:
                        fails[lane] = row
                    if not error <= peak[lane]:
                        peak[lane] = error if error < np.inf else np.inf
            for lane in range(size):
                first[k] = min(first[k], fails[lane] * fold + step)
                largest[k] = max(largest[k], peak[lane])
                i += 1
                if i == n_state:
                    i = 0
                    k += 1
                    if k == n_batch:
                        k = 0
                        step += 1

    return kernel
