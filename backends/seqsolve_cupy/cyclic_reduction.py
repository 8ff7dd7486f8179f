"""Linear recurrences of small matrices by cyclic reduction, in one kernel."""

from __future__ import annotations

from dataclasses import dataclass

import cupy
import numpy as np

from seqsolve.backend import Array
from seqsolve_cupy import layout
from seqsolve_cupy.compilation import kernel

#: The kernel keeps a column in registers: the largest matrices, real and complex.
LARGEST_REAL, LARGEST_COMPLEX = 12, 8

#: Threads of a block, as the kernel's launch bounds have it, and its shared memory in bytes.
BLOCK_THREADS, BLOCK_MEMORY = 256, 48 * 1024

#: Sequences side by side in a block where the matrices are scalars.
LANES = 32

#: The least steps of a chunk; the most before a sequence is cut into segments.
CHUNK_STEPS, WHOLE_CHUNK_STEPS = 4, 16

#: Blocks for each multiprocessor that a cut into segments aims at.
BLOCKS_PER_MULTIPROCESSOR = 4


def applies(A: Array, b: Array) -> bool:
    """Return whether the kernel takes matrices of this size."""
    largest = LARGEST_COMPLEX if b.dtype.kind == "c" else LARGEST_REAL
    return bool(A.ndim == b.ndim or A.shape[-1] <= largest)


def solve(
    A: Array, b: Array, y0: Array | None, *, reverse: bool, transpose: bool, out: Array
) -> None:
    """Solve ``y[t] = A[t] y[t-1] + b[t]``, ``y[-1] = y0``, into `out`.

    Chunks are eliminated by the threads of a block, their ends solved by
    parallel cyclic reduction in shared memory, and the chunks stepped through.
    Few long sequences are cut into segments, one for each block, whose ends
    are such a system again.

    Parameters
    ----------
    A : cupy.ndarray, shape (n_steps, n_batch, n) or (n_steps, n_batch, n, n)
        Diagonal or dense matrices, of a size that `applies`. Any strides.
    b : cupy.ndarray, shape (n_steps, n_batch, n)
        Right-hand side.
    y0 : cupy.ndarray, shape (n_batch, n), or None
        The state before the first step; None: zero, and ``A[0]`` is not read.
    reverse, transpose : bool
        Solve from the end; let the matrices act transposed.
    out : cupy.ndarray, shape (n_steps, n_batch, n)
        Receives the states; overlaps no input.

    References
    ----------
    .. [1] F. Danieli et al., "DeepPCR: Parallelizing sequential operations in
       neural networks", arXiv:2309.16318, section 3.
    .. [2] Y. Zhang, J. Cohen, J. D. Owens, "Fast tridiagonal solvers on the
       GPU", PPoPP 2010 (elimination inside threads, reduction between them).
    """
    if A.ndim == b.ndim:
        n_steps, n_lanes = b.shape[0], b.shape[1] * b.shape[2]
        A = A.reshape(n_steps, n_lanes, 1, 1)
        b = b.reshape(n_steps, n_lanes, 1)
        y = out if out.flags.c_contiguous else cupy.empty_like(out, order="C")
        flat = y.reshape(n_steps, n_lanes, 1)
    else:
        y = flat = out
        A = A.swapaxes(-1, -2) if transpose else A
    step = slice(None, None, -1 if reverse else 1)
    start = None if y0 is None else y0.reshape(1, *b.shape[1:])
    _solve(A[step], b[step], start, flat[step])
    if y is not out:
        out[...] = y


def _solve(A: Array, b: Array, start: Array | None, y: Array) -> None:
    n_steps, n_sequences, n = b.shape
    wide = layout.WIDE[b.dtype.name]
    plan = _Plan.of(n_steps, n_sequences, n, cupy.dtype(wide).itemsize)
    starts = cupy.zeros((plan.n_segments, n_sequences, n), dtype=wide)
    if start is not None:
        starts[:1] = start
    has_initial = np.int32(start is not None)
    if plan.n_segments > 1:
        P = cupy.empty((plan.n_segments, n_sequences, n, n), dtype=wide)
        q, ends = cupy.empty_like(starts), cupy.empty_like(starts)
        _launch(plan, A, b, y, starts, has_initial, P, q, ends_only=True)
        _solve(P, q, None, ends)
        starts[1:] = ends[:-1]
    _launch(plan, A, b, y, starts, has_initial, starts, starts, ends_only=False)


def _launch(
    plan: _Plan,
    A: Array,
    b: Array,
    y: Array,
    starts: Array,
    has_initial: np.int32,
    P: Array,
    q: Array,
    *,
    ends_only: bool,
) -> None:
    n_steps, n_sequences, n = b.shape
    scalar = layout.SCALARS[b.dtype.name]
    instance = f"seqsolve::cyclic_reduction<{scalar}, {n}, {str(ends_only).lower()}>"
    kernel("cyclic_reduction", instance)(
        (plan.n_segments * -(-n_sequences // plan.lanes),),
        (plan.lanes * (n + 1) * plan.n_chunks,),
        (
            *(A, *layout.strides(A)),
            *(b, *layout.strides(b)),
            *(y, *layout.strides(y)),
            *(starts, has_initial, P, q),
            *map(np.int64, (n_steps, n_sequences, plan.segment_steps, plan.chunk_steps)),
            *map(np.int32, (plan.n_chunks, plan.lanes)),
        ),
        shared_mem=plan.memory,
    )


@dataclass(frozen=True)
class _Plan:
    """How a system is cut into segments, chunks and threads."""

    n_segments: int
    segment_steps: int
    n_chunks: int
    chunk_steps: int
    lanes: int
    memory: int

    @classmethod
    def of(cls, n_steps: int, n_sequences: int, n: int, itemsize: int) -> _Plan:
        lanes = LANES if n == 1 and n_sequences >= LANES else 1
        threads, bytes_ = lanes * (n + 1), lanes * (n + 1) * n * itemsize
        most_chunks = max(1, min(BLOCK_THREADS // threads, BLOCK_MEMORY // bytes_))
        whole = most_chunks * WHOLE_CHUNK_STEPS
        n_segments = 1
        if n_steps > whole:
            blocks = layout.n_multiprocessors() * BLOCKS_PER_MULTIPROCESSOR
            groups = -(-n_sequences // lanes)
            n_segments = max(1, min(-(-n_steps // whole), blocks // groups))
        segment_steps = -(-n_steps // n_segments)
        chunk_steps = max(CHUNK_STEPS, -(-segment_steps // most_chunks))
        n_chunks = -(-segment_steps // chunk_steps)
        return cls(
            n_segments=-(-n_steps // segment_steps),
            segment_steps=segment_steps,
            n_chunks=n_chunks,
            chunk_steps=chunk_steps,
            lanes=lanes,
            memory=n_chunks * bytes_,
        )
