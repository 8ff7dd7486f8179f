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

from typing import Any

import numpy as np
from numba import cuda

from seqsolve.backend import FusedOutcome
from seqsolve_numba.gpu import launch, memory
from seqsolve_numba.gpu.chunks import (
    carry_increments,
    compose_chunk,
    fill_rows,
    sizes,
    team_of,
    update_chunk,
)
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
from seqsolve_numba.gpu.shared_windows import shared_launches

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
    if not fits(program.n_state, program.width, np.dtype(number).itemsize):
        raise ValueError(
            f"`window` must be 1 on a CUDA device where a step's Jacobian is as large as that of "
            f"{program.n_state} states with {program.width} entries in a row: it does not fit in "
            f"the shared memory of a block, or not in the memory of all threads; got {window}."
        )
    maxiter = min(maxiter, window)
    report = launch.Report(backend, y, window, maxiter + 1)
    if not y[1:].size:
        return report.outcome()
    progress = (
        xp.zeros((n_batch, COLUMNS), dtype="int64"),
        xp.zeros(n_batch, dtype="int64"),
        xp.zeros((n_batch, 2), dtype="float64"),
        left := xp.full(1, n_batch, dtype="int64"),
    )
    test = (number(rtol), backend.asarray(atol, dtype=str(y.dtype)), number(scale))
    limit = number(np.finfo(number).max ** 0.5)
    judge = (len(y) - 1, maxiter, window, progress, report.arrays)
    team = team_of(program.n_state, program.width)
    n_blocks = _blocks_each(program.n_state, program.width, n_batch, min(window, len(y) - 1))
    if n_blocks == 1:
        kernel = program.kernel("newton", _one_block)
        launch.run(kernel, n_batch, team, x, params, y, guessed, *test, limit, *judge)
        return report.outcome()
    advance = (x, params, y, guessed, test[2], limit, progress)
    compose = (x, params, y, *test, progress)
    launches = shared_launches(program, xp, (n_batch, n_blocks), judge, advance, compose)
    launch.rounds(backend, launches, left)
    return report.outcome()


def fits(n_state: int, width: int, itemsize: int) -> bool:
    """Return whether a step's linear map fits a block's shared memory, and its threads' own."""
    shared = 8 * (n_state * (width + 2) + 2)
    room = memory.LOCAL_SHARE * memory.total_bytes() / launch.n_resident()
    return shared <= launch.SHARED and local_bytes(n_state, width, itemsize) <= room


def local_bytes(n_state: int, width: int, itemsize: int) -> int:
    """Return the size of what a thread keeps for itself in an iteration, at most."""
    return itemsize * n_state * (width + 4) + 8 * n_state * (width + 3)


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
    return team_of(n_state, width) * max(SPAN, width)


def _one_block(program: Program) -> Any:
    """Return the kernel of all iterations, a block for each sequence."""
    n, width, number, team = sizes(program)
    increments, matrices = (team + 1, n), (team, n, width)
    judge, fill = examine(), fill_rows(n)
    compose, update = compose_chunk(program), update_chunk(program)
    carry, jac_shape = carry_increments(n, width), program.jac_shape

    def newton(
        x: Any, params: Any, y: Any, guessed: bool, rtol: Any, atol: Any, scale: Any, limit: Any,
        n_steps: int, maxiter: int, window: int, progress: Any, report: Any,
    ) -> None:  # fmt: skip
        where, fronts, peaks, left = progress
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
                w, iteration, largest = judge(k, n_steps, maxiter, window, progress, report)
                if w >= 0:
                    cuda.atomic.max(report[-1], (w, iteration), largest)
                if where[k, PHASE] == DONE:
                    cuda.atomic.sub(left, 0, 1)
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
                fill(y, begin, size, k, phase == TAIL, guessed, thread, team)
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
