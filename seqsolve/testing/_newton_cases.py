"""Cases for the primitive `newton_update`."""

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
    expect,
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
    (1, 1, 1),
    (1, 3, 4),
    (2, 3, 2),
    (3, 1, 3),
    (5, 0, 2),
    (0, 2, 3),
    (7, 3, 4),
    (33, 2, 8),
    (64, 3, 4),
    (100, 1, 2),
    (7, 1, 16),
)
_FEW_SIZES = ((1, 3, 4), (7, 3, 4), (64, 3, 4), (33, 1, 16))

#: What of the states ``y[-1], y[0], ...`` a step may return as their image.
_IMAGES: dict[str, Callable[[Any], Any]] = {
    "`fy` is the preceding states": lambda a: a[:-1],
    "`fy` is `y`": lambda a: a[1:],
    "`fy` is `y` reversed": lambda a: a[1:][..., ::-1],
}


def cases() -> Iterator[ConformanceCase]:
    """Yield the cases of this module."""
    for structure in ("diagonal", "dense"):
        for name, check in {
            "update": _sizes,
            "ignores-the-first-matrix": _first_matrix,
            "views": _views,
            "shared-memory": _shared,
            "repairs-non-finite-matrix": _bad_matrix,
            "repairs-non-finite-fy": _bad_image,
            "repairs-overflow": _overflow,
            "keeps-large-fy": _large_image,
            "repairs-in-long-windows": _long_repair,
        }.items():
            yield ConformanceCase(f"newton_update-{structure}-{name}", partial(check, structure))


def _each(
    structure: str, backend: Backend
) -> Iterator[tuple[str, str, HostArray, HostArray, HostArray]]:
    """Yield each dtype and method with random arrays of a few sizes."""
    for dtype in backend.capabilities.dtypes:
        for size in _SIZES if dtype == backend.capabilities.dtypes[0] else _FEW_SIZES:
            A, fy, y = _random(structure, size, dtype)
            for method in methods(backend):
                yield dtype, method, A.copy(), fy.copy(), y.copy()


def _random(
    structure: str, size: tuple[int, int, int], dtype: str
) -> tuple[HostArray, HostArray, HostArray]:
    """Return matrices, the image of the iterate and the iterate."""
    rng = np.random.default_rng(size)
    A = random_matrices(rng, structure, size, dtype)
    return A, noise(rng, size, dtype), noise(rng, size, dtype)


def _check(
    backend: Backend,
    A: HostArray,
    fy: HostArray,
    y: HostArray,
    method: str,
    arrays: tuple[Array, Array, Array] | None = None,
) -> None:
    """Compare the primitive with the loop, up to and including the first repair.

    From there on in a sequence (in an element, where the matrices are
    diagonal), a backend may go on from the value before the repair or from the
    one after it: both are approximations of no exactness. The values must
    still keep the rule: within the limit, or one of the two substitutes.
    """
    dtype = str(y.dtype)
    given = arrays is not None
    A_array, fy_array, y_array = arrays or tuple(owned(backend, a) for a in (A, fy, y))
    expected, repaired = _oracle.newton_update(A, fy, y)
    with context(
        f"{dtype}, method {method!r}, n_steps = {y.shape[0]}, n_batch = {y.shape[1]}, "
        f"n_state = {y.shape[2]}"
    ):
        backend.newton_update(A_array, fy_array, y_array, method=method)
        got = on_backend(backend, y_array, y.shape, dtype, "y")
        bad = repaired if A.ndim == 3 else repaired.any(axis=-1, keepdims=True)
        after = np.cumsum(bad, axis=0) - bad > 0
        free = np.broadcast_to(after, y.shape)
        size = np.maximum.accumulate(np.abs(expected).max(axis=-1, initial=1, keepdims=True))
        structure = "diagonal" if A.ndim == 3 else "dense"
        allowed = 4 * rounding(structure, y.shape[-1], dtype) * size
        substitute = np.where(np.isfinite(fy), fy, y)
        close(
            np.where(free, 0, got),
            np.where(free, 0, expected).astype(expected.dtype),
            np.where(repaired, 0, allowed),
            "y",
        )
        limit = float(np.finfo(dtype).max) ** 0.5
        fine = ~free | (np.abs(got) <= limit) | (got == substitute)
        expect(
            fine.all(),
            "`y` must be repaired after the first repair as well: within the square root of the "
            f"largest number, or `fy`, or the old `y`; got {got[~fine][:3]} at "
            f"{np.argwhere(~fine)[:3].tolist()}.",
        )
        if not given:
            unchanged(backend, A_array, A, "A")
            unchanged(backend, fy_array, fy, "fy")


def _sizes(structure: str, backend: Backend) -> None:
    for _, method, A, fy, y in _each(structure, backend):
        _check(backend, A, fy, y, method)


def _first_matrix(structure: str, backend: Backend) -> None:
    for _, method, A, fy, y in _each(structure, backend):
        A[:1] = np.nan
        _check(backend, A, fy, y, method)


def _views(structure: str, backend: Backend) -> None:
    dtype = backend.capabilities.dtypes[0]
    A, fy, y = _random(structure, (12, 4, 4), dtype)
    views: dict[str, Callable[[Any, Any], Any]] = {
        "reversed in time": lambda xp, a: a[::-1],
        "every second step": lambda xp, a: a[::2],
        "every second sequence": lambda xp, a: a[:, ::2],
        "last axes swapped": lambda xp, a: a.swapaxes(-1, -2) if a.ndim == 4 else a,
        "one step for all": lambda xp, a: xp.broadcast_to(a[:1], a.shape),
    }
    for name, view in views.items():
        for method in methods(backend):
            hosts, arrays = [], []
            for a in (A, fy, y):
                writes = a is y and name == "one step for all"
                hosts.append(a if writes else view(np, a))
                array = owned(backend, a)
                arrays.append(array if writes else view(backend.xp, array))
            with context(f"views: {name}"):
                _check(
                    backend,
                    hosts[0],
                    hosts[1],
                    hosts[2],
                    method,
                    arrays=(arrays[0], arrays[1], arrays[2]),
                )


def _shared(structure: str, backend: Backend) -> None:
    """Share memory with the iterate, as a step does that returns its argument."""
    for dtype in backend.capabilities.dtypes:
        for n_batch, n_state in [(3, 4), (1, 16)]:
            A, _, _ = _random(structure, (20, n_batch, n_state), dtype)
            rng = np.random.default_rng(8)
            host = noise(rng, (21, n_batch, n_state), dtype)
            for method in methods(backend):
                for name, fy in _IMAGES.items():
                    buffer = owned(backend, host)
                    with context(name):
                        _check(
                            backend,
                            A,
                            fy(host).copy(),
                            host[1:].copy(),
                            method,
                            arrays=(owned(backend, A), fy(buffer), buffer[1:]),
                        )
                if structure == "diagonal":
                    buffer, small = owned(backend, host * 0.5), host * np.array(0.5, dtype)
                    image = noise(rng, (20, n_batch, n_state), dtype)
                    with context("`A` is the preceding states"):
                        _check(
                            backend,
                            small[:-1].copy(),
                            image,
                            small[1:].copy(),
                            method,
                            arrays=(buffer[:-1], owned(backend, image), buffer[1:]),
                        )


def _bad_matrix(structure: str, backend: Backend) -> None:
    for value in (np.nan, np.inf, -np.inf):
        for _, method, A, fy, y in _each(structure, backend):
            if len(y) < 3 or not y.size:
                continue
            A[len(y) // 2, -1] = value
            with context(f"A holds {value} in one step of the last sequence"):
                _check(backend, A, fy, y, method)


def _bad_image(structure: str, backend: Backend) -> None:
    for value in (np.nan, np.inf):
        for _, method, A, fy, y in _each(structure, backend):
            if not y.size:
                continue
            fy[len(y) // 3, 0, -1] = value
            with context(f"fy holds {value} in one step of the first sequence"):
                _check(backend, A, fy, y, method)


def _overflow(structure: str, backend: Backend) -> None:
    """Reach numbers that are finite but useless: beyond the root of the largest."""
    for dtype, method, A, fy, y in _each(structure, backend):
        if len(y) < 3 or not y.size:
            continue
        A[len(y) // 2] = float(np.finfo(dtype).max) ** 0.75
        with context("A holds numbers beyond the limit"):
            _check(backend, A, fy, y, method)


def _large_image(structure: str, backend: Backend) -> None:
    """Store an image beyond the limit, however large, rather than what is built on it."""
    for dtype, method, A, fy, y in _each(structure, backend):
        if not y.size:
            continue
        fy[len(y) // 2, -1] = float(np.finfo(dtype).max) ** 0.75
        with context("fy holds numbers beyond the limit"):
            _check(backend, A, fy, y, method)


def _long_repair(structure: str, backend: Backend) -> None:
    """Multiply matrices that overflow by themselves: the iterate stays finite."""
    for dtype in backend.capabilities.dtypes:
        A, fy, y = _random(structure, (600, 3, 4), dtype)
        A[:, 1] *= 1e4
        for method in methods(backend):
            _check(backend, A, fy, y, method)
