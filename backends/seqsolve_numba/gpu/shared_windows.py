# mypy: disable-error-code="attr-defined,no-untyped-call"
"""Newton's method on windows that many blocks share: an iteration is three launches.

One block examines the test of the iterate and takes the increments from block
to block; all blocks update their steps; all test them, compose their maps, and
then those of their threads, in a tree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from seqsolve_numba.gpu import launch
from seqsolve_numba.gpu.chunks import (
    carry_increments,
    combine_maps,
    compose_chunk,
    fill_rows,
    sizes,
    update_chunk,
)
from seqsolve_numba.gpu.iterations import (
    BASE,
    BEGIN,
    DONE,
    FRONT,
    PHASE,
    SIZE,
    TAIL,
    UPDATE,
    examine,
)
from seqsolve_numba.gpu.program import Array, Program


def shared_launches(
    program: Program,
    xp: Any,
    grid: tuple[int, int],
    judge: tuple[Any, ...],
    advance: tuple[Any, ...],
    compose: tuple[Any, ...],
) -> tuple[Callable[[], None], ...]:
    """Return the launches of an iteration.

    Parameters
    ----------
    program : Program
        The step.
    xp : namespace
        Of the arrays.
    grid : tuple of int
        Sequences, and blocks that share each.
    judge, advance, compose : tuple
        What the three kernels take besides the maps: examine a test, advance
        an iterate, test it and compose its maps.
    """
    team, maps = sizes(program)[-1], _Maps.empty(xp, program, *grid)
    return (
        launch.ready(program.kernel("scan", _scan), grid[0], team, *judge, maps),
        launch.ready(program.kernel("update", _update), grid, team, *advance, maps),
        launch.ready(program.kernel("compose", _compose), grid, team, *compose, maps),
    )


class _Maps(NamedTuple):
    """Linear maps, in double precision, while many blocks share a sequence.

    Parameters
    ----------
    vectors : array, shape (n_batch, n_chunks, 3, n_state)
        Of each chunk: the increment at its end, that from the front on, and
        the old value before it.
    products : array, shape (n_batch, n_chunks, n_state, width)
        Its matrices, multiplied.
    calm : array, shape (n_batch, n_chunks)
        Its largest residual before its first failure.
    block_ends, block_products, block_peaks : array
        Of each block: the map of all its chunks, and their largest residual.
    starts : array, shape (n_batch, n_blocks + 1, n_state)
        The increments before each block.
    """

    vectors: Array
    products: Array
    calm: Array
    block_ends: Array
    block_products: Array
    block_peaks: Array
    starts: Array

    @staticmethod
    def empty(xp: Any, program: Program, n_batch: int, n_blocks: int) -> _Maps:
        n, width, _, team = sizes(program)
        n_chunks = n_blocks * team
        shapes = (
            (n_chunks, 3, n),
            (n_chunks, n, width),
            (n_chunks,),
            (n_blocks, n),
            (n_blocks, n, width),
            (n_blocks,),
            (n_blocks + 1, n),
        )
        return _Maps(*(xp.empty((n_batch, *shape), dtype="float64") for shape in shapes))


def _compose(program: Program) -> Any:
    """Return the kernel that tests an iterate and composes maps, many blocks for each sequence."""
    n, width, number, team = sizes(program)
    increments, matrices = (team + 1, n), (team, n, width)
    compose, jac_shape = compose_chunk(program), program.jac_shape
    combine = combine_maps(n, width)

    def compose_all(
        x: Any, params: Any, y: Any, rtol: Any, atol: Any, scale: Any, progress: Any, maps: Any
    ) -> None:
        where, fronts, peaks, _ = progress
        vectors, chunk_products, calm, block_ends, block_products, block_peaks, _ = maps
        ends = cuda.shared.array(increments, np.float64)
        products = cuda.shared.array(matrices, np.float64)
        heads = cuda.shared.array(team, np.int64)
        tops = cuda.shared.array(team, np.float64)
        state = cuda.local.array(n, number)
        image = cuda.local.array(n, number)
        slope = cuda.local.array(jac_shape, number)
        since_start = cuda.local.array(n, np.float64)
        since_front = cuda.local.array(n, np.float64)
        column = cuda.local.array(n, np.float64)
        product = cuda.local.array((n, width), np.float64)
        k, block, thread = cuda.blockIdx.x, cuda.blockIdx.y, cuda.threadIdx.x
        if where[k, PHASE] == DONE or where[k, PHASE] == TAIL:
            return
        begin, size, base = where[k, BEGIN], where[k, SIZE], where[k, FRONT]
        n_chunks, c = cuda.gridDim.y * team, block * team + thread
        length = (size - base + n_chunks - 1) // n_chunks
        low = min(base + c * length, size)
        for i in range(n):
            vectors[k, c, 2, i] = y[begin + low, k, i]
        front, peak, calm[k, c] = compose(
            x, params, y, begin, k, low, min(low + length, size), size, rtol, atol, scale,
            state, image, slope, since_start, since_front, product, column,
        )  # fmt: skip
        heads[thread], tops[thread] = front, peak
        for i in range(n):
            vectors[k, c, 0, i] = ends[thread + 1, i] = since_start[i]
            vectors[k, c, 1, i] = since_front[i]
            for j in range(width):
                chunk_products[k, c, i, j] = products[thread, i, j] = product[i, j]
        reach = 1
        while reach < team:
            cuda.syncthreads()
            if (thread + 1) % (2 * reach) == 0:
                combine(ends, products, thread - reach, thread, column)
                heads[thread] = min(heads[thread], heads[thread - reach])
                tops[thread] = max(tops[thread], tops[thread - reach])
            reach *= 2
        if thread == team - 1:
            cuda.atomic.min(fronts, k, heads[thread])
            cuda.atomic.max(peaks, (k, 0), tops[thread])
            block_peaks[k, block] = tops[thread]
            for i in range(n):
                block_ends[k, block, i] = ends[team, i]
                for j in range(width):
                    block_products[k, block, i, j] = products[thread, i, j]

    return compose_all


def _scan(program: Program) -> Any:
    """Return the kernel that takes the increments from block to block, a block for each sequence.

    First it examines the test: there may be nothing to take.
    """
    n, width, _, team = sizes(program)
    increments, matrices = (team + 1, n), (team, n, width)
    judge, carry = examine(), carry_increments(n, width)

    def scan(
        n_steps: int, maxiter: int, window: int, progress: Any, report: Any, maps: Any
    ) -> None:
        where, _, peaks, left = progress
        vectors, chunk_products, calm, block_ends, block_products, block_peaks, starts = maps
        ends = cuda.shared.array(increments, np.float64)
        products = cuda.shared.array(matrices, np.float64)
        column = cuda.local.array(n, np.float64)
        k, thread, n_blocks = cuda.blockIdx.x, cuda.threadIdx.x, block_ends.shape[1]
        if thread == 0 and where[k, PHASE] != DONE:
            w, iteration, largest = judge(k, n_steps, maxiter, window, progress, report)
            if w >= 0:
                cuda.atomic.max(report[-1], (w, iteration), largest)
            if where[k, PHASE] == DONE:
                cuda.atomic.sub(left, 0, 1)
        cuda.syncthreads()
        if where[k, PHASE] != UPDATE:
            return
        offset, n_chunks = where[k, FRONT] - where[k, BASE], n_blocks * team
        length = (where[k, SIZE] - where[k, BASE] + n_chunks - 1) // n_chunks
        chunk = offset // length
        block = chunk // team
        c = block * team + thread
        peak = calm[k, c] if c <= chunk else 0.0
        for b in range(thread, block, team):
            peak = max(peak, block_peaks[k, b])
        if peak > peaks[k, 1]:
            cuda.atomic.max(peaks, (k, 1), peak)
        for i in range(n):
            ends[thread + 1, i] = vectors[k, c, 1 if c <= chunk else 0, i]
            for j in range(width):
                products[thread, i, j] = chunk_products[k, c, i, j]
        cuda.syncthreads()
        if thread == 0:
            carry(ends, products, chunk % team + 1, team, column)
        cuda.syncthreads()
        for i in range(thread, n, team):
            starts[k, block + 1, i] = ends[team, i]
        for group in range(block + 1, n_blocks, team):
            b = group + thread
            for i in range(thread, n, team):
                ends[0, i] = ends[team, i]
            cuda.syncthreads()
            if b < n_blocks:
                for i in range(n):
                    ends[thread + 1, i] = block_ends[k, b, i]
                    for j in range(width):
                        products[thread, i, j] = block_products[k, b, i, j]
            cuda.syncthreads()
            if thread == 0:
                carry(ends, products, 0, min(team, n_blocks - group), column)
            cuda.syncthreads()
            if b < n_blocks:
                for i in range(n):
                    starts[k, b + 1, i] = ends[thread + 1, i]

    return scan


def _update(program: Program) -> Any:
    """Return the kernel that advances or fills an iterate, many blocks for each sequence."""
    n, width, number, team = sizes(program)
    increments, matrices = (team + 1, n), (team, n, width)
    update, carry, fill = update_chunk(program), carry_increments(n, width), fill_rows(n)
    jac_shape = program.jac_shape

    def update_all(
        x: Any, params: Any, y: Any, guessed: bool, scale: Any, limit: Any,
        progress: Any, maps: Any,
    ) -> None:  # fmt: skip
        where, vectors, chunk_products, starts = progress[0], maps[0], maps[1], maps[-1]
        ends = cuda.shared.array(increments, np.float64)
        products = cuda.shared.array(matrices, np.float64)
        state = cuda.local.array(n, number)
        image = cuda.local.array(n, number)
        change = cuda.local.array(n, number)
        slope = cuda.local.array(jac_shape, number)
        column = cuda.local.array(n, np.float64)
        k, block, thread = cuda.blockIdx.x, cuda.blockIdx.y, cuda.threadIdx.x
        phase, begin, size = where[k, PHASE], where[k, BEGIN], where[k, SIZE]
        if phase == DONE:
            return
        if phase != UPDATE:
            n_threads = cuda.gridDim.y * team
            fill(y, begin, size, k, phase == TAIL, guessed, block * team + thread, n_threads)
            return
        base, front = where[k, BASE], where[k, FRONT]
        n_chunks, c = cuda.gridDim.y * team, block * team + thread
        length = (size - base + n_chunks - 1) // n_chunks
        low, chunk = min(base + c * length, size), (front - base) // length
        if block < chunk // team:
            return
        for i in range(n):
            ends[thread + 1, i] = vectors[k, c, 1 if c <= chunk else 0, i]
            for j in range(width):
                products[thread, i, j] = chunk_products[k, c, i, j]
        if block > chunk // team:
            for i in range(thread, n, team):
                ends[0, i] = starts[k, block, i]
        cuda.syncthreads()
        if thread == 0:
            carry(ends, products, max(chunk - block * team + 1, 0), team, column)
        cuda.syncthreads()
        for i in range(n):
            state[i] = vectors[k, c, 2, i] if low > front else y[begin + front, k, i]
            change[i] = ends[thread, i] if low > front else 0.0
        update(
            x, params, y, begin, k, max(low, front), min(low + length, size), front,
            scale, limit, state, image, slope, change, column,
        )  # fmt: skip

    return update_all
