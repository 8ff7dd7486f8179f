"""Cases for the primitive `linear_recurrence`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from seqsolve.backend import Array, Backend
from seqsolve.testing import _oracle
from seqsolve.testing._case import ConformanceCase
from seqsolve.testing._expect import (
    close,
    context,
    eps,
    equal,
    methods,
    noise,
    on_backend,
    owned,
    random_matrices,
    rounding,
    unchanged,
)
from seqsolve.testing._oracle import HostArray

#: (n_steps, n_batch, n_state), for one dtype and for the others.
_SIZES = (
    (0, 1, 2),
    (0, 3, 1),
    (1, 1, 1),
    (1, 3, 4),
    (2, 3, 2),
    (3, 1, 3),
    (5, 0, 2),
    (7, 1, 16),
    (7, 3, 4),
    (33, 2, 8),
    (64, 3, 4),
    (100, 1, 2),
)
_FEW_SIZES = ((0, 3, 1), (1, 3, 4), (7, 3, 4), (64, 3, 4), (33, 1, 16))
_LONG = ((1000, 1, 1), (1000, 3, 4))

#: Views of arrays ``(n_steps, n_batch, ...)`` that a backend meets, of the same shape.
_VIEWS: dict[str, Callable[[Any, Any], Any]] = {
    "reversed in time": lambda xp, a: a[::-1],
    "states reversed": lambda xp, a: a[..., ::-1],
    "one step for all": lambda xp, a: xp.broadcast_to(a[:1], a.shape),
    "one sequence for all": lambda xp, a: xp.broadcast_to(a[:, :1], a.shape),
    "one value for all": lambda xp, a: xp.broadcast_to(a[:1, :1], a.shape),
    "matrices transposed": lambda xp, a: a.swapaxes(-1, -2) if a.ndim == 4 else a,
}

#: And such that cut or turn all arrays alike.
_CUTS: dict[str, Callable[[Any, Any], Any]] = {
    "every second step": lambda xp, a: a[::2],
    "without the first step": lambda xp, a: a[1:],
    "every second sequence": lambda xp, a: a[:, ::2],
    "time and batch swapped": lambda xp, a: a.swapaxes(0, 1),
}


def cases() -> Iterator[ConformanceCase]:
    """Yield the cases of this module."""
    for structure in ("diagonal", "dense"):
        for reverse in (False, True):
            for transpose in (False, True):
                yield ConformanceCase(
                    f"linear_recurrence-{structure}"
                    + ("-reverse" if reverse else "")
                    + ("-transpose" if transpose else ""),
                    partial(_sizes, structure, reverse, transpose),
                )
        yield ConformanceCase(f"linear_recurrence-{structure}-long", partial(_long, structure))
        yield ConformanceCase(f"linear_recurrence-{structure}-views", partial(_views, structure))
        yield ConformanceCase(
            f"linear_recurrence-{structure}-without-loss", partial(_without_loss, structure)
        )
        yield ConformanceCase(f"linear_recurrence-{structure}-growth", partial(_growth, structure))
        yield ConformanceCase(f"linear_recurrence-{structure}-out", partial(_out, structure))


def _random(
    structure: str, size: tuple[int, int, int], dtype: str
) -> tuple[HostArray, HostArray, HostArray]:
    """Return matrices, a right-hand side and an initial state."""
    rng = np.random.default_rng(size)
    A = random_matrices(rng, structure, size, dtype)
    return A, noise(rng, size, dtype), noise(rng, size[1:], dtype)


def _check(
    backend: Backend,
    A: HostArray,
    b: HostArray,
    y0: HostArray | None,
    allowed: Any,
    *,
    method: str,
    reverse: bool = False,
    transpose: bool = False,
    arrays: tuple[Array, Array] | None = None,
    expected: HostArray | None = None,
) -> None:
    """Compare the primitive with the loop, and its inputs with what they were."""
    dtype = str(b.dtype)
    if arrays is None:
        arrays = owned(backend, A), owned(backend, b)
    state = None if y0 is None else owned(backend, y0)
    if expected is None:
        expected = _expected(A, b, y0, reverse, transpose)
    with context(
        f"{dtype}, method {method!r}, n_steps = {b.shape[0]}, n_batch = {b.shape[1]}, "
        f"n_state = {b.shape[2]}, y0 {'None' if y0 is None else 'given'}"
    ):
        y = backend.linear_recurrence(
            *arrays, state, reverse=reverse, transpose=transpose, method=method, out=None
        )
        close(on_backend(backend, y, b.shape, dtype, "y"), expected, allowed, "y")
        for name, array, before in [("A", arrays[0], A), ("b", arrays[1], b), ("y0", state, y0)]:
            if before is not None:
                unchanged(backend, array, before, name)


def _expected(
    A: HostArray, b: HostArray, y0: HostArray | None, reverse: bool, transpose: bool
) -> HostArray:
    if transpose:
        A = _oracle.transposed(A, b)
    return _oracle.linear_recurrence(A, b, y0, reverse=reverse)


def _sizes(structure: str, reverse: bool, transpose: bool, backend: Backend) -> None:
    main = backend.capabilities.dtypes[0]
    for dtype in backend.capabilities.dtypes:
        for size in _SIZES if dtype == main and not transpose else _FEW_SIZES:
            A, b, y0 = _random(structure, size, dtype)
            for state in (None, y0):
                expected = _expected(A, b, state, reverse, transpose)
                for method in methods(backend):
                    _check(
                        backend,
                        A,
                        b,
                        state,
                        rounding(structure, size[2], dtype),
                        method=method,
                        reverse=reverse,
                        transpose=transpose,
                        expected=expected,
                    )


def _long(structure: str, backend: Backend) -> None:
    for dtype in backend.capabilities.dtypes[:2]:
        for size in _LONG:
            A, b, y0 = _random(structure, size, dtype)
            for reverse in (False, True):
                expected = _expected(A, b, y0, reverse, False)
                for method in methods(backend):
                    _check(
                        backend,
                        A,
                        b,
                        y0,
                        rounding(structure, size[2], dtype),
                        method=method,
                        reverse=reverse,
                        expected=expected,
                    )


def _views(structure: str, backend: Backend) -> None:
    dtype = backend.capabilities.dtypes[-1]
    size = (13, 5, 4)
    A, b, _ = _random(structure, size, dtype)
    for view, name, which in [
        *((view, name, which) for name, view in _VIEWS.items() for which in ("A", "b")),
        *((view, name, "A and b") for name, view in _CUTS.items()),
    ]:
        pairs = [
            (view(np, host), view(backend.xp, owned(backend, host)))
            if key in which
            else (host, owned(backend, host))
            for key, host in (("A", A), ("b", b))
        ]
        (A_view, A_array), (b_view, b_array) = pairs
        for method in methods(backend):
            for reverse in (False, True):
                with context(f"`{which}` {name}"):
                    _check(
                        backend,
                        A_view,
                        b_view,
                        None,
                        rounding(structure, size[2], dtype),
                        method=method,
                        reverse=reverse,
                        arrays=(A_array, b_array),
                    )


def _without_loss(structure: str, backend: Backend) -> None:
    """Carry the initial state to the end: matrices of norm one, nothing added."""
    n_steps = 400
    rng = np.random.default_rng(5)
    for dtype in backend.capabilities.dtypes:
        y0 = noise(rng, (3, 4), dtype)
        b = np.zeros((n_steps, 3, 4), dtype)
        A = rng.choice([-1.0, 1.0], b.shape).astype(dtype)
        if structure == "dense":
            A = np.linalg.qr(rng.standard_normal((*b.shape, 4)))[0].astype(dtype)
        allowed = 0.0 if structure == "diagonal" else 4 * n_steps * eps(dtype)
        for method in methods(backend):
            _check(backend, A, b, y0, allowed, method=method)


def _growth(structure: str, backend: Backend) -> None:
    """Double the state: each is right to a few units of its own size."""
    n_steps, n_state = 60, 4
    for dtype in backend.capabilities.dtypes:
        shape = (n_steps, 3, n_state)
        A: HostArray = np.full(shape, 2, dtype)
        if structure == "dense":
            A = np.broadcast_to(2 * np.eye(n_state, dtype=dtype), (*shape, n_state)).copy()
        b = noise(np.random.default_rng(6), shape, dtype)
        size = 2.0 ** (np.arange(n_steps) + 2.0)[:, None, None]
        for method in methods(backend):
            _check(backend, A, b, None, 8 * n_state * eps(dtype) * size, method=method)


def _out(structure: str, backend: Backend) -> None:
    for dtype in backend.capabilities.dtypes:
        for size in [(1, 3, 4), (9, 3, 4), (0, 1, 2)]:
            A, b, y0 = _random(structure, size, dtype)
            for method in methods(backend):
                for reverse in (False, True):
                    with context(f"{dtype}, method {method!r}, size {size}, reverse={reverse}"):
                        out = owned(backend, np.full(size, 99, dtype))
                        y = backend.linear_recurrence(
                            owned(backend, A),
                            owned(backend, b),
                            owned(backend, y0),
                            reverse=reverse,
                            transpose=False,
                            method=method,
                            out=out,
                        )
                        expected = _expected(A, b, y0, reverse, False)
                        equal(y is out, True, "y is out")
                        host = on_backend(backend, out, size, dtype, "out")
                        close(host, expected, rounding(structure, size[2], dtype), "out")
