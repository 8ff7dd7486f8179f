"""Jacobi sweeps over compiled steps, fused; threads over the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from seqsolve.backend import FusedOutcome
from seqsolve_numba import windows
from seqsolve_numba.compilation import inlined, readable, real, writable
from seqsolve_numba.intrinsics import ahead, local, wide
from seqsolve_numba.specialization import KernelSource, NDArray, Specialization
from seqsolve_numba.windows import TILE, Report, tiles


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
    kernel = special.kernel("sweeps", _build, unroll=windows.UNROLL)
    width = min(window, y.shape[0] - 1)
    inner = max(1, min(block_size, width))
    n_blocks = -(-width // inner)
    maxiter = min(maxiter, 2 * window)
    options = (rtol, np.asarray(atol, y.dtype), maxiter, window)

    def solve(start: int, stop: int, report: Any) -> None:
        inputs = np.zeros((inner, special.shapes.n_inputs, n_blocks), x.dtype)
        iterates = np.zeros((2, inner, y.shape[2], n_blocks + 1), y.dtype)
        kernel(x, params, y, inputs, iterates, *options, start, stop, report)

    return Report(y, window, maxiter).fill(solve)


def _build(special: Specialization) -> KernelSource:
    n, m = special.shapes.n_state, special.shapes.n_inputs
    zero = special.number(0)
    sweep, settle = _sweep(special), _settle(special)

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
        report: Any,
    ) -> None:
        wide()
        converged, stuck, nit, residual, trace = report
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
                largest = zero
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

    dtype, size = special.shapes.dtype, types.intp
    return kernel, (
        *(special.x_type, special.params_type, writable(dtype, 3)),
        *(writable(special.shapes.x_dtype, 3, "C"), writable(dtype, 4, "C")),
        *(real(dtype), readable(dtype, 1), size, size),
        *windows.REPORT,
    )


def _sweep(special: Specialization) -> Any:
    """Return the compiled function that evaluates all positions from `first` on.

    Position ``j * inner + r`` is ``[r, :, j + 1]`` of an iterate: neighbours in
    memory are of neighbouring blocks, which a vector instruction takes
    together. ``[inner - 1, :, 0]`` is the state before the window.
    """
    n = special.shapes.n_state
    zero = special.number(0)
    images, errors, parameters = tiles(special, n), local(TILE), special.parameters
    evaluate, test = windows.evaluate(special, inlined(_nothing)), windows.test(special)

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
        f = images(old)
        error, excess, worst = errors(old), errors(old), errors(old)
        front = size
        for p in range(TILE):
            worst[p] = zero
        for r in range(inner):
            previous = old[inner - 1] if r == 0 else (new[r - 1] if ordered else old[r - 1])
            shift = 0 if r == 0 else 1
            low, high = (first - r + inner - 1) // inner, (size - r + inner - 1) // inner
            for begin in range(low, high, TILE):
                count = min(TILE, high - begin)
                y_prev, u = ahead(previous, begin + shift), ahead(inputs[r], begin)
                evaluate(y_prev, u, known_params, count, f, f)
                test(ahead(old[r], begin + 1), count, rtol, atol, f, error, excess)
                y_new = ahead(new[r], begin + 1)
                for i in range(n):
                    for p in range(count):
                        y_new[i, p] = f[i, p]
                for p in range(count):
                    if excess[p] > zero:
                        front = min(front, (begin + p) * inner + r)
                        break
                for p in range(count):
                    worst[p] = error[p] if error[p] > worst[p] else worst[p]
        peak = zero
        for p in range(TILE):
            peak = max(peak, worst[p])
        return front, peak

    return inlined(sweep)


def _nothing(state: Any, x: Any, params: Any, p: int, A: Any) -> None:
    """Sweeps need no Jacobian."""


def _settle(special: Specialization) -> Any:
    """Return the compiled function that fixes what became exact, in both iterates.

    It returns the first position that is not finite, or the end, and the
    largest change of what was solved before.
    """
    n, zero = special.shapes.n_state, special.number(0)

    def settle(old: Any, new: Any, first: int, front: int, exact: int, ordered: bool) -> Any:
        inner, largest = old.shape[0], zero
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
