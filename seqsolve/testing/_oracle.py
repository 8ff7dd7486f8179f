"""What is right, by plain loops over time in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from seqsolve.backend import FusedOutcome

HostArray: TypeAlias = npt.NDArray[Any]


def wide(a: Any) -> HostArray:
    """Return `a` in double precision."""
    return np.asarray(a, np.result_type(a, np.float64))


def apply(A: HostArray, v: HostArray) -> HostArray:
    """Return ``A v``, for diagonal, block-diagonal and dense matrices."""
    extra = A.ndim - v.ndim
    if extra == 0:
        return A * v
    if extra == 2:
        v = v.reshape(*v.shape[:-1], *A.shape[-3:-1])
    product: HostArray = (A @ v[..., None])[..., 0]
    return product if extra == 1 else product.reshape(*product.shape[:-2], -1)


def transposed(A: HostArray, v: HostArray) -> HostArray:
    """Return the matrices that act on `v`, transposed."""
    return A.swapaxes(-1, -2) if A.ndim > v.ndim else A


def linear_recurrence(
    A: HostArray, b: HostArray, y0: HostArray | None, *, reverse: bool = False
) -> HostArray:
    """Return the solution of ``y[t] = A[t] y[t-1] + b[t]``."""
    A, b = wide(A), wide(b)
    y = np.empty(b.shape, np.result_type(A, b))
    state = np.zeros(b.shape[1:]) if y0 is None else wide(y0)
    for t in range(len(b))[:: -1 if reverse else 1]:
        y[t] = state = apply(A[t], state) + b[t]
    return y


def residual_test(
    y: HostArray, fy: HostArray, rtol: float, atol: HostArray
) -> tuple[list[int], list[float]]:
    """Return each sequence's first failing step and largest residual."""
    n_steps, n_batch, _ = y.shape
    first, largest = [n_steps] * n_batch, [0.0] * n_batch
    for k in range(n_batch):
        for t in range(n_steps):
            r = np.abs(y[t, k] - fy[t, k])
            fails = ~((r <= atol + rtol * np.abs(y[t, k])) & np.isfinite(r))
            if fails.any() and first[k] == n_steps:
                first[k] = t
            largest[k] = max(largest[k], *np.where(np.isnan(r), np.inf, r))
    return first, largest


def newton_update(A: HostArray, fy: HostArray, y: HostArray) -> tuple[HostArray, HostArray]:
    """Return the new iterate, and which of its values were repaired."""
    limit = float(np.finfo(y.dtype).max) ** 0.5
    A, fy, old = wide(A), wide(fy), wide(y)
    new = np.empty(old.shape, np.result_type(A, fy, old))
    repaired = np.zeros(old.shape, bool)
    for t in range(len(old)):
        new[t] = fy[t] + (apply(A[t], new[t - 1] - old[t - 1]) if t else 0)
        repaired[t] = ~(np.abs(new[t]) <= limit)
        substitute = np.where(np.isfinite(fy[t]), fy[t], old[t])
        new[t] = np.where(repaired[t], substitute, new[t])
    return new, repaired


def trajectory(f: Callable[[Any, Any], Any], x: Any, y0: HostArray, n_steps: int) -> HostArray:
    """Return the states of ``y[t] = f(y[t-1], x[t])``; `x` is an array or a dict."""
    y = np.empty((n_steps, *y0.shape), np.result_type(y0, np.float64))
    state = wide(y0)
    for t in range(n_steps):
        y[t] = state = f(state, {k: v[t] for k, v in x.items()} if isinstance(x, dict) else x[t])
    return y


def adjoint(A: HostArray, g: HostArray) -> tuple[HostArray, HostArray]:
    """Return ``lam[t] = g[t] + A[t+1]^T lam[t+1]``, and ``A[0]^T lam[0]``."""
    A, lam = transposed(wide(A), g), wide(g).copy()
    for t in range(len(g) - 1)[::-1]:
        lam[t] += apply(A[t + 1], lam[t + 1])
    return lam, apply(A[0], lam[0])


def sweep_windows(
    f: Callable[[HostArray, HostArray, int], HostArray],
    y: HostArray,
    *,
    atol: float,
    maxiter: int,
    window: int,
    block_size: int,
) -> FusedOutcome:
    """Sweep the iterate `y`, ``(n_steps + 1, n_batch, n_state)``, in place.

    ``f(y_prev, steps, k)`` returns the states of some steps of sequence `k`.
    """
    n_steps, n_batch = len(y) - 1, y.shape[1]
    n_windows = -(-n_steps // window)
    converged, stuck = np.full(n_batch, n_steps), np.zeros(n_batch, bool)
    nit, residual = np.zeros((n_windows, n_batch), np.intp), np.zeros((n_windows, n_batch))
    trace = np.zeros((n_windows, maxiter))
    for k in range(n_batch):
        for w in range(n_windows):
            begin = w * window
            s = y[begin : begin + window + 1, k]  # s[t + 1] is position t of the window
            first, unverified, finite = 0, len(s) - 1, True
            stride = block_size
            while nit[w, k] < maxiter:
                if stride > 1 and (first == len(s) - 1 or (not finite and first >= unverified)):
                    first, stride, finite = unverified, 1, True
                if first == len(s) - 1 or not finite:
                    break
                new = s.copy()
                for r in range(first, min(first + stride, len(s) - 1)):
                    rows = np.arange(r, len(s) - 1, stride)
                    if stride == 1:
                        rows = np.arange(first, len(s) - 1)
                    new[rows + 1] = f((s if r == first else new)[rows], begin + rows, k)
                change = np.abs(new - s).max(axis=1)[1:]
                fails = np.flatnonzero(~(change <= atol) & (np.arange(len(s) - 1) >= first))
                front = int(fails.min(initial=len(s) - 1))
                exact = min(len(s) - 1, first + ((front - first) // stride + 1) * stride)
                peak = np.where(np.isnan(change), np.inf, change)[first:].max()
                trace[w, nit[w, k]] = max(trace[w, nit[w, k]], peak)
                nit[w, k] += 1
                bad = np.flatnonzero(~np.isfinite(new[front + 1 : exact + 1]).all(axis=1))
                finite = not bad.size
                if stride == 1:
                    residual[w, k] = max(residual[w, k], change[first:front].max(initial=0))
                    new[first + 1 : front + 1] = s[first + 1 : front + 1]
                elif exact > first + stride:
                    unverified = min(unverified, first + stride)
                first = exact if finite else front + int(bad[0])
                s[...] = new
            if stride > 1 and first >= unverified:
                first, finite = unverified, True
            if first < len(s) - 1 or not finite:
                converged[k], stuck[k] = begin + first, not finite
                break
    return FusedOutcome(converged, stuck, nit, residual, trace)
