"""Cases for the primitive `residual_test`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from seqsolve.backend import Array, Backend
from seqsolve.testing import _oracle
from seqsolve.testing._case import ConformanceCase
from seqsolve.testing._expect import context, eps, expect, noise, owned, precision
from seqsolve.testing._oracle import HostArray

_SIZES = ((1, 1, 1), (1, 3, 4), (2, 1, 3), (7, 3, 2), (64, 2, 8), (100, 1, 1), (5, 0, 2), (0, 2, 3))

_VIEWS: dict[str, Callable[[Any, Any], Any]] = {
    "reversed in time": lambda xp, a: a[::-1],
    "every second sequence": lambda xp, a: a[:, ::2],
    "states reversed": lambda xp, a: a[..., ::-1],
    "time and batch swapped": lambda xp, a: a.swapaxes(0, 1),
    "one step for all": lambda xp, a: xp.broadcast_to(a[7:8], a.shape),
}


def cases() -> Iterator[ConformanceCase]:
    """Yield the cases of this module."""
    for name, check in {
        "first-failing-step": _first_step,
        "largest-residual": _largest,
        "all-pass": _all_pass,
        "at-the-tolerance-passes": _ties,
        "tolerance-per-element": _per_element,
        "relative-tolerance": _relative,
        "nan-fails": _not_a_number,
        "infinity": _infinity,
        "views": _views,
    }.items():
        yield ConformanceCase(f"residual_test-{name}", check)


def _check(
    backend: Backend,
    y: HostArray,
    fy: HostArray,
    rtol: float,
    atol: Any,
    arrays: tuple[Array, Array] | None = None,
) -> None:
    dtype = str(y.dtype)
    tolerance = np.full(y.shape[-1], atol, precision(dtype))
    u, v = arrays or (owned(backend, y), owned(backend, fy))
    what = f"{dtype}, n_steps = {y.shape[0]}, n_batch = {y.shape[1]}, n_state = {y.shape[2]}"
    with context(what):
        first, largest = backend.residual_test(u, v, rtol, backend.asarray(tolerance))
        for name, got, kind in [("first", first, np.intp), ("largest", largest, np.float64)]:
            expect(
                isinstance(got, np.ndarray) and got.dtype == kind and got.shape == y.shape[1:2],
                f"`{name}` must be a NumPy array of shape {y.shape[1:2]} and dtype "
                f"{np.dtype(kind)}; got {got!r}.",
            )
        expected_first, expected_largest = _oracle.residual_test(y, fy, rtol, tolerance)
        expect(
            first.tolist() == expected_first,
            f"The first failing steps must be {expected_first}; got {first.tolist()}.",
        )
        expect(
            np.allclose(largest, expected_largest, rtol=8 * eps(dtype), atol=0),
            f"The largest residuals must be {expected_largest}; got {largest.tolist()}.",
        )


def _each(backend: Backend, check: Callable[[HostArray, np.random.Generator], None]) -> None:
    """Call a check with random states of every dtype and size."""
    for dtype in backend.capabilities.dtypes:
        for size in _SIZES:
            rng = np.random.default_rng(size)
            check(noise(rng, size, dtype), rng)


def _first_step(backend: Backend) -> None:
    def check(y: HostArray, rng: np.random.Generator) -> None:
        fy = y.copy()
        for k in range(y.shape[1] if y.size else 0):
            for t in rng.integers(0, y.shape[0], 2):
                fy[t, k, rng.integers(y.shape[2])] += 0.5
        _check(backend, y, fy, 0.0, 0.125)

    _each(backend, check)


def _largest(backend: Backend) -> None:
    def check(y: HostArray, rng: np.random.Generator) -> None:
        _check(backend, y, y + noise(rng, y.shape, str(y.dtype)), 0.0, 10.0)

    _each(backend, check)


def _all_pass(backend: Backend) -> None:
    _each(backend, lambda y, rng: _check(backend, y, y.copy(), 0.0, 0.0))


def _ties(backend: Backend) -> None:
    for dtype in backend.capabilities.dtypes:
        y = np.full((4, 2, 3), 2, dtype)
        fy = y.copy()
        fy[1:, 0] += 0.5
        fy[3, 1, 2] += 0.5 + 4 * eps(dtype)
        _check(backend, y, fy, 0.0, 0.5)
        _check(backend, y, fy, 0.125, 0.25)


def _per_element(backend: Backend) -> None:
    for dtype in backend.capabilities.dtypes:
        for j in range(5):
            y = np.zeros((6, 2, 5), dtype)
            fy = y + np.array([0, 1, 2, 3, 4], dtype)
            fy[3, 1, j] += 1
            _check(backend, y, fy, 0.0, np.array([0.5, 1.5, 2.5, 3.5, 4.5]))


def _relative(backend: Backend) -> None:
    """Measure the tolerance by `y`, not by `fy`."""
    for dtype in backend.capabilities.dtypes:
        y = np.array([1, -2, 4, 8], dtype).reshape(4, 1, 1)
        fy = y.copy()
        fy[2] = 6
        _check(backend, y, fy, 0.5, 0.0)
        _check(backend, y, fy, 0.375, 0.0)


def _not_a_number(backend: Backend) -> None:
    def check(y: HostArray, rng: np.random.Generator) -> None:
        for where in ("y", "fy", "both"):
            u, v = y.copy(), y.copy()
            for k in range(0, y.shape[1] if y.size else 0, 2):
                at = (int(rng.integers(y.shape[0])), k, int(rng.integers(y.shape[2])))
                if where != "fy":
                    u[at] = np.nan
                if where != "y":
                    v[at] = np.nan
            with context(f"NaN in {where}"):
                _check(backend, u, v, 0.1, 1.0)

    _each(backend, check)


def _infinity(backend: Backend) -> None:
    for dtype in backend.capabilities.dtypes:
        for u, v in [(np.inf, 1.0), (1.0, np.inf), (np.inf, np.inf), (np.inf, -np.inf)]:
            y = np.ones((5, 2, 2), dtype)
            fy = y.copy()
            y[3, 1, 1], fy[3, 1, 1] = u, v
            with context(f"{u} against {v}"):
                _check(backend, y, fy, 0.0, 1.0)
                _check(backend, y, fy, 0.5, 1.0)


def _views(backend: Backend) -> None:
    rng = np.random.default_rng(3)
    for dtype in backend.capabilities.dtypes:
        y = noise(rng, (12, 4, 3), dtype)
        fy = y.copy()
        fy[7, 2, 1] += 1
        for name, view in _VIEWS.items():
            arrays = tuple(view(backend.xp, owned(backend, a)) for a in (y, fy))
            with context(name):
                _check(backend, view(np, y), view(np, fy), 0.0, 0.5, (arrays[0], arrays[1]))
