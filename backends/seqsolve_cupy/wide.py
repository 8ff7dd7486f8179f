"""Linear recurrences of wide matrices: reduction by batched products (cuBLAS)."""

from __future__ import annotations

import cupy

from seqsolve.backend import Array
from seqsolve_cupy import layout

#: Steps of a chunk. The reduced matrices take `1 / (RADIX - 1)` of the memory of the given ones,
#: and the depth is ``2 RADIX log(n_steps) / log(RADIX)`` batched products.
RADIX = 4


def solve(
    A: Array, b: Array, y0: Array | None, *, reverse: bool, transpose: bool, out: Array
) -> None:
    """Solve ``y[t] = A[t] y[t-1] + b[t]``, ``y[-1] = y0``, into `out`.

    All chunks of four steps are eliminated together, their ends are a system
    of a quarter of the length, and the chunks are stepped through together:
    about ``n_steps`` products of matrices in all, in few large batches.
    Products of single precision are computed in double.

    Parameters
    ----------
    A : cupy.ndarray, shape (n_steps, n_batch, n, n)
        The matrices. Any strides.
    b, y0, reverse, transpose, out
        As in `seqsolve_cupy.cyclic_reduction.solve`.

    References
    ----------
    .. [1] R. W. Hockney, "A fast direct solution of Poisson's equation using
       Fourier analysis", J. ACM 12 (1965): cyclic reduction, here with a
       larger radix.
    """
    A = A.swapaxes(-1, -2) if transpose else A
    step = slice(None, None, -1 if reverse else 1)
    _solve(A[step], b[step], y0, out[step])


def _solve(A: Array, b: Array, y0: Array | None, y: Array) -> None:
    n_steps, n_batch, n = b.shape
    wide = layout.WIDE[b.dtype.name]
    n_chunks = n_steps // RADIX
    if n_chunks < 2:
        _march(A, b, y0, y)
        return
    whole = n_chunks * RADIX
    # The columns of P and q of every chunk, side by side: one product advances both.
    v = cupy.empty((n_chunks, n_batch, n, n + 1), dtype=wide)
    v[..., :n], v[..., n] = A[:whole:RADIX], b[:whole:RADIX]
    for k in range(1, RADIX):
        v = cupy.matmul(A[k:whole:RADIX].astype(wide, copy=False), v)
        v[..., n] += b[k:whole:RADIX]
    ends = cupy.empty((n_chunks, n_batch, n), dtype=wide)
    _solve(v[..., :n], v[..., n], y0, ends)
    del v
    state = cupy.empty_like(ends)
    _march(A[:1], b[:1], y0, state[:1])
    state[1:] = _apply(A[RADIX:whole:RADIX], ends[:-1]) + b[RADIX:whole:RADIX]
    y[:whole:RADIX] = state
    for k in range(1, RADIX - 1):
        state = _apply(A[k:whole:RADIX], state) + b[k:whole:RADIX]
        y[k:whole:RADIX] = state
    y[RADIX - 1 : whole : RADIX] = ends
    if whole < n_steps:
        _march(A[whole:], b[whole:], ends[-1], y[whole:])


def _march(A: Array, b: Array, y0: Array | None, y: Array) -> None:
    """Step through time in the wider type; without `y0`, ``A[0]`` is not read."""
    state = b[0] if y0 is None else _apply(A[0], y0) + b[0]
    y[0] = state
    for t in range(1, b.shape[0]):
        state = _apply(A[t], state) + b[t]
        y[t] = state


def _apply(A: Array, v: Array) -> Array:
    """Return ``A v`` in the wider type."""
    wide = layout.WIDE[A.dtype.name]
    product = cupy.matmul(A.astype(wide, copy=False), v[..., None].astype(wide, copy=False))
    return product[..., 0]
