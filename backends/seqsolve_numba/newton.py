"""Newton's method on compiled steps, fused: no array of Jacobians is ever stored."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
from numba import types

from seqsolve.backend import FusedOutcome
from seqsolve_numba.compilation import inlined, readable, real, writable
from seqsolve_numba.intrinsics import Layout, ahead, known, local
from seqsolve_numba.specialization import NDArray, Specialization
from seqsolve_numba.threads import over_sequences

#: So many positions are evaluated in vector instructions before the recurrence takes them.
TILE = 64

#: Every loop of a small step unrolls, so that the loop over positions has vector instructions.
UNROLL = 3000


def newton_windows(
    special: Specialization,
    x: NDArray,
    params: tuple[NDArray, ...],
    y: NDArray,
    *,
    guessed: bool,
    rtol: float,
    atol: NDArray,
    maxiter: int,
    scale: float,
    window: int,
) -> FusedOutcome:
    """Solve window after window, as the backend contract says."""
    n_steps, n_batch, n_state = y.shape[0] - 1, y.shape[1], y.shape[2]
    n_windows = -(-n_steps // window)
    dtype = y.dtype
    kernel = special.kernel("newton", _build, _arguments(special, dtype), unroll=UNROLL)
    limit = float(np.finfo(dtype).max) ** 0.5
    converged, stuck = np.full(n_batch, n_steps), np.zeros(n_batch, bool)
    nit, residual = np.zeros((n_windows, n_batch), np.intp), np.zeros((n_windows, n_batch))
    maxiter = min(maxiter, window)
    trace = np.zeros((n_windows, maxiter + 1))
    atol = np.asarray(atol, dtype)
    lock = Lock()

    def run(start: int, stop: int) -> None:
        width = min(window, n_steps)
        inputs = np.empty((special.shapes.n_inputs, width), x.dtype)
        iterates = np.empty((2, n_state, width + 1), dtype)
        own = np.zeros_like(trace)
        kernel(
            *(x, params, y, inputs, iterates, guessed, rtol, atol, maxiter, scale, limit, window),
            *(start, stop, converged, stuck, nit, residual, own),
        )
        with lock:
            np.maximum(trace, own, out=trace)

    over_sequences(run, n_batch, 4 * y.size)
    return FusedOutcome(converged, stuck, nit, residual, trace)


def _arguments(special: Specialization, dtype: np.dtype[Any]) -> tuple[Any, ...]:
    number, size, flag = real(dtype), types.intp, types.boolean
    return (
        special.x_type,
        special.params_type,
        writable(dtype, 3),
        writable(special.shapes.x_dtype, 2, "C"),
        writable(dtype, 3, "C"),
        flag,
        number,
        readable(dtype, 1),
        size,
        number,
        number,
        *(size, size, size),
        writable(np.intp, 1),
        writable(np.bool_, 1),
        writable(np.intp, 2),
        writable(np.float64, 2),
        writable(np.float64, 2),
    )


def _build(special: Specialization) -> Any:
    n, m = special.shapes.n_state, special.shapes.n_inputs
    sweep = _sweep(special)

    def kernel(
        x: Any,
        params: Any,
        y: Any,
        inputs: Any,
        iterates: Any,
        guessed: bool,
        rtol: Any,
        atol: Any,
        maxiter: int,
        scale: Any,
        limit: Any,
        window: int,
        start: int,
        stop: int,
        converged: Any,
        stuck: Any,
        nit: Any,
        residual: Any,
        trace: Any,
    ) -> None:
        n_steps = y.shape[0] - 1
        for k in range(start, stop):
            for w in range(nit.shape[0]):
                first = w * window
                size = min(window, n_steps - first)
                old, new = iterates[0], iterates[1]
                for i in range(m):
                    for p in range(size):
                        inputs[i, p] = x[first + p, k, i]
                for i in range(n):
                    old[i, 0] = y[first, k, i]
                    for p in range(1, size + 1):
                        old[i, p] = y[first + p, k, i] if guessed else old[i, 0]
                base = exact = iteration = 0
                solved_residual = rtol * 0
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

    return kernel


def _sweep(special: Specialization) -> Any:
    """Return the compiled function that tests an iterate and computes the next, in one pass.

    A tile of positions after the other is evaluated and tested in vector
    instructions; then the recurrence goes through it.
    """
    n = special.shapes.n_state
    itemsize = np.dtype(special.shapes.dtype).itemsize
    n_jac, tile = special.shapes.n_jacobian, TILE
    images, slopes, errors = local(n * tile), local(n_jac * tile), local(tile)
    by_state = known(Layout.contiguous((n, tile), itemsize))
    by_entry = known(Layout.contiguous((n_jac, tile), itemsize))
    parameters, new_state = special.parameters, special.state
    evaluate, test = _evaluate(special), _test(n)
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
        f, A = by_state(images(old)), by_entry(slopes(old))
        change, before = new_state(old), new_state(old)
        error, excess, worst = errors(old), errors(old), errors(old)
        front, zero = size, rtol * 0
        solved_peak = zero
        for i in range(n):
            change[i] = zero
            new[i, base] = old[i, base]
        for p in range(tile):
            worst[p] = zero
        for begin in range(base, size, tile):
            count = min(tile, size - begin)
            evaluate(inputs, known_params, old, begin, count, scale, f, A)
            test(old, begin, count, rtol, atol, f, error, excess)
            first = 0
            if front == size:
                while first < count and excess[first] <= zero:
                    for i in range(n):
                        new[i, begin + first + 1] = old[i, begin + first + 1]
                    first += 1
                if first < count:
                    front = begin + first
                    for p in range(tile):
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
        for p in range(tile):
            peak = max(peak, worst[p])
        return front, peak, solved_peak

    return inlined(sweep)


def _evaluate(special: Specialization) -> Any:
    """Return the compiled function that evaluates step and Jacobian on a tile."""
    n, m, n_jac = special.shapes.n_state, special.shapes.n_inputs, special.shapes.n_jacobian
    step, jac, argument = special.step, special.jac, special.argument
    new_state, new_jacobian = special.state, special.jacobian
    new_input, in_shape = special.input, special.in_shape

    def evaluate(
        inputs: Any, params: Any, old: Any, begin: int, count: int, scale: Any, f: Any, A: Any
    ) -> None:
        state, image, numbers = new_state(old), new_state(old), new_input(inputs)
        slope = new_jacobian(old)
        y_prev, u = ahead(old, begin), ahead(inputs, begin)
        for p in range(count):
            for i in range(n):
                state[i] = y_prev[i, p]
                image[i] = np.nan
            for i in range(n_jac):
                slope[i] = np.nan
            for i in range(m):
                numbers[i] = u[i, p]
            x = argument(numbers)
            step(state, x, params, image)
            jac(state, x, params, in_shape(slope))
            for i in range(n):
                f[i, p] = image[i]
            for i in range(n_jac):
                A[i, p] = slope[i] * scale

    return inlined(evaluate)


def _test(n: int) -> Any:
    """Return the compiled function that takes the residuals of a tile."""

    def test(
        old: Any, begin: int, count: int, rtol: Any, atol: Any, f: Any, error: Any, excess: Any
    ) -> None:
        y = ahead(old, begin + 1)
        for p in range(count):
            error[p] = 0
            excess[p] = 0
        for i in range(n):
            tolerance = atol[i]
            for p in range(count):
                now = y[i, p]
                r = abs(now - f[i, p])
                r = r if r < np.inf else np.inf
                passes = (r <= tolerance + rtol * abs(now)) & (r < np.inf)
                excess[p] = excess[p] if passes else 1
                error[p] = r if r > error[p] else error[p]

    return inlined(test)


def _advance(special: Specialization) -> Any:
    """Return the compiled function that takes the recurrence through a tile.

    The increments one after the other, then the new values in vector
    instructions. It returns a bound of their magnitude.
    """
    n, width, tile = special.shapes.n_state, _width(special), TILE
    increments = local(n * (tile + 1))
    layout = Layout.contiguous((n, tile + 1), np.dtype(special.shapes.dtype).itemsize)
    by_state = known(layout)

    def advance(
        old: Any, new: Any, begin: int, first: int, count: int, f: Any, A: Any, change: Any
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
        bound = f[0, 0] * 0
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
    n, width = special.shapes.n_state, _width(special)
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


def _width(special: Specialization) -> int:
    """Return how many entries a row of the Jacobian stores."""
    n, shape = special.shapes.n_state, special.shapes.jac_shape
    return 1 if shape == (n,) else shape[-1]
