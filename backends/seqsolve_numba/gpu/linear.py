# mypy: disable-error-code="attr-defined,no-untyped-call"
"""Linear recurrences, Newton updates and the stopping test on the device.

Where there are too few sequences to fill the device, time is cut into chunks:
all of them but the last are solved from zero, beside the products of their
matrices. From chunk to chunk, that is a linear recurrence again, and is solved
as one; then all chunks are solved from where they really begin.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import cuda

from seqsolve_numba.gpu import launch
from seqsolve_numba.gpu.program import Array

#: Products of many matrices lose more digits than the recurrence itself.
_WIDE = {"float32": "float64", "complex64": "complex128"}


def recurrence(
    xp: Any, A: Array, b: Array, y: Array, start: Array | None, *, newton: bool = False
) -> None:
    """Solve ``y[t] = A[t] y[t-1] + b[t]`` into `y`, or advance the iterate `y` as Newton does.

    Parameters
    ----------
    xp : namespace
        Of the arrays.
    A : array, shape (n_steps, n_batch, n_state) or (n_steps, n_batch, n_state, n_state)
        Diagonal or dense matrices.
    b : array, shape (n_steps, n_batch, n_state)
        Right-hand side; the image of the iterate in a Newton update.
    y : array, shape (n_steps, n_batch, n_state)
        Receives the result.
    start : array, shape (n_batch, n_state), or None
        The state before the first step. None: zero, and ``A[0]`` is not read.
    newton : bool
        Whether to do `seqsolve.backend.Backend.newton_update`.
    """
    n_steps, n_batch, n = b.shape
    if not b.size:
        return
    dense = A.ndim == 4
    lanes, width = (n_batch, n) if dense else (n_batch * n, 1)
    length = -(-n_steps // _n_chunks(n_steps, lanes, width))
    n_chunks = -(-n_steps // length)
    wide = _WIDE.get(str(y.dtype), str(y.dtype))
    fresh = start is None
    starts = xp.zeros((n_chunks, n_batch, n), dtype=wide)
    if not fresh:
        starts[0] = start
    kernels = _Kernels.of(str(y.dtype), n, dense, newton)
    if n_chunks > 1:
        products = xp.empty((n_chunks - 1, *A.shape[1:]), dtype=wide)
        n_vectors = lanes * (n_chunks - 1) * (width + 1)
        launch.each(kernels.chunks, n_vectors, A, b, y, starts, products, length, fresh)
        recurrence(xp, products, starts[1:], starts[1:], None)
    limit = np.finfo(str(y.dtype)).dtype.type(np.finfo(str(y.dtype)).max) ** 0.5
    launch.each(kernels.solve, lanes * n_chunks, A, b, y, starts, length, fresh, limit)


def _n_chunks(n_steps: int, lanes: int, width: int) -> int:
    """Return how many chunks to cut time into: each has `width` columns and a vector to carry."""
    n_chunks = min(launch.n_resident() // (lanes * (width + 1)), n_steps // launch.SPAN)
    return n_chunks if n_chunks > 2 else 1


def residual_test(xp: Any, y: Array, fy: Array, rtol: float, atol: Array) -> Array:
    """Return each sequence's first failing step and largest residual, on the device.

    They are the rows of one array, which is one copy to the host; the second
    holds the bits of float64 numbers.
    """
    n_steps, n_batch, _ = y.shape
    found = xp.zeros((2, n_batch), dtype="int64")
    found[0] = n_steps
    if y.size:
        real = np.finfo(str(y.dtype)).dtype.type
        n_parts = launch.blocks_each(n_batch, -(-n_steps // launch.TEAM))
        launch.run(
            _residual_kernel(),
            (n_batch, n_parts),
            launch.TEAM,
            *(y, fy, real(rtol), atol, found[0], found[1].view("float64")),
        )
    return found


class _Kernels:
    """The kernels of a recurrence."""

    def __init__(self, dtype: str, n: int, dense: bool, newton: bool) -> None:
        self.chunks = launch.kernel(_chunks(_WIDE.get(dtype, dtype), n, dense, newton))
        self.solve = launch.kernel(_solve(dtype, n, dense, newton))

    @staticmethod
    @functools.cache
    def of(dtype: str, n: int, dense: bool, newton: bool) -> _Kernels:
        return _Kernels(dtype, n, dense, newton)


def _chunks(wide: str, n: int, dense: bool, newton: bool) -> Any:
    """Return the kernel that takes vectors through chunks, a thread for each.

    The last vector of a chunk is its end; the others are the columns of the
    product of its matrices, of which the first chunk has no need.
    """
    width = n if dense else 1
    per_sequence = n // width
    number = np.dtype(wide).type

    def chunks(
        A: Any, b: Any, y: Any, starts: Any, products: Any, length: int, fresh: bool
    ) -> None:
        index, lanes = cuda.grid(1), b.shape[1] * per_sequence
        m, index = index % (width + 1), index // (width + 1)
        c, lane = index // lanes, index % lanes
        affine = m == width
        if c < starts.shape[0] - 1 and (affine or c > 0):
            k, low = lane // per_sequence, lane % per_sequence
            state = cuda.local.array(width, number)
            old = cuda.local.array(width, number)
            for i in range(width):
                state[i] = 0
                if affine and c == 0:
                    state[i] = starts[0, k, low + i]
            if not affine:
                state[m] = 1
            for t in range(c * length, (c + 1) * length):
                for i in range(width):
                    old[i] = state[i]
                for i in range(width):
                    total = number(0)
                    if affine:
                        total = number(b[t, k, low + i])
                        if newton:
                            total -= y[t, k, low + i]
                    if not (fresh and t == 0):
                        if dense:
                            for j in range(width):
                                total += A[t, k, i, j] * old[j]
                        else:
                            total += A[t, k, low] * old[0]
                    state[i] = total
            for i in range(width):
                if affine:
                    starts[c + 1, k, low + i] = state[i]
                elif dense:
                    products[c, k, i, m] = state[i]
                else:
                    products[c, k, low] = state[0]

    return chunks


def _solve(dtype: str, n: int, dense: bool, newton: bool) -> Any:
    width = n if dense else 1
    per_sequence = n // width
    number = np.dtype(dtype).type

    def solve(A: Any, b: Any, y: Any, starts: Any, length: int, fresh: bool, limit: Any) -> None:
        index = cuda.grid(1)
        lanes = b.shape[1] * per_sequence
        c, lane = index // lanes, index % lanes
        if c < starts.shape[0]:
            k, low = lane // per_sequence, lane % per_sequence
            state = cuda.local.array(width, number)
            new = cuda.local.array(width, number)
            for i in range(width):
                state[i] = starts[c, k, low + i]
            for t in range(c * length, min((c + 1) * length, b.shape[0])):
                for i in range(width):
                    total = number(b[t, k, low + i])
                    if not (fresh and t == 0):
                        if dense:
                            for j in range(width):
                                total += A[t, k, i, j] * state[j]
                        else:
                            total += A[t, k, low] * state[0]
                    if newton and not abs(total) <= limit:
                        image = b[t, k, low + i]
                        total = image if abs(image) < np.inf else y[t, k, low + i]
                    new[i] = total
                for i in range(width):
                    state[i] = new[i]
                    if newton:
                        state[i] -= y[t, k, low + i]
                    y[t, k, low + i] = new[i]

    return solve


@functools.cache
def _residual_kernel() -> Any:
    return launch.kernel(_residual)


def _residual(y: Any, fy: Any, rtol: Any, atol: Any, first: Any, largest: Any) -> None:
    k, n_steps, n = cuda.blockIdx.x, y.shape[0], y.shape[2]
    position = cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    front, peak = n_steps, 0.0
    for t in range(position, n_steps, cuda.gridDim.y * cuda.blockDim.x):
        for i in range(n):
            size = abs(y[t, k, i])
            r = abs(y[t, k, i] - fy[t, k, i])
            if not (r <= atol[i] + rtol * size and r < np.inf):
                front = min(front, t)
            if not r <= peak:
                peak = float(r) if r < np.inf else np.inf
    if front < first[k]:
        cuda.atomic.min(first, k, front)
    if peak > largest[k]:
        cuda.atomic.max(largest, k, peak)
