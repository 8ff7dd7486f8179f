"""Newton's method on compiled steps, fused: no array of Jacobians is ever stored."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
from numba import types

from seqsolve.backend import FusedOutcome
from seqsolve_numba.compilation import inlined, readable, real, writable
from seqsolve_numba.intrinsics import Layout, known, local
from seqsolve_numba.specialization import NDArray, Specialization
from seqsolve_numba.threads import over_sequences

#: So many positions are evaluated in vector instructions before the recurrence takes them.
TILE = 64


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
    kernel = special.kernel("newton", _build, _arguments(special, dtype))
    limit = float(np.finfo(dtype).max) ** 0.5
    converged, stuck = np.full(n_batch, n_steps), np.zeros(n_batch, bool)
    nit, residual = np.zeros((n_windows, n_batch), np.intp), np.zeros((n_windows, n_batch))
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
    """Return the compiled function that tests an iterate and computes the next, in one pass."""
    shapes = special.shapes
    n, m, n_jac = shapes.n_state, shapes.n_inputs, shapes.n_jacobian
    width = 1 if shapes.jac_shape == (n,) else shapes.jac_shape[-1]
    step, jac, argument, parameters = (
        special.step,
        special.jac,
        special.argument,
        special.parameters,
    )
    new_state, new_jacobian = special.state, special.jacobian
    new_input, in_shape = special.input, special.in_shape
    itemsize = np.dtype(shapes.dtype).itemsize
    tile = TILE
    images, slopes = local(n * tile), local(n_jac * tile)
    by_state = known(Layout.contiguous((n, tile), itemsize))
    by_entry = known(Layout.contiguous((n_jac, tile), itemsize))
    flags = local(tile)

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
        state, image, numbers = new_state(old), new_state(old), new_input(inputs)
        slope = new_jacobian(old)
        change, value = new_state(old), new_state(old)
        error, excess = flags(old), flags(old)
        front = size
        zero = rtol * 0
        peak, solved_peak = zero, zero
        for i in range(n):
            change[i] = zero
            new[i, base] = old[i, base]
        for begin in range(base, size, tile):
            count = min(tile, size - begin)
            for p in range(count):
                for i in range(n):
                    state[i] = old[i, begin + p]
                for i in range(m):
                    numbers[i] = inputs[i, begin + p]
                x = argument(numbers)
                step(state, x, known_params, image)
                jac(state, x, known_params, in_shape(slope))
                for i in range(n):
                    f[i, p] = image[i]
                for i in range(n_jac):
                    A[i, p] = slope[i] * scale
            for p in range(count):
                error[p] = zero
                excess[p] = zero
            for i in range(n):
                tolerance = atol[i]
                for p in range(count):
                    now = old[i, begin + p + 1]
                    r = abs(now - f[i, p])
                    if not r <= error[p]:
                        error[p] = r if r < np.inf else np.inf
                    if not r <= tolerance + rtol * abs(now):
                        excess[p] = 1
            for p in range(count):
                q = begin + p + 1
                peak = max(peak, error[p])
                if front == size:
                    if excess[p] == 0:
                        solved_peak = peak
                        for i in range(n):
                            new[i, q] = old[i, q]
                        continue
                    front = q - 1
                for i in range(n):
                    first = i - i % width
                    total = f[i, p]
                    for j in range(width):
                        total += A[i * width + j, p] * change[first + j]
                    value[i] = total
                for i in range(n):
                    if not abs(value[i]) <= limit:
                        if np.isfinite(f[i, p]):
                            value[i] = f[i, p]
                        else:
                            value[i] = old[i, q]
                for i in range(n):
                    change[i] = value[i] - old[i, q]
                    new[i, q] = value[i]
        return front, peak, solved_peak

    return inlined(sweep)
