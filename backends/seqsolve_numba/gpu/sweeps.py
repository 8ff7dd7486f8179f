# mypy: disable-error-code="attr-defined,no-untyped-call"
"""Jacobi sweeps on the device: one block for each sequence, or many where sequences are few.

A round makes several sweeps of all positions, tile by tile, each in shared
memory; then it is examined (`seqsolve_numba.gpu.verdict`), which tells what the
next round is to do. With a block for each sequence, one launch makes all
rounds. With many, the two halves of a round are two launches, and rounds are
queued.

A tile is read with a halo on its left, one position for each sweep of the
round: information moves one position in a sweep, from left to right, so what
a tile lacks reaches its own positions only when the round is over. Every round
writes another array than it reads, so no tile waits for another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import cuda

from seqsolve.backend import FusedOutcome
from seqsolve_numba.gpu import launch
from seqsolve_numba.gpu.positions import evaluate_step, test_change
from seqsolve_numba.gpu.program import Array, Program
from seqsolve_numba.gpu.verdict import (
    BEGIN,
    COLUMNS,
    DEPTH,
    DONE,
    FIRST,
    ORDERED,
    PHASE,
    SETTLED,
    SIZE,
    SOURCE,
    STORE,
    TRIAL,
    examine,
)

#: Sweeps of a round, at most.
MOST = 8


@dataclass(frozen=True)
class Tiles:
    """How a window is cut into tiles.

    Parameters
    ----------
    team : int
        Threads of a block, one for each position of a tile and of its halo.
    depth : int
        Sweeps of a round, at most: positions of the halo.
    """

    team: int
    depth: int

    @staticmethod
    def of(n_state: int) -> Tiles:
        """Return the tiles for a number of states."""
        if 24 * n_state > launch.SHARED:
            raise ValueError(
                f"`h` must have at most {launch.SHARED // 24} states for sweeps of a compiled "
                f"step on a CUDA device: a tile is held in shared memory; got {n_state}."
            )
        team = launch.team(8 * n_state, 16 * MOST)
        return Tiles(team, max(1, min(MOST, team // 4)))

    @property
    def kept(self) -> int:
        """Positions of a tile."""
        return self.team - self.depth


def sweep_windows(
    program: Program,
    x: Array,
    params: tuple[Any, ...],
    y: Array,
    *,
    backend: Any,
    rtol: float,
    atol: Array,
    maxiter: int,
    window: int,
    block_size: int,
) -> FusedOutcome:
    """Solve window after window, as the backend contract says."""
    xp, n_batch, number = backend.xp, y.shape[1], program.number
    tiles = Tiles.of(program.n_state)
    maxiter, inner = min(maxiter, 2 * window), max(1, min(block_size, window))
    report = launch.Report(backend, y, window, maxiter)
    if not y[1:].size:
        return report.outcome()
    progress = (
        xp.zeros((n_batch, COLUMNS), dtype="int64"),
        xp.zeros((n_batch, tiles.depth), dtype="int64"),
        xp.zeros((n_batch, tiles.depth), dtype="float64"),
        xp.zeros((n_batch, 2), dtype="float64"),
        left := xp.full(1, n_batch, dtype="int64"),
    )
    atol = backend.asarray(atol, dtype=str(y.dtype))
    iterates = (y, xp.empty_like(y))
    sweep = (x, params, *iterates, number(rtol), atol, inner, progress)
    judge = (*iterates, maxiter, window, inner, progress, report.arrays)
    n_blocks = launch.blocks_each(n_batch, -(-min(window, len(y) - 1) // tiles.kept))
    if n_blocks == 1 or n_batch >= launch.n_multiprocessors():
        kernel = program.kernel("sweeps", _one_block)
        launch.run(kernel, n_batch, tiles.team, *sweep, maxiter, window, report.arrays)
    else:
        launches = (
            launch.ready(program.kernel("judge", _judge), n_batch, 1, *judge),
            launch.ready(program.kernel("sweep", _sweep), (n_batch, n_blocks), tiles.team, *sweep),
        )
        launch.rounds(backend, launches, left)
    return report.outcome()


def _one_block(program: Program) -> Any:
    """Return the kernel of all rounds, a block for each sequence."""
    n, number, tiles = program.n_state, program.number, Tiles.of(program.n_state)
    team, depth = tiles.team, tiles.depth
    make, judge = _round(program), _decide(program)

    def sweeps(
        x: Any, params: Any, y: Any, other: Any, rtol: Any, atol: Any, inner: int, progress: Any,
        maxiter: int, window: int, report: Any,
    ) -> None:  # fmt: skip
        tile = cuda.shared.array((team, n), number)
        reach = cuda.shared.array(depth, np.int64)
        tops = cuda.shared.array(depth, np.float64)
        state = cuda.local.array(n, number)
        image = cuda.local.array(n, number)
        k, where = cuda.blockIdx.x, progress[0]
        while True:
            cuda.syncthreads()
            if cuda.threadIdx.x == 0:
                judge(k, y, other, maxiter, window, inner, progress, report)
            cuda.syncthreads()
            if where[k, PHASE] == DONE:
                break
            make(x, params, y, other, rtol, atol, inner, progress, tile, reach, tops, state, image)

    return sweeps


def _sweep(program: Program) -> Any:
    """Return the kernel of the sweeps of one round, many blocks for each sequence."""
    n, number, tiles = program.n_state, program.number, Tiles.of(program.n_state)
    team, depth = tiles.team, tiles.depth
    make = _round(program)

    def sweep(
        x: Any, params: Any, y: Any, other: Any, rtol: Any, atol: Any, inner: int, progress: Any
    ) -> None:
        tile = cuda.shared.array((team, n), number)
        reach = cuda.shared.array(depth, np.int64)
        tops = cuda.shared.array(depth, np.float64)
        state = cuda.local.array(n, number)
        image = cuda.local.array(n, number)
        if progress[0][cuda.blockIdx.x, PHASE] != DONE:
            make(x, params, y, other, rtol, atol, inner, progress, tile, reach, tops, state, image)

    return sweep


def _judge(program: Program) -> Any:
    """Return the kernel that examines a round, a block of one thread for each sequence."""
    decide = _decide(program)

    def judge(
        y: Any, other: Any, maxiter: int, window: int, inner: int, progress: Any, report: Any
    ) -> None:
        k = cuda.blockIdx.x
        if progress[0][k, PHASE] != DONE:
            decide(k, y, other, maxiter, window, inner, progress, report)

    return judge


def _decide(program: Program) -> Any:
    """Return the device function by which a thread examines a round of a sequence."""
    tiles = Tiles.of(program.n_state)

    def record(trace: Any, w: int, count: int, peak: Any) -> None:
        cuda.atomic.max(trace, (w, count), peak)

    examined = examine(program.n_state, tiles.kept, tiles.depth, launch.device_function(record))

    def decide(
        k: int, y: Any, other: Any, maxiter: int, window: int, inner: int,
        progress: Any, report: Any,
    ) -> None:  # fmt: skip
        examined(k, y, other, maxiter, window, inner, progress, report)
        if progress[0][k, PHASE] == DONE:
            cuda.atomic.sub(progress[-1], 0, 1)

    return launch.device_function(decide)


def _round(program: Program) -> Any:
    """Return the device function of the sweeps of one round, by all blocks of a sequence."""
    n = program.n_state
    by_tiles, by_blocks = _sweep_tiles(program), _sweep_blocks(program)

    def make(
        x: Any, params: Any, y: Any, other: Any, rtol: Any, atol: Any, inner: int, progress: Any,
        tile: Any, reach: Any, tops: Any, state: Any, image: Any,
    ) -> None:  # fmt: skip
        where, fronts, peaks, solved, _ = progress
        k, phase = cuda.blockIdx.x, where[cuda.blockIdx.x, PHASE]
        begin, first, size = where[k, BEGIN], where[k, FIRST], where[k, SIZE]
        source, target = (other, y) if where[k, SOURCE] == 1 else (y, other)
        thread = cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x
        end = size if phase == STORE else first
        for p in range(where[k, SETTLED] + thread, end, cuda.gridDim.y * cuda.blockDim.x):
            for i in range(n):
                target[begin + p + 1, k, i] = source[begin + p + 1, k, i]
        if phase == ORDERED:
            by_blocks(
                x, params, y, source, target, begin, k, first, size, inner, rtol, atol,
                fronts, peaks, state, image,
            )  # fmt: skip
        elif phase != STORE:
            by_tiles(
                x, params, y, source, target, begin, k, first, size, where[k, DEPTH],
                phase == TRIAL, rtol, atol, fronts, peaks, solved,
                tile, reach, tops, state, image,
            )  # fmt: skip

    return launch.device_function(make)


def _sweep_tiles(program: Program) -> Any:
    """Return the device function of the sweeps of all tiles of a sequence.

    A position before the front of a sweep keeps its value, the others take
    their new ones. In a trial, the first tile finds the fronts, and the others
    have none. Each reports the first failure and the largest change of every
    sweep; ``solved[k, 0]`` becomes the largest change of what kept its value.
    """
    n, tiles = program.n_state, Tiles.of(program.n_state)
    kept, halo = tiles.kept, tiles.depth
    evaluate, test = evaluate_step(program), test_change(program)

    def by_tiles(
        x: Any, params: Any, y: Any, source: Any, target: Any, begin: int, k: int,
        first: int, size: int, depth: int, trial: bool, rtol: Any, atol: Any,
        fronts: Any, peaks: Any, solved: Any,
        tile: Any, reach: Any, tops: Any, state: Any, image: Any,
    ) -> None:  # fmt: skip
        thread, own_solved = cuda.threadIdx.x, 0.0
        own = thread >= halo
        for j in range(cuda.blockIdx.y, (size - first + kept - 1) // kept, cuda.gridDim.y):
            p = first + j * kept + thread - halo
            cuda.syncthreads()
            if thread < depth:
                reach[thread] = size if trial else fronts[k, thread]
                tops[thread] = 0.0
            if 0 <= p < size:
                for i in range(n):
                    tile[thread, i] = source[begin + p + 1, k, i]
            elif p == -1:
                for i in range(n):
                    tile[thread, i] = y[begin, k, i]
            begins, led = first, j == 0 or not trial
            for s in range(depth):
                cuda.syncthreads()
                swept = thread > 0 and begins <= p < size
                error, passed = 0.0, True
                if swept:
                    for i in range(n):
                        state[i] = tile[thread - 1, i]
                    evaluate(x, params, state, begin + p, k, image)
                    for i in range(n):
                        state[i] = tile[thread, i]
                    error, passed = test(state, image, rtol, atol)
                    if own and trial:
                        if not passed:
                            cuda.atomic.min(reach, s, p)
                        if error > tops[s]:
                            cuda.atomic.max(tops, s, error)
                cuda.syncthreads()
                if swept and led and p < reach[s]:
                    if own:
                        own_solved = max(own_solved, error)
                elif swept:
                    for i in range(n):
                        tile[thread, i] = image[i]
                if led:
                    begins = reach[s] + 1
            if own and p < size:
                for i in range(n):
                    target[begin + p + 1, k, i] = tile[thread, i]
            if trial and thread < depth:
                if reach[thread] < fronts[k, thread]:
                    cuda.atomic.min(fronts, (k, thread), reach[thread])
                if tops[thread] > peaks[k, thread]:
                    cuda.atomic.max(peaks, (k, thread), tops[thread])
        if own_solved > solved[k, 0]:
            cuda.atomic.max(solved, (k, 0), own_solved)

    return launch.device_function(by_tiles)


def _sweep_blocks(program: Program) -> Any:
    """Return the device function of one sweep in order inside blocks, a thread for each."""
    n, evaluate, test = program.n_state, evaluate_step(program), test_change(program)

    def by_blocks(
        x: Any, params: Any, y: Any, source: Any, target: Any, begin: int, k: int,
        first: int, size: int, inner: int, rtol: Any, atol: Any,
        fronts: Any, peaks: Any, state: Any, image: Any,
    ) -> None:  # fmt: skip
        thread = cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x
        front, peak = size, 0.0
        for low in range(first + thread * inner, size, cuda.gridDim.y * cuda.blockDim.x * inner):
            for i in range(n):
                state[i] = y[begin, k, i] if low == 0 else source[begin + low, k, i]
            for p in range(low, min(low + inner, size)):
                evaluate(x, params, state, begin + p, k, image)
                for i in range(n):
                    state[i] = source[begin + p + 1, k, i]
                error, passed = test(state, image, rtol, atol)
                peak = max(peak, error)
                if not passed:
                    front = min(front, p)
                for i in range(n):
                    state[i] = image[i]
                    target[begin + p + 1, k, i] = image[i]
        if front < fronts[k, 0]:
            cuda.atomic.min(fronts, (k, 0), front)
        if peak > peaks[k, 0]:
            cuda.atomic.max(peaks, (k, 0), peak)

    return launch.device_function(by_blocks)
