"""What a thread does with the consecutive steps that it takes of a window: device functions.

The linear map of a chunk takes the increment before it to the one at its end.
A chunk that holds the front, the first step that fails the test, also has an
end that does not depend on what is before it: increments begin there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seqsolve_numba.gpu import launch
from seqsolve_numba.gpu.positions import test_change
from seqsolve_numba.gpu.program import Program


def sizes(program: Program) -> tuple[int, int, Any, int]:
    """Return the states, the entries of a Jacobian's row, the type of numbers, and the threads."""
    n, width = program.n_state, program.width
    return n, width, program.number, team_of(n, width)


def team_of(n_state: int, width: int) -> int:
    """Return how many threads of a block share a window: their maps are in shared memory."""
    return launch.team(8 * (n_state * (width + 1) + 2), 8 * n_state)


def compose_chunk(program: Program) -> Any:
    """Return the device function that tests a thread's steps and composes their linear maps.

    ``since_start`` and ``product`` become the map of all steps, ``since_front``
    the increment at the end if the first failure is here. It returns the
    first failure, the largest residual, and the largest before the failure.
    """
    n, width = program.n_state, program.width
    evaluate, test, row = _evaluate_both(program), test_change(program), _row(program)
    append = _append(program)

    def compose(
        x: Any, params: Any, y: Any, begin: int, k: int, low: int, high: int, size: int,
        rtol: Any, atol: Any, scale: Any, state: Any, image: Any, slope: Any,
        since_start: Any, since_front: Any, product: Any, column: Any,
    ) -> Any:  # fmt: skip
        front, peak, calm = size, 0.0, 0.0
        for i in range(n):
            state[i] = y[begin + low, k, i]
            since_start[i] = since_front[i] = 0.0
            for j in range(width):
                product[i, j] = 1.0 if i % width == j else 0.0
        for p in range(low, high):
            evaluate(x, params, state, begin + p, k, scale, image, slope)
            for i in range(n):
                state[i] = y[begin + p + 1, k, i]
            error, passed = test(state, image, rtol, atol)
            peak = max(peak, error)
            if front == size and not passed:
                front = p
            if front == size:
                calm = max(calm, error)
            else:
                if p > front:
                    row(slope, since_front, column)
                for i in range(n):
                    since_front[i] = image[i] - state[i]
                    if p > front:
                        since_front[i] += column[i]
            append(slope, image, state, since_start, product, column)
        return front, peak, calm

    return launch.device_function(compose)


def update_chunk(program: Program) -> Any:
    """Return the device function that updates a thread's steps from the front on.

    ``state`` holds the old value before the first of them, ``change`` the
    increment there.
    """
    n, number = program.n_state, program.number
    evaluate, row = _evaluate_both(program), _row(program)

    def update(
        x: Any, params: Any, y: Any, begin: int, k: int, low: int, high: int, front: int,
        scale: Any, limit: Any, state: Any, image: Any, slope: Any, change: Any, column: Any,
    ) -> None:  # fmt: skip
        for p in range(low, high):
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

    return launch.device_function(update)


def carry_increments(n: int, width: int) -> Any:
    """Return the device function that takes increments through maps, one after the other.

    ``ends[r + 1]`` becomes the increment behind map `r`, from ``ends[first]`` on.
    """

    def carry(ends: Any, products: Any, first: int, last: int, column: Any) -> None:
        for r in range(first, last):
            for i in range(n):
                total = ends[r + 1, i]
                for j in range(width):
                    total += products[r, i, j] * ends[r, i - i % width + j]
                column[i] = total
            for i in range(n):
                ends[r + 1, i] = column[i]

    return launch.device_function(carry)


def combine_maps(n: int, width: int) -> Any:
    """Return the device function that puts map `right` behind map `left`, in place."""

    def combine(ends: Any, products: Any, left: int, right: int, column: Any) -> None:
        for i in range(n):
            low = i - i % width
            for j in range(width):
                column[j] = products[right, i, j]
                ends[right + 1, i] += column[j] * ends[left + 1, low + j]
            for m in range(width):
                total = 0.0
                for j in range(width):
                    total += column[j] * products[left, low + j, m]
                products[right, i, m] = total

    return launch.device_function(combine)


def _append(program: Program) -> Any:
    """Return the device function that puts a step's linear map behind those before it."""
    n, width, row = program.n_state, program.width, _row(program)
    get = _getter(program)

    def append(slope: Any, image: Any, y: Any, end: Any, product: Any, column: Any) -> None:
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

    return launch.device_function(append)


def _evaluate_both(program: Program) -> Any:
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


def fill_rows(n: int) -> Any:
    """Return the device function that repeats a state: in a window, or behind one that failed."""

    def fill(
        y: Any, begin: int, size: int, k: int, behind: bool, guessed: bool,
        thread: int, n_threads: int,
    ) -> None:  # fmt: skip
        row, end = begin, 0 if guessed else begin + size
        if behind:
            row, end = begin + size, y.shape[0] - 1
        for t in range(row + 1 + thread, end + 1, n_threads):
            for i in range(n):
                y[t, k, i] = y[row, k, i]

    return launch.device_function(fill)
