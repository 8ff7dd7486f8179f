# mypy: disable-error-code="attr-defined,no-untyped-call"
"""Jacobi sweeps on the device: a block for each sequence, a tile of it in shared memory.

A tile is swept several times before the next one is read. Information goes
one position on in a sweep, from left to right, so all that a tile needs of
the one before it is what stood at its end before each of these sweeps: the
iterates are those of sweeping all positions each time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from seqsolve.backend import FusedOutcome
from seqsolve_numba.gpu import launch
from seqsolve_numba.gpu.program import Array, Program

#: Sweeps of a tile while it is in shared memory, at most.
DEPTH = 8


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
    number, maxiter = program.number, min(maxiter, 2 * window)
    if 24 * program.n_state > launch.SHARED:
        raise ValueError(
            f"`h` must have at most {launch.SHARED // 24} states for sweeps of a compiled step on "
            f"a CUDA device: a tile is held in shared memory; got {program.n_state}."
        )
    report = launch.Report(backend, y, window, maxiter)
    launch.run(
        program.kernel("sweeps", _build),
        y.shape[1],
        _team(program),
        *(x, params, y, number(rtol), backend.asarray(atol, dtype=str(y.dtype))),
        *(maxiter, window, max(1, min(block_size, window)), *report.arrays),
    )
    return report.outcome()


def _depth(program: Program) -> int:
    """Return how many sweeps of a tile to make: what stands at its end before each is kept."""
    return max(1, min(DEPTH, launch.SHARED // 2 // (16 * program.n_state)))


def _team(program: Program) -> int:
    return launch.team(8 * program.n_state, 16 * program.n_state * _depth(program))


def _build(program: Program) -> Any:
    n, number, team, most = program.n_state, program.number, _team(program), _depth(program)
    sweep_blocks, sweep_tiles = _sweep_blocks(program), _sweep_tiles(program)

    def sweeps(
        x: Any,
        params: Any,
        y: Any,
        rtol: Any,
        atol: Any,
        maxiter: int,
        window: int,
        inner: int,
        converged: Any,
        stuck: Any,
        nit: Any,
        residual: Any,
        trace: Any,
    ) -> None:
        tile = cuda.shared.array((team, n), number)
        edges = cuda.shared.array((2, most, n), number)
        fronts = cuda.shared.array(most, np.int64)
        peaks = cuda.shared.array(most, np.float64)
        solved = cuda.shared.array(1, np.float64)
        depths = cuda.shared.array(1, np.int64)
        state = cuda.local.array(n, number)
        image = cuda.local.array(n, number)
        k, thread, n_steps = cuda.blockIdx.x, cuda.threadIdx.x, y.shape[0] - 1
        for w in range(nit.shape[0]):
            begin = w * window
            size = min(window, n_steps - begin)
            first, count, unverified = 0, 0, size
            ordered, finite, largest = inner > 1, True, 0.0
            while True:
                if ordered and (first == size or (not finite and first >= unverified)):
                    first, ordered, finite = unverified, False, True
                if first == size or not finite or count == maxiter:
                    break
                depth = 1 if ordered else min(most, maxiter - count)
                cuda.syncthreads()
                for s in range(thread, most, team):
                    fronts[s] = size
                    peaks[s] = 0.0
                if thread == 0:
                    depths[0] = depth
                    solved[0] = 0.0
                cuda.syncthreads()
                if ordered:
                    sweep_blocks(
                        x, params, y, begin, k, first, size, inner, rtol, atol,
                        fronts, peaks, state, image,
                    )  # fmt: skip
                else:
                    sweep_tiles(
                        x, params, y, begin, k, first, size, rtol, atol,
                        tile, edges, fronts, peaks, solved, depths, state, image,
                    )  # fmt: skip
                cuda.syncthreads()
                largest = max(largest, solved[0])
                for s in range(depths[0]):
                    if first < size and finite:
                        if thread == 0:
                            cuda.atomic.max(trace, (w, count), peaks[s])
                        count += 1
                        stride = inner if ordered else 1
                        front = fronts[s]
                        exact = min(size, first + ((front - first) // stride + 1) * stride)
                        if ordered and exact > first + inner:
                            unverified = min(unverified, first + inner)
                        first = exact
                        for p in range(exact - 1, front - 1, -1):
                            for i in range(n):
                                if not abs(y[begin + p + 1, k, i]) < np.inf:
                                    first, finite = p, False
            if ordered and finite:
                first = min(first, unverified)
            if thread == 0:
                nit[w, k], residual[w, k] = count, largest
            if first < size or not finite:
                if thread == 0:
                    converged[k], stuck[k] = begin + first, not finite
                break

    return sweeps


def _sweep_blocks(program: Program) -> Any:
    """Return the device function of one sweep in order inside blocks, a thread for each.

    From the last blocks to the first: what stands before a block is read
    before the block that holds it is swept.
    """
    n, team = program.n_state, _team(program)
    evaluate, test = _evaluate(program), _test(program)

    def sweep_blocks(
        x: Any, params: Any, y: Any, begin: int, k: int, first: int, size: int, inner: int,
        rtol: Any, atol: Any, fronts: Any, peaks: Any, state: Any, image: Any,
    ) -> None:  # fmt: skip
        n_blocks = (size - first + inner - 1) // inner
        own_front, own_peak = size, 0.0
        for turn in range((n_blocks + team - 1) // team - 1, -1, -1):
            low = first + (turn * team + cuda.threadIdx.x) * inner
            if low < size:
                for i in range(n):
                    state[i] = y[begin + low, k, i]
            cuda.syncthreads()
            for p in range(low, min(low + inner, size)):
                evaluate(x, params, state, begin + p, k, image)
                for i in range(n):
                    state[i] = y[begin + p + 1, k, i]
                error, passed = test(state, image, rtol, atol)
                own_peak = max(own_peak, error)
                if not passed:
                    own_front = min(own_front, p)
                for i in range(n):
                    state[i] = image[i]
                    y[begin + p + 1, k, i] = image[i]
        cuda.atomic.min(fronts, 0, own_front)
        cuda.atomic.max(peaks, 0, own_peak)

    return launch.device_function(sweep_blocks)


def _sweep_tiles(program: Program) -> Any:
    """Return the device function of several sweeps of all positions, tile by tile.

    ``fronts[s]`` becomes the first position that fails in sweep `s`: those
    before it keep their values, it becomes exact, and the next sweep begins
    behind it. Tiles to the right cannot change what a tile finds. A value that
    is exact and not finite ends the sweeps: ``depths[0]`` becomes their number.
    """
    n, team = program.n_state, _team(program)
    evaluate, test = _evaluate(program), _test(program)

    def sweep_tiles(
        x: Any, params: Any, y: Any, begin: int, k: int, first: int, size: int,
        rtol: Any, atol: Any, tile: Any, edges: Any, fronts: Any, peaks: Any, solved: Any,
        depths: Any, state: Any, image: Any,
    ) -> None:  # fmt: skip
        thread, own_solved = cuda.threadIdx.x, 0.0
        for s in range(thread, depths[0], team):
            for i in range(n):
                edges[0, s, i] = y[begin + first, k, i]
        here = 0
        for low in range(first, size, team):
            p, there = low + thread, 1 - here
            if p < size:
                for i in range(n):
                    tile[thread, i] = y[begin + p + 1, k, i]
            s = 0
            while True:
                cuda.syncthreads()
                if s == depths[0]:
                    break
                begins = first if s == 0 else fronts[s - 1] + 1
                if begins >= low + team:
                    for later in range(s + thread, depths[0], team):
                        for i in range(n):
                            edges[there, later, i] = tile[team - 1, i]
                    break
                swept = begins <= p < size
                error, passed = 0.0, True
                if swept:
                    for i in range(n):
                        state[i] = edges[here, s, i] if thread == 0 else tile[thread - 1, i]
                    evaluate(x, params, state, begin + p, k, image)
                    for i in range(n):
                        state[i] = tile[thread, i]
                    error, passed = test(state, image, rtol, atol)
                    cuda.atomic.max(peaks, s, error)
                    if not passed:
                        cuda.atomic.min(fronts, s, p)
                if thread == team - 1:
                    for i in range(n):
                        edges[there, s, i] = tile[thread, i]
                cuda.syncthreads()
                if swept and p < fronts[s]:
                    own_solved = max(own_solved, error)
                elif swept:
                    for i in range(n):
                        tile[thread, i] = image[i]
                        if p == fronts[s] and not abs(image[i]) < np.inf:
                            depths[0] = s + 1
                s += 1
            cuda.syncthreads()
            if p < size:
                for i in range(n):
                    y[begin + p + 1, k, i] = tile[thread, i]
            here = there
        cuda.atomic.max(solved, 0, own_solved)

    return launch.device_function(sweep_tiles)


def _evaluate(program: Program) -> Any:
    """Return the device function that evaluates the step at one position."""
    n, step, argument = program.n_state, program.step, program.argument

    def evaluate(x: Any, params: Any, state: Any, t: int, k: int, image: Any) -> None:
        for i in range(n):
            image[i] = np.nan
        step(state, argument(x, t, k), params, image)

    return launch.device_function(evaluate)


def _test(program: Program) -> Any:
    """Return the device function that tests what changed at one position."""
    n = program.n_state

    def test(old: Any, image: Any, rtol: Any, atol: Any) -> Any:
        largest, passed = 0.0, True
        for i in range(n):
            r = abs(old[i] - image[i])
            passed = passed and r <= atol[i] + rtol * abs(old[i]) and r < np.inf
            largest = max(largest, float(r) if r < np.inf else np.inf)
        return largest, passed

    return launch.device_function(test)
