"""Jacobi sweeps over compiled steps, fused; threads over the batch."""

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

#: So many blocks are evaluated in vector instructions at a time.
TILE = 64

#: Every loop of a small step unrolls, so that the loop over blocks has vector instructions.
UNROLL = 3000


def sweep_windows(
    special: Specialization,
    x: NDArray,
    params: tuple[NDArray, ...],
    y: NDArray,
    *,
    rtol: float,
    atol: NDArray,
    maxiter: int,
    window: int,
    block_size: int,
) -> FusedOutcome:
    """Solve window after window, as the backend contract says."""
    n_steps, n_batch, n_state = y.shape[0] - 1, y.shape[1], y.shape[2]
    n_windows = -(-n_steps // window)
    width = min(window, n_steps)
    inner = max(1, min(block_size, width))
    n_blocks = -(-width // inner)
    maxiter = min(maxiter, 2 * window)
    kernel = special.kernel("sweeps", _build, _arguments(special, y.dtype), unroll=UNROLL)
    converged, stuck = np.full(n_batch, n_steps), np.zeros(n_batch, bool)
    nit, residual = np.zeros((n_windows, n_batch), np.intp), np.zeros((n_windows, n_batch))
    trace = np.zeros((n_windows, maxiter))
    atol = np.asarray(atol, y.dtype)
    lock = Lock()

    def run(start: int, stop: int) -> None:
        inputs = np.zeros((inner, special.shapes.n_inputs, n_blocks), x.dtype)
        iterates = np.zeros((2, inner, n_state, n_blocks + 1), y.dtype)
        own = np.zeros_like(trace)
        kernel(
            *(x, params, y, inputs, iterates, rtol, atol, maxiter, window),
            *(start, stop, converged, stuck, nit, residual, own),
        )
        with lock:
            np.maximum(trace, own, out=trace)

    over_sequences(run, n_batch, 4 * y.size)
    return FusedOutcome(converged, stuck, nit, residual, trace)


def _arguments(special: Specialization, dtype: np.dtype[Any]) -> tuple[Any, ...]:
    size = types.intp
    return (
        special.x_type,
        special.params_type,
        writable(dtype, 3),
        writable(special.shapes.x_dtype, 3, "C"),
        writable(dtype, 4, "C"),
        real(dtype),
        readable(dtype, 1),
        *(size, size, size, size),
        writable(np.intp, 1),
        writable(np.bool_, 1),
        writable(np.intp, 2),
        writable(np.float64, 2),
        writable(np.float64, 2),
    )


def _build(special: Specialization) -> Any:
    n, m = special.shapes.n_state, special.shapes.n_inputs
    sweep, settle = _sweep(special), _settle(n)

    def kernel(
        x: Any,
        params: Any,
        y: Any,
        inputs: Any,
        iterates: Any,
        rtol: Any,
        atol: Any,
        maxiter: int,
        window: int,
        start: int,
        stop: int,
        converged: Any,
        stuck: Any,
        nit: Any,
        residual: Any,
        trace: Any,
    ) -> None:
        n_steps, inner = y.shape[0] - 1, iterates.shape[1]
        for k in range(start, stop):
            for w in range(nit.shape[0]):
                begin = w * window
                size = min(window, n_steps - begin)
                old, new = iterates[0], iterates[1]
                for i in range(n):
                    old[inner - 1, i, 0] = new[inner - 1, i, 0] = y[begin, k, i]
                for r in range(inner):
                    for j in range((size - r + inner - 1) // inner):
                        p = begin + j * inner + r
                        for i in range(m):
                            inputs[r, i, j] = x[p, k, i]
                        for i in range(n):
                            old[r, i, j + 1] = y[p + 1, k, i]
                first = count = 0
                unverified, ordered, finite = size, inner > 1, True
                largest = rtol * 0
                while True:
                    if ordered and (first == size or (not finite and first >= unverified)):
                        first, ordered, finite = unverified, False, True
                    if first == size or not finite or count == maxiter:
                        break
                    front, change = sweep(
                        inputs, params, old, new, first, size, ordered, rtol, atol
                    )
                    trace[w, count] = max(trace[w, count], change)
                    count += 1
                    length = inner if ordered else 1
                    exact = min(size, first + ((front - first) // length + 1) * length)
                    settled, change = settle(old, new, first, front, exact, ordered)
                    if not ordered:
                        largest = max(largest, change)
                    elif exact > first + inner:
                        unverified = min(unverified, first + inner)
                    finite = settled == exact
                    first = settled
                    old, new = new, old
                if ordered and finite:
                    first = min(first, unverified)
                for r in range(inner):
                    for j in range((size - r + inner - 1) // inner):
                        for i in range(n):
                            y[begin + j * inner + r + 1, k, i] = old[r, i, j + 1]
                nit[w, k], residual[w, k] = count, largest
                if first < size or not finite:
                    converged[k], stuck[k] = begin + first, not finite
                    break

    return kernel


def _sweep(special: Specialization) -> Any:
    """Return the compiled function that evaluates all positions from `first` on.

    Position ``j * inner + r`` is ``[r, :, j + 1]`` of an iterate: neighbours in
    memory are of neighbouring blocks, which a vector instruction takes
    together. ``[inner - 1, :, 0]`` is the state before the window.
    """
    n, tile = special.shapes.n_state, TILE
    images, errors = local(n * tile), local(tile)
    by_state = known(Layout.contiguous((n, tile), np.dtype(special.shapes.dtype).itemsize))
    parameters, evaluate, test = special.parameters, _evaluate(special), _test(n)

    def sweep(
        inputs: Any,
        params: Any,
        old: Any,
        new: Any,
        first: int,
        size: int,
        ordered: bool,
        rtol: Any,
        atol: Any,
    ) -> Any:
        known_params, inner = parameters(params), old.shape[0]
        f = by_state(images(old))
        error, excess, worst = errors(old), errors(old), errors(old)
        front, zero = size, rtol * 0
        for p in range(tile):
            worst[p] = zero
        for r in range(inner):
            previous = old[inner - 1] if r == 0 else (new[r - 1] if ordered else old[r - 1])
            shift = 0 if r == 0 else 1
            low, high = (first - r + inner - 1) // inner, (size - r + inner - 1) // inner
            for begin in range(low, high, tile):
                count = min(tile, high - begin)
                evaluate(inputs[r], known_params, previous, begin, shift, count, f)
                test(old[r], new[r], begin + 1, count, rtol, atol, f, error, excess)
                for p in range(count):
                    if excess[p] > zero:
                        front = min(front, (begin + p) * inner + r)
                        break
                for p in range(count):
                    worst[p] = error[p] if error[p] > worst[p] else worst[p]
        peak = zero
        for p in range(tile):
            peak = max(peak, worst[p])
        return front, peak

    return inlined(sweep)


def _evaluate(special: Specialization) -> Any:
    """Return the compiled function that evaluates the step on a tile of blocks."""
    n, m = special.shapes.n_state, special.shapes.n_inputs
    step, argument = special.step, special.argument
    new_state, new_input = special.state, special.input

    def evaluate(
        inputs: Any, params: Any, previous: Any, begin: int, shift: int, count: int, f: Any
    ) -> None:
        state, image, numbers = new_state(previous), new_state(previous), new_input(inputs)
        y_prev, u = ahead(previous, begin + shift), ahead(inputs, begin)
        for p in range(count):
            for i in range(n):
                state[i] = y_prev[i, p]
                image[i] = np.nan
            for i in range(m):
                numbers[i] = u[i, p]
            step(state, argument(numbers), params, image)
            for i in range(n):
                f[i, p] = image[i]

    return inlined(evaluate)


def _test(n: int) -> Any:
    """Return the compiled function that tests a tile against its old values, and stores it."""

    def test(
        old: Any,
        new: Any,
        begin: int,
        count: int,
        rtol: Any,
        atol: Any,
        f: Any,
        error: Any,
        excess: Any,
    ) -> None:
        y, y_new = ahead(old, begin), ahead(new, begin)
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
                y_new[i, p] = f[i, p]

    return inlined(test)


def _settle(n: int) -> Any:
    """Return the compiled function that fixes what became exact, in both iterates.

    It returns the first position that is not finite, or the end, and the
    largest change of what was solved before.
    """

    def settle(old: Any, new: Any, first: int, front: int, exact: int, ordered: bool) -> Any:
        inner, largest = old.shape[0], abs(old[0, 0, 0]) * 0
        for p in range(first, exact):
            r, j = p % inner, p // inner + 1
            for i in range(n):
                if p < front:
                    largest = max(largest, abs(new[r, i, j] - old[r, i, j]))
                    if not ordered:
                        new[r, i, j] = old[r, i, j]
                elif not np.isfinite(new[r, i, j]):
                    return p, largest
                old[r, i, j] = new[r, i, j]
        return exact, largest

    return inlined(settle)
