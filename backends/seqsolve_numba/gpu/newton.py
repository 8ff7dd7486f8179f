# mypy: disable-error-code="attr-defined,no-untyped-call"
"""Newton's method on the device, fused: no array of Jacobians.

Threads share a window: each takes consecutive steps. In an iteration each
tests its steps and composes their linear maps; then the increments are taken
from thread to thread; then each updates its steps from the increment before
them. One block for each sequence makes all iterations in one launch. Where
sequences are few, many blocks share a window: an iteration is three launches,
the maps of a block are composed too, and one block takes the increments from
block to block.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from seqsolve.backend import FusedOutcome
from seqsolve_numba.gpu import launch
from seqsolve_numba.gpu.chunks import carry_increments, combine_maps, compose_chunk, update_chunk
from seqsolve_numba.gpu.iterations import (
    BASE,
    BEGIN,
    COLUMNS,
    DONE,
    FRONT,
    PHASE,
    SIZE,
    TAIL,
    UPDATE,
    examine,
)
from seqsolve_numba.gpu.program import Array, Program

#: Steps that a thread takes at least, where many blocks share a window.
SPAN = 8


def newton_windows(
    program: Program,
    x: Array,
    params: tuple[Any, ...],
    y: Array,
    *,
    backend: Any,
    guessed: bool,
    rtol: float,
    atol: Array,
    maxiter: int,
    scale: float,
    window: int,
) -> FusedOutcome:
    """Solve window after window, as the backend contract says."""
    xp, n_batch, number = backend.xp, y.shape[1], program.number
    if not fits(program.n_state, program.width):
        raise ValueError(
            f"`window` must be 1 on a CUDA device where a step's Jacobian is as large as that of "
            f"{program.n_state} states with {program.width} entries in a row: it does not fit in "
            f"the shared memory of a block; got {window}."
        )
    maxiter = min(maxiter, window)
    report = launch.Report(backend, y, window, maxiter + 1)
    if not y[1:].size:
        return report.outcome()
    progress = (
        xp.zeros((n_batch, COLUMNS), dtype="int64"),
        xp.zeros(n_batch, dtype="int64"),
        xp.zeros((n_batch, 2), dtype="float64"),
    )
    left = xp.full(1, n_batch, dtype="int64")
    test = (number(rtol), backend.asarray(atol, dtype=str(y.dtype)), number(scale))
    limit = number(np.finfo(number).max ** 0.5)
    judge = (len(y) - 1, maxiter, window, *progress, left, *report.arrays)
    team = _team(program.n_state, program.width)
    n_blocks = _blocks_each(program.n_state, program.width, n_batch, min(window, len(y) - 1))
    if n_blocks == 1:
        kernel = program.kernel("newton", _one_block)
        launch.run(kernel, n_batch, team, x, params, y, guessed, *test, limit, *judge)
        return report.outcome()
    maps = _Maps.empty(xp, program, n_batch, n_blocks)
    grid = (n_batch, n_blocks)
    scan, update, compose = (
        program.kernel(name, build)
        for name, build in (("scan", _scan), ("update", _update), ("compose", _compose))
    )
    launches = (
        launch.ready(scan, n_batch, team, *judge, *maps),
        launch.ready(update, grid, team, x, params, y, guessed, test[2], limit, *progress, *maps),
        launch.ready(compose, grid, team, x, params, y, *test, *progress, *maps),
    )
    launch.rounds(backend, launches, left)
    return report.outcome()


def fits(n_state: int, width: int) -> bool:
    """Return whether a step's linear map fits in shared memory."""
    return 8 * (n_state * (width + 2) + 2) <= launch.SHARED


def default_window(n_state: int, width: int, n_batch: int, n_steps: int) -> int:
    """Return how many steps give the threads of all blocks that share a sequence enough to do."""
    n_blocks = _blocks_each(n_state, width, n_batch, n_steps)
    return max(1, min(n_steps, n_blocks * _steps_of_block(n_state, width)))


def _blocks_each(n_state: int, width: int, n_batch: int, n_steps: int) -> int:
    """Return how many blocks share a sequence: one where sequences are enough."""
    if n_batch >= launch.n_multiprocessors():
        return 1
    return launch.blocks_each(n_batch, -(-n_steps // _steps_of_block(n_state, width)))


def _steps_of_block(n_state: int, width: int) -> int:
    """Return how many steps a block takes at least; maps then need no more room than they."""
    return _team(n_state, width) * max(SPAN, width)


def _team(n_state: int, width: int) -> int:
    return launch.team(8 * (n_state * (width + 1) + 2), 8 * n_state)


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
        n, width, _, team = _sizes(program)
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


def _one_block(program: Program) -> Any:
    """Return the kernel of all iterations, a block for each sequence."""
    n, width, number, team = _sizes(program)
    increments, matrices = (team + 1, n), (team, n, width)
    judge, fill = _decide(), _fill(n)
    compose, update = compose_chunk(program), update_chunk(program)
    carry, jac_shape = carry_increments(n, width), program.jac_shape

    def newton(
        x: Any, params: Any, y: Any, guessed: bool, rtol: Any, atol: Any, scale: Any, limit: Any,
        n_steps: int, maxiter: int, window: int, where: Any, fronts: Any, peaks: Any, left: Any,
        converged: Any, stuck: Any, nit: Any, residual: Any, trace: Any,
    ) -> None:  # fmt: skip
        ends = cuda.shared.array(increments, np.float64)
        products = cuda.shared.array(matrices, np.float64)
        state = cuda.local.array(n, number)
        before = cuda.local.array(n, number)
        image = cuda.local.array(n, number)
        change = cuda.local.array(n, number)
        slope = cuda.local.array(jac_shape, number)
        since_start = cuda.local.array(n, np.float64)
        since_front = cuda.local.array(n, np.float64)
        column = cuda.local.array(n, np.float64)
        product = cuda.local.array((n, width), np.float64)
        k, thread = cuda.blockIdx.x, cuda.threadIdx.x
        low, high, length, calm = 0, 0, 1, 0.0
        while True:
            cuda.syncthreads()
            if thread == 0:
                judge(
                    k, n_steps, maxiter, window, where, fronts, peaks, left,
                    converged, stuck, nit, residual, trace,
                )  # fmt: skip
            cuda.syncthreads()
            phase = where[k, PHASE]
            if phase == DONE:
                break
            begin, size, front = where[k, BEGIN], where[k, SIZE], where[k, FRONT]
            if phase == UPDATE:
                if low < front:
                    cuda.atomic.max(peaks, (k, 1), calm)
                for i in range(n):
                    ends[thread + 1, i] = since_front[i] if low <= front else since_start[i]
                    for j in range(width):
                        products[thread, i, j] = product[i, j]
                cuda.syncthreads()
                if thread == 0:
                    chunk = (front - where[k, BASE]) // length
                    carry(ends, products, chunk + 1, team, column)
                cuda.syncthreads()
                for i in range(n):
                    state[i] = before[i] if low > front else y[begin + front, k, i]
                    change[i] = ends[thread, i] if low > front else 0.0
                update(
                    x, params, y, begin, k, max(low, front), high, front, scale, limit,
                    state, image, slope, change, column,
                )  # fmt: skip
            else:
                fill(y, begin, size, k, phase, guessed)
            cuda.syncthreads()
            if phase != TAIL:
                length = (size - front + team - 1) // team
                low = min(front + thread * length, size)
                high = min(low + length, size)
                for i in range(n):
                    before[i] = y[begin + low, k, i]
                own_front, peak, calm = compose(
                    x, params, y, begin, k, low, high, size, rtol, atol, scale,
                    state, image, slope, since_start, since_front, product, column,
                )  # fmt: skip
                if own_front < size:
                    cuda.atomic.min(fronts, k, own_front)
                if peak > peaks[k, 0]:
                    cuda.atomic.max(peaks, (k, 0), peak)

    return newton


def _compose(program: Program) -> Any:
    """Return the kernel that tests an iterate and composes maps, many blocks for each sequence."""
    n, width, number, team = _sizes(program)
    increments, matrices = (team + 1, n), (team, n, width)
    compose, jac_shape = compose_chunk(program), program.jac_shape
    combine = combine_maps(n, width)

    def compose_all(
        x: Any, params: Any, y: Any, rtol: Any, atol: Any, scale: Any,
        where: Any, fronts: Any, peaks: Any, vectors: Any, chunk_products: Any, calm: Any,
        block_ends: Any, block_products: Any, block_peaks: Any, starts: Any,
    ) -> None:  # fmt: skip
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
    n, width, _, team = _sizes(program)
    increments, matrices = (team + 1, n), (team, n, width)
    judge, carry = _decide(), carry_increments(n, width)

    def scan(
        n_steps: int, maxiter: int, window: int, where: Any, fronts: Any, peaks: Any, left: Any,
        converged: Any, stuck: Any, nit: Any, residual: Any, trace: Any,
        vectors: Any, chunk_products: Any, calm: Any,
        block_ends: Any, block_products: Any, block_peaks: Any, starts: Any,
    ) -> None:  # fmt: skip
        ends = cuda.shared.array(increments, np.float64)
        products = cuda.shared.array(matrices, np.float64)
        column = cuda.local.array(n, np.float64)
        k, thread, n_blocks = cuda.blockIdx.x, cuda.threadIdx.x, block_ends.shape[1]
        if thread == 0 and where[k, PHASE] != DONE:
            judge(
                k, n_steps, maxiter, window, where, fronts, peaks, left,
                converged, stuck, nit, residual, trace,
            )  # fmt: skip
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
            cuda.syncthreads()

    return scan


def _update(program: Program) -> Any:
    """Return the kernel that advances or fills an iterate, many blocks for each sequence."""
    n, width, number, team = _sizes(program)
    increments, matrices = (team + 1, n), (team, n, width)
    update, carry, fill = update_chunk(program), carry_increments(n, width), _fill(n)
    jac_shape = program.jac_shape

    def update_all(
        x: Any, params: Any, y: Any, guessed: bool, scale: Any, limit: Any,
        where: Any, fronts: Any, peaks: Any, vectors: Any, chunk_products: Any, calm: Any,
        block_ends: Any, block_products: Any, block_peaks: Any, starts: Any,
    ) -> None:  # fmt: skip
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
            fill(y, begin, size, k, phase, guessed)
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


def _sizes(program: Program) -> tuple[int, int, Any, int]:
    """Return the states, the entries of a Jacobian's row, the type of numbers, and the threads."""
    n, width = program.n_state, program.width
    return n, width, program.number, _team(n, width)


def _decide() -> Any:
    """Return the device function by which a thread takes a test into account."""

    def record(trace: Any, w: int, iteration: int, peak: Any) -> None:
        cuda.atomic.max(trace, (w, iteration), peak)

    examined = examine(launch.device_function(record))

    def decide(
        k: int, n_steps: int, maxiter: int, window: int, where: Any, fronts: Any, peaks: Any,
        left: Any, converged: Any, stuck: Any, nit: Any, residual: Any, trace: Any,
    ) -> None:  # fmt: skip
        examined(
            k, n_steps, maxiter, window, where, fronts, peaks,
            converged, stuck, nit, residual, trace,
        )  # fmt: skip
        if where[k, PHASE] == DONE:
            cuda.atomic.sub(left, 0, 1)

    return launch.device_function(decide)


def _fill(n: int) -> Any:
    """Return the device function that repeats a state: in a window, or behind one that failed."""

    def fill(y: Any, begin: int, size: int, k: int, phase: int, guessed: bool) -> None:
        thread = cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x
        row, end = begin, 0 if guessed else begin + size
        if phase == TAIL:
            row, end = begin + size, y.shape[0] - 1
        for t in range(row + 1 + thread, end + 1, cuda.gridDim.y * cuda.blockDim.x):
            for i in range(n):
                y[t, k, i] = y[row, k, i]

    return launch.device_function(fill)
