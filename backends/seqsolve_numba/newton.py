"""Newton's method on compiled steps, fused: no array of Jacobians is ever stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from seqsolve.backend import FusedOutcome
from seqsolve_numba import windows
from seqsolve_numba.compilation import inlined, readable, real, writable
from seqsolve_numba.intrinsics import Layout, ahead, known, local, wide
from seqsolve_numba.specialization import KernelSource, NDArray, Specialization
from seqsolve_numba.windows import TILE, Report, tiles


def newton_windows(
    special: Specialization,
    x: NDArray,
    params: tuple[NDArray, ...],
    y: NDArray,
    *,
    guessed: bool,
    joints: NDArray,
    rtol: float,
    atol: NDArray,
    maxiter: int,
    scale: float,
    window: int,
) -> FusedOutcome:
    """Solve window after window, as the backend contract says.

    `joints` are the steps of a guess that may have a residual, in order. Empty: all may.
    """
    dtype = y.dtype
    kernel = special.kernel("newton", _build, unroll=windows.UNROLL)
    limit = float(np.finfo(dtype).max) ** 0.5
    maxiter = min(maxiter, window)
    options = (rtol, np.asarray(atol, dtype), maxiter, scale, limit, window)

    def solve(start: int, stop: int, report: Any) -> None:
        width = min(window, y.shape[0] - 1)
        inputs = np.empty((special.shapes.n_inputs, width), x.dtype)
        iterates = np.empty((2, y.shape[2], width + 1), dtype)
        kernel(x, params, y, inputs, iterates, guessed, joints, *options, start, stop, report)

    return Report(y, window, maxiter + 1).fill(solve)


def _build(special: Specialization) -> KernelSource:
    n, m = special.shapes.n_state, special.shapes.n_inputs
    zero = special.number(0)
    sweep, solved_before = _sweep(special), _solved_before(special)

    def kernel(
        x: Any,
        params: Any,
        y: Any,
        inputs: Any,
        iterates: Any,
        guessed: bool,
        joints: Any,
        rtol: Any,
        atol: Any,
        maxiter: int,
        scale: Any,
        limit: Any,
        window: int,
        start: int,
        stop: int,
        report: Any,
    ) -> None:
        wide()
        converged, stuck, nit, residual, trace = report
        n_steps = y.shape[0] - 1
        for k in range(start, stop):
            for w in range(nit.shape[0]):
                first = w * window
                size = min(window, n_steps - first)
                base, solved_residual = 0, zero
                if len(joints):
                    base, solved_residual = solved_before(
                        x, params, y, k, first, size, joints, rtol, atol
                    )
                if base == size:
                    residual[w, k] = solved_residual
                    trace[w, 0] = max(trace[w, 0], solved_residual)
                    continue
                old, new = iterates[0], iterates[1]
                for i in range(m):
                    for p in range(size):
                        inputs[i, p] = x[first + p, k, i]
                for i in range(n):
                    old[i, 0] = y[first, k, i]
                    for p in range(1, size + 1):
                        old[i, p] = y[first + p, k, i] if guessed else old[i, 0]
                exact = iteration = 0
                while True:
                    front, peak, solved_peak = sweep(
                        inputs, params, old, new, base, size, rtol, atol, scale, limit
                    )
                    largest = max(peak, solved_residual)
                    trace[w, iteration] = max(trace[w, iteration], largest)
                    for i in range(n):
                        for p in range(base + 1, front + 1):
                            y[first + p, k, i] = old[i, p]
                    failed = front < size and (front < exact or iteration == maxiter)
                    if front == size or failed:
                        break
                    solved_residual = max(solved_residual, solved_peak)
                    base, exact = front, front + 1
                    old, new = new, old
                    iteration += 1
                nit[w, k], residual[w, k] = iteration, largest
                if failed:
                    for i in range(n):
                        for p in range(front + 1, size + 1):
                            y[first + p, k, i] = old[i, p]
                        for t in range(first + size + 1, n_steps + 1):
                            y[t, k, i] = old[i, size]
                    converged[k], stuck[k] = first + front, front < exact
                    break

    dtype = special.shapes.dtype
    return kernel, (
        *(special.x_type, special.params_type, writable(dtype, 3)),
        *(writable(special.shapes.x_dtype, 2, "C"), writable(dtype, 3, "C")),
        *(types.boolean, readable(np.intp, 1), real(dtype), readable(dtype, 1)),
        *(types.intp, real(dtype), real(dtype), types.intp),
        *windows.REPORT,
    )


def _solved_before(special: Specialization) -> Any:
    """Return the compiled function that says how much of a window was solved beforehand.

    The states were stepped, but for those behind joints; the first of a window
    is one, because the window before may end elsewhere by now. It returns how
    many steps have no residual that fails, and the largest of those that pass.
    """
    n, m = special.shapes.n_state, special.shapes.n_inputs
    zero = special.number(0)
    step, argument, parameters = special.step, special.argument, special.parameters
    new_state, new_input = special.state, special.input

    def solved_before(
        x: Any,
        params: Any,
        y: Any,
        k: int,
        first: int,
        size: int,
        joints: Any,
        rtol: Any,
        atol: Any,
    ) -> Any:
        known_params = parameters(params)
        state, image, numbers = new_state(y), new_state(y), new_input(x)
        front, peak = size, zero
        for j in range(-1, len(joints)):
            t = first if j < 0 else joints[j]
            if first <= t < first + front:
                for i in range(n):
                    state[i], image[i] = y[t, k, i], np.nan
                for i in range(m):
                    numbers[i] = x[t, k, i]
                step(state, argument(numbers), known_params, image)
                error, passes = zero, True
                for i in range(n):
                    r = abs(y[t + 1, k, i] - image[i])
                    passes &= r <= atol[i] + rtol * abs(y[t + 1, k, i])
                    error = max(error, r)
                if passes:
                    peak = max(peak, error)
                else:
                    front = t - first
        return front, peak

    return inlined(solved_before)


def _sweep(special: Specialization) -> Any:
    """Return the compiled function that tests an iterate and computes the next, in one pass.

    A tile of positions after the other is evaluated and tested in vector
    instructions; then the recurrence goes through it.
    """
    n, n_jac = special.shapes.n_state, special.shapes.n_jacobian
    zero, one = special.number(0), special.number(1)
    images, slopes, errors = tiles(special, n), tiles(special, n_jac), local(TILE)
    parameters, new_state = special.parameters, special.state
    evaluate, test = windows.evaluate(special, _derive(special)), windows.test(special)
    advance, repair = _advance(special), _repair(special)

    def sweep(
        inputs: Any,
        params: Any,
        old: Any,
        new: Any,
        base: int,
        size: int,
        rtol: Any,
        atol: Any,
        scale: Any,
        limit: Any,
    ) -> Any:
        known_params = parameters(params)
        f, A = images(old), slopes(old)
        change, before = new_state(old), new_state(old)
        error, excess, worst = errors(old), errors(old), errors(old)
        front = size
        solved_peak = zero
        for i in range(n):
            change[i] = zero
            new[i, base] = old[i, base]
        for p in range(TILE):
            worst[p] = zero
        for begin in range(base, size, TILE):
            count = min(TILE, size - begin)
            evaluate(ahead(old, begin), ahead(inputs, begin), known_params, count, f, A)
            if scale != one:
                for i in range(n_jac):
                    for p in range(count):
                        A[i, p] *= scale
            test(ahead(old, begin + 1), count, rtol, atol, f, error, excess)
            first = 0
            if front == size:
                while first < count and excess[first] <= zero:
                    for i in range(n):
                        new[i, begin + first + 1] = old[i, begin + first + 1]
                    first += 1
                if first < count:
                    front = begin + first
                    for p in range(TILE):
                        solved_peak = max(solved_peak, worst[p])
                    for p in range(first):
                        solved_peak = max(solved_peak, error[p])
            for p in range(count):
                worst[p] = error[p] if error[p] > worst[p] else worst[p]
            for i in range(n):
                before[i] = change[i]
            if not advance(old, new, begin, first, count, f, A, change) <= limit:
                repair(old, new, begin, first, count, f, A, limit, before)
                for i in range(n):
                    change[i] = before[i]
        peak = zero
        for p in range(TILE):
            peak = max(peak, worst[p])
        return front, peak, solved_peak

    return inlined(sweep)


def _derive(special: Specialization) -> Any:
    """Return the compiled function that evaluates the Jacobian at one position of a tile."""
    n_jac, jac = special.shapes.n_jacobian, special.jac
    new_jacobian, in_shape = special.jacobian, special.in_shape

    def derive(state: Any, x: Any, params: Any, p: int, A: Any) -> None:
        slope = new_jacobian(state)
        for i in range(n_jac):
            slope[i] = np.nan
        jac(state, x, params, in_shape(slope))
        for i in range(n_jac):
            A[i, p] = slope[i]

    return inlined(derive)


def _advance(special: Specialization) -> Any:
    """Return the compiled function that takes the recurrence through a tile.

    The increments one after the other, then the new values in vector
    instructions. It returns a bound of their magnitude.
    """
    n, width = special.shapes.n_state, special.shapes.width
    zero = special.number(0)
    increments = local(n * (TILE + 1))
    layout = Layout.contiguous((n, TILE + 1), np.dtype(special.shapes.dtype).itemsize)
    by_state = known(layout)

    def advance(
        old: Any,
        new: Any,
        begin: int,
        first: int,
        count: int,
        f: Any,
        A: Any,
        change: Any,
    ) -> Any:
        f, A = ahead(f, first), ahead(A, first)
        y, y_new = ahead(old, begin + first + 1), ahead(new, begin + first + 1)
        d = by_state(increments(old))
        for i in range(n):
            d[i, 0] = change[i]
        for p in range(count - first):
            for i in range(n):
                total = f[i, p] - y[i, p]
                for j in range(width):
                    total += A[i * width + j, p] * d[i - i % width + j, p]
                d[i, p + 1] = total
        for i in range(n):
            change[i] = d[i, count - first]
        bound = zero
        for i in range(n):
            for p in range(count - first):
                total = f[i, p]
                for j in range(width):
                    total += A[i * width + j, p] * d[i - i % width + j, p]
                y_new[i, p] = total
                bound += abs(total)
        return bound

    return inlined(advance)


def _repair(special: Specialization) -> Any:
    """Return the compiled function that does the same where values may need repair."""
    n, width = special.shapes.n_state, special.shapes.width
    new_state = special.state

    def repair(
        old: Any,
        new: Any,
        begin: int,
        first: int,
        count: int,
        f: Any,
        A: Any,
        limit: Any,
        change: Any,
    ) -> None:
        value = new_state(old)
        for p in range(first, count):
            q = begin + p + 1
            for i in range(n):
                total = f[i, p]
                for j in range(width):
                    total += A[i * width + j, p] * change[i - i % width + j]
                if not abs(total) <= limit:
                    total = f[i, p] if np.isfinite(f[i, p]) else old[i, q]
                value[i] = total
            for i in range(n):
                change[i] = value[i] - old[i, q]
                new[i, q] = value[i]

    return inlined(repair)
