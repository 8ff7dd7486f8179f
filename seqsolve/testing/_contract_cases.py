"""Cases for what a backend is and declares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from seqsolve.backend import Backend
from seqsolve.testing._case import ConformanceCase
from seqsolve.testing._expect import context, eps, equal, expect, noise, on_backend, owned

#: What the core and the portable primitives call in a backend's array namespace.
NAMESPACE = (
    "abs",
    "arange",
    "ascontiguousarray",
    "broadcast_to",
    "concatenate",
    "diagonal",
    "empty",
    "empty_like",
    "eye",
    "full",
    "isfinite",
    "isnan",
    "matmul",
    "maximum",
    "moveaxis",
    "multiply",
    "sqrt",
    "stack",
    "where",
    "zeros",
    "zeros_like",
)

_DTYPES = ("float32", "float64", "complex64", "complex128")
_METHODS = ("scan", "cyclic_reduction", "sequential")

_VIEWS: dict[str, Callable[[Any], Any]] = {
    "reversed": lambda a: a[::-1],
    "every second": lambda a: a[::2, :, ::-1],
    "swapped": lambda a: a.swapaxes(0, 2),
    "one column": lambda a: a[:, 1],
}


def cases() -> Iterator[ConformanceCase]:
    """Yield the cases of this module."""
    yield ConformanceCase("contract-protocol", _protocol)
    yield ConformanceCase("contract-capabilities", _capabilities)
    yield ConformanceCase("contract-namespace", _namespace)
    yield ConformanceCase("contract-describe", _describe)
    yield ConformanceCase("contract-default-window", _default_window)
    yield ConformanceCase("arrays-to-the-backend-and-back", _round_trip)
    yield ConformanceCase("arrays-of-any-strides-come-back", _strided)
    yield ConformanceCase("arrays-index-and-assign", _indexing)
    yield ConformanceCase("arrays-answer-numpy-functions", _numpy_functions)


def _protocol(backend: Backend) -> None:
    expect(isinstance(backend, Backend), f"{backend!r} must have all members of `Backend`.")
    expect(
        isinstance(backend.name, str) and backend.name,
        f"`name` must be a string; got {backend.name!r}.",
    )
    backend.synchronize()


def _capabilities(backend: Backend) -> None:
    dtypes, methods = backend.capabilities.dtypes, backend.capabilities.linear_solvers
    expect(
        dtypes and set(dtypes) <= set(_DTYPES),
        f"`capabilities.dtypes` must be some of {_DTYPES}; got {dtypes!r}.",
    )
    expect(
        set(_METHODS) <= set(methods),
        f"`capabilities.linear_solvers` must contain {_METHODS}; got {methods!r}.",
    )
    expect("auto" not in methods, "`capabilities.linear_solvers` must not contain 'auto'.")


def _namespace(backend: Backend) -> None:
    missing = [name for name in (*NAMESPACE, "inf") if not hasattr(backend.xp, name)]
    expect(not missing, f"`xp` must have {', '.join(missing)}.")


def _describe(backend: Backend) -> None:
    told = backend.describe()
    expect(
        isinstance(told, Mapping)
        and all(isinstance(k, str) and isinstance(v, str) for k, v in told.items()),
        f"`describe()` must return a mapping of str to str; got {told!r}.",
    )


def _default_window(backend: Backend) -> None:
    for dtype in backend.capabilities.dtypes:
        for n_steps in (1, 10, 10**6):
            for n_batch, n_state, width in [(1, 1, 1), (3, 4, 4), (0, 2, 1), (10**4, 64, 64)]:
                window = backend.default_window(
                    n_steps=n_steps,
                    n_batch=n_batch,
                    n_state=n_state,
                    n_jacobian=n_state * width,
                    dtype=dtype,
                )
                expect(
                    isinstance(window, int) and window >= 1,
                    f"`default_window` must return an int of at least 1; got {window!r}.",
                )


def _round_trip(backend: Backend) -> None:
    rng = np.random.default_rng(0)
    for dtype in backend.capabilities.dtypes:
        for shape in [(3, 2, 4), (5,), (), (0, 2), (2, 0, 3)]:
            with context(f"{dtype}, shape {shape}"):
                a = noise(rng, shape, dtype)
                array = backend.asarray(a)
                np.testing.assert_array_equal(on_backend(backend, array, shape, dtype, "a"), a)
                again = on_backend(backend, backend.asarray(array), shape, dtype, "asarray(a)")
                np.testing.assert_array_equal(again, a)
        with context(f"{dtype}, cast"):
            expected = np.arange(6).astype(dtype)
            for source in (np.arange(6), [0, 1, 2, 3, 4, 5], backend.asarray(np.arange(6))):
                got = backend.asarray(source, dtype=dtype)
                np.testing.assert_array_equal(
                    on_backend(backend, got, (6,), dtype, "asarray(a, dtype)"), expected
                )
    for values in (np.array([True, False]), np.array([3, 1, 2])):
        np.testing.assert_array_equal(backend.to_numpy(backend.asarray(values)), values)


def _strided(backend: Backend) -> None:
    host = np.arange(24.0).reshape(4, 3, 2).astype(backend.capabilities.dtypes[0])
    for name, view in _VIEWS.items():
        with context(name):
            expected = view(host)
            np.testing.assert_array_equal(backend.to_numpy(view(owned(backend, host))), expected)
            np.testing.assert_array_equal(backend.to_numpy(backend.asarray(expected)), expected)


def _indexing(backend: Backend) -> None:
    host = np.arange(24.0).reshape(4, 3, 2).astype(backend.capabilities.dtypes[0])
    a, index = owned(backend, host), np.array([2, 0])
    np.testing.assert_array_equal(
        backend.to_numpy(a[:, backend.asarray(index)]), host[:, index], "a[:, index]"
    )
    a[:, backend.asarray(index)] = backend.asarray(host[:, :2])
    host[:, index] = host[:, :2].copy()
    np.testing.assert_array_equal(backend.to_numpy(a), host, "a[:, index] = values")
    a[1:3], host[1:3] = a[0], host[0]
    np.testing.assert_array_equal(backend.to_numpy(a), host, "a[1:3] = values")
    view = a[1:].reshape(3, -1)
    view[...] = 7
    expect(
        bool((backend.to_numpy(a)[1:] == 7).all()),
        "Slices and reshapes of contiguous arrays must be views.",
    )


def _numpy_functions(backend: Backend) -> None:
    rng = np.random.default_rng(1)
    functions: dict[str, Any] = {
        "np.tanh": np.tanh,
        "np.exp": np.exp,
        "np.where": lambda a: np.where(a > 0, a, 0 * a),
        "operators": lambda a: (2 * a - a**2 + 1) / 3,
        "matmul": lambda a: a @ a.swapaxes(-1, -2),
        "sum": lambda a: a.sum(axis=-1, keepdims=True) * a,
    }
    for dtype in backend.capabilities.dtypes:
        host = noise(rng, (3, 2, 2), dtype)
        for name, fun in functions.items():
            if name == "np.where" and np.dtype(dtype).kind == "c":
                continue
            with context(f"{name} on {dtype}"):
                expected = fun(host)
                got = on_backend(backend, fun(backend.asarray(host)), expected.shape, dtype, name)
                np.testing.assert_allclose(got, expected, rtol=50 * eps(dtype))
    equal(bool((backend.asarray(np.ones(3)) == 1).all()), True, "(a == 1).all()")
