# mypy: disable-error-code="attr-defined,no-untyped-call"
"""Newton's method on the device, fused: a block for each sequence, no array of Jacobians.

The threads of a block share a window: each takes consecutive steps. In an
iteration each tests its steps and composes their linear maps; one thread goes
from thread to thread with the increments; then each updates its steps from
the increment before them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from seqsolve.backend import FusedOutcome
from seqsolve_numba.gpu import launch
from seqsolve_numba.gpu.program import Array, Program


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
    n_batch, number = y.shape[1], program.number
    if not fits(program.n_state, program.width):
        raise ValueError(
            f"`window` must be 1 on a CUDA device where a step's Jacobian is as large as that of "
            f"{program.n_state} states with {program.width} entries in a row: it does not fit in "
            f"the shared memory of a block; got {window}."
        )
    limit = np.finfo(number).max ** 0.5
    report = launch.Report(backend, y, window, min(maxiter, window) + 1)
    launch.run(
        program.kernel("newton", _build),
        n_batch,
        _team(program),
        *(x, params, y, guessed, number(rtol), backend.asarray(atol, dtype=str(y.dtype))),
        *(min(maxiter, window), number(scale), number(limit), window, *report.arrays),
    )
    return report.outcome()


def fits(n_state: int, width: int) -> bool:
    """Return whether a step's linear map fits in shared memory."""
    return 8 * n_state * (width + 1) <= launch.SHARED


def _team(program: Program) -> int:
    return launch.team(8 * program.n_state * (program.width + 1))


def _build(program: Program) -> Any:
    n, width, number, team = program.n_state, program.width, program.number, _team(program)
    evaluate, compose = _evaluate(program), _compose(program)
    row, passes, carry = _row(program), _passes(program), _carry(program)
    jac_shape = program.jac_shape

    def newton(
        x: Any,
        params: Any,
        y: Any,
        guessed: bool,
        rtol: Any,
        atol: Any,
        maxiter: int,
        scale: Any,
        limit: Any,
        window: int,
        converged: Any,
        stuck: Any,
        nit: Any,
        residual: Any,
        trace: Any,
    ) -> None:
        ends = cuda.shared.array((team, n), np.float64)
        products = cuda.shared.array((team, n, width), np.float64)
        fronts = cuda.shared.array(1, np.int64)
        peaks = cuda.shared.array(2, np.float64)
        state = cuda.local.array(n, number)
        before = cuda.local.array(n, number)
        image = cuda.local.array(n, number)
        change = cuda.local.array(n, number)
        slope = cuda.local.array(jac_shape, number)
        since_start = cuda.local.array(n, np.float64)
        since_front = cuda.local.array(n, np.float64)
        column = cuda.local.array(n, np.float64)
        product = cuda.local.array((n, width), np.float64)
        k, thread, n_steps = cuda.blockIdx.x, cuda.threadIdx.x, y.shape[0] - 1
        for w in range(nit.shape[0]):
            begin = w * window
            size = min(window, n_steps - begin)
            if not guessed:
                for p in range(thread, size, team):
                    for i in range(n):
                        y[begin + p + 1, k, i] = y[begin, k, i]
            cuda.syncthreads()
            base, exact, iteration, failed, solved_peak = 0, 0, 0, False, 0.0
            while True:
                length = (size - base + team - 1) // team
                low = min(base + thread * length, size)
                high = min(low + length, size)
                if thread == 0:
                    fronts[0] = size
                    peaks[0] = peaks[1] = 0.0
                cuda.syncthreads()
                own_front, own_peak, own_solved = size, 0.0, 0.0
                for i in range(n):
                    before[i] = state[i] = y[begin + low, k, i]
                    since_start[i] = since_front[i] = 0.0
                    for j in range(width):
                        product[i, j] = 1.0 if i % width == j else 0.0
                for p in range(low, high):
                    evaluate(x, params, state, begin + p, k, scale, image, slope)
                    for i in range(n):
                        state[i] = y[begin + p + 1, k, i]
                    error, passed = passes(state, image, rtol, atol)
                    own_peak = max(own_peak, error)
                    if own_front == size and not passed:
                        own_front = p
                    if own_front == size:
                        own_solved = max(own_solved, error)
                    else:
                        if p > own_front:
                            row(slope, since_front, column)
                        for i in range(n):
                            since_front[i] = image[i] - state[i]
                            if p > own_front:
                                since_front[i] += column[i]
                    compose(slope, image, state, since_start, product, column)
                if own_front < size:
                    cuda.atomic.min(fronts, 0, own_front)
                cuda.atomic.max(peaks, 0, own_peak)
                cuda.syncthreads()
                front = fronts[0]
                if low < front:
                    cuda.atomic.max(peaks, 1, own_solved)
                for i in range(n):
                    ends[thread, i] = since_front[i] if low <= front else since_start[i]
                    for j in range(width):
                        products[thread, i, j] = product[i, j]
                cuda.syncthreads()
                largest = max(peaks[0], solved_peak)
                if thread == 0:
                    cuda.atomic.max(trace, (w, iteration), largest)
                failed = front < size and (front < exact or iteration == maxiter)
                if front == size or failed:
                    break
                solved_peak = max(solved_peak, peaks[1])
                if thread == 0:
                    carry(ends, products, (front - base) // length, column)
                cuda.syncthreads()
                for i in range(n):
                    state[i] = before[i] if low > front else y[begin + front, k, i]
                    change[i] = ends[thread - 1, i] if low > front else 0.0
                for p in range(max(low, front), high):
                    evaluate(x, params, state, begin + p, k, scale, image, slope)
                    row(slope, change, column)
                    for i in range(n):
                        old = y[begin + p + 1, k, i]
                        total = image[i]
                        if p > front:
                            total = number(image[i] + column[i])
                        if not abs(total) <= limit:
                            total = image[i] if abs(image[i]) < np.inf else old
                        y[begin + p + 1, k, i] = total
                        change[i] = total - old
                        state[i] = old
                base, exact, iteration = front, front + 1, iteration + 1
            if thread == 0:
                nit[w, k], residual[w, k] = iteration, largest
            if failed:
                if thread == 0:
                    converged[k], stuck[k] = begin + front, front < exact
                for t in range(begin + size + 1 + thread, n_steps + 1, team):
                    for i in range(n):
                        y[t, k, i] = y[begin + size, k, i]
                break

    return newton


def _evaluate(program: Program) -> Any:
    """Return the device function that evaluates step and Jacobian at one position."""
    n, step, jac, argument = program.n_state, program.step, program.jac, program.argument
    unset, scaled = _unset(program), _scaled(program)

    def evaluate(
        x: Any, params: Any, state: Any, t: int, k: int, scale: Any, image: Any, slope: Any
    ) -> None:
        for i in range(n):
            image[i] = np.nan
        unset(slope)
        step(state, argument(x, t, k), params, image)
        jac(state, argument(x, t, k), params, slope)
        scaled(slope, scale)

    return launch.device_function(evaluate)


def _unset(program: Program) -> Any:
    n, width, entry = program.n_state, program.width, _setter(program)

    def unset(slope: Any) -> None:
        for i in range(n):
            for j in range(width):
                entry(slope, i, j, np.nan)

    return launch.device_function(unset)


def _scaled(program: Program) -> Any:
    n, width = program.n_state, program.width
    get, put = _getter(program), _setter(program)

    def scaled(slope: Any, scale: Any) -> None:
        for i in range(n):
            for j in range(width):
                put(slope, i, j, get(slope, i, j) * scale)

    return launch.device_function(scaled)


def _getter(program: Program) -> Any:
    """Return the device function ``get(slope, i, j)``: entry j of those that row i stores."""
    width, axes = program.width, len(program.jac_shape)
    forms: dict[int, Any] = {
        1: lambda slope, i, j: slope[i],
        2: lambda slope, i, j: slope[i, j],
        3: lambda slope, i, j: slope[i // width, i % width, j],
    }
    return launch.device_function(forms[axes])


def _setter(program: Program) -> Any:
    """Return the device function ``put(slope, i, j, value)``."""
    width, axes = program.width, len(program.jac_shape)

    def diagonal(slope: Any, i: int, j: int, value: Any) -> None:
        slope[i] = value

    def dense(slope: Any, i: int, j: int, value: Any) -> None:
        slope[i, j] = value

    def blocks(slope: Any, i: int, j: int, value: Any) -> None:
        slope[i // width, i % width, j] = value

    return launch.device_function({1: diagonal, 2: dense, 3: blocks}[axes])


def _row(program: Program) -> Any:
    """Return the device function ``row(slope, vector, result)``: the matrix times a vector."""
    n, width, get = program.n_state, program.width, _getter(program)

    def row(slope: Any, vector: Any, result: Any) -> None:
        for i in range(n):
            total = 0.0
            for j in range(width):
                total += get(slope, i, j) * vector[i - i % width + j]
            result[i] = total

    return launch.device_function(row)


def _passes(program: Program) -> Any:
    """Return the device function that takes the residual of a step."""
    n = program.n_state

    def passes(y: Any, image: Any, rtol: Any, atol: Any) -> Any:
        largest, passed = 0.0, True
        for i in range(n):
            r = abs(y[i] - image[i])
            passed = passed and r <= atol[i] + rtol * abs(y[i]) and r < np.inf
            largest = max(largest, float(r) if r < np.inf else np.inf)
        return largest, passed

    return launch.device_function(passes)


def _compose(program: Program) -> Any:
    """Return the device function that puts a step's linear map behind those before it."""
    n, width, row = program.n_state, program.width, _row(program)
    get = _getter(program)

    def compose(slope: Any, image: Any, y: Any, end: Any, product: Any, column: Any) -> None:
        row(slope, end, column)
        for i in range(n):
            end[i] = image[i] - y[i] + column[i]
        for m in range(width):
            for i in range(n):
                total = 0.0
                for j in range(width):
                    total += get(slope, i, j) * product[i - i % width + j, m]
                column[i] = total
            for i in range(n):
                product[i, m] = column[i]

    return launch.device_function(compose)


def _carry(program: Program) -> Any:
    """Return the device function that takes the increments from thread to thread."""
    n, width, team = program.n_state, program.width, _team(program)

    def carry(ends: Any, products: Any, first: int, column: Any) -> None:
        for thread in range(first + 1, team):
            for i in range(n):
                total = ends[thread, i]
                for j in range(width):
                    total += products[thread, i, j] * ends[thread - 1, i - i % width + j]
                column[i] = total
            for i in range(n):
                ends[thread, i] = column[i]

    return launch.device_function(carry)
