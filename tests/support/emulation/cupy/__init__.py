"""Stands in for CuPy where there is no GPU: arrays on the host, kernels by emulation.

Only what CuPy has as well is here, and only what the arrays of a device allow: they do not
convert to NumPy arrays and do not mix with them. Results are emulated ones, times mean nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from cupy import cuda, linalg, random
from cupy._array import allocate, ndarray, upload
from cupy._functions import FUNCTIONS, SCALARS, VIEWS, function, view_function
from cupy._memory import MemoryPool, pool
from cupy._raw import RawKernel, RawModule

__all__ = ["RawKernel", "RawModule", "cuda", "linalg", "ndarray", "random"]
__version__ = "13.6.0"

#: Real CuPy has no such name.
is_emulated = True

inf, nan, pi, e, newaxis = np.inf, np.nan, np.pi, np.e, None


def asarray(a: Any, dtype: Any = None, order: Any = None, *, blocking: bool = False) -> ndarray:
    """Return `a` on the current device: a copy, unless it is there already."""
    if isinstance(a, ndarray) and a.device == cuda.Device():
        return a if dtype is None else a.astype(dtype, copy=False)
    return array(a, dtype)


def array(
    obj: Any, dtype: Any = None, copy: bool = True, order: Any = "K", *, blocking: bool = False
) -> ndarray:
    """Return a copy of `obj` on the current device."""
    if isinstance(obj, list | tuple) and obj and isinstance(obj[0], ndarray):
        obj = function("stack")(obj)
    return upload(np.array(obj._a if isinstance(obj, ndarray) else obj, dtype=dtype))


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    """Return an array whose values nobody has set."""
    return ndarray(shape, dtype)


def empty_like(
    prototype: ndarray, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None
) -> ndarray:
    """Return an array of the shape of `prototype` whose values nobody has set."""
    keeps = order == "K" and shape is None and not prototype.flags.c_contiguous
    return allocate(
        prototype.shape if shape is None else shape,
        prototype.dtype if dtype is None else dtype,
        prototype.strides if keeps else None,
    )


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None) -> np.ndarray:
    """Return `a` in host memory."""
    return a.get(order=order, out=out) if isinstance(a, ndarray) else np.asarray(a)


def copyto(dst: ndarray, src: Any) -> None:
    """Write `src`, broadcast, into `dst`."""
    dst[...] = src


def get_default_memory_pool() -> MemoryPool:
    return pool


def get_array_module(*args: Any) -> Any:
    import sys

    return sys.modules["cupy"] if any(isinstance(a, ndarray) for a in args) else np


def __getattr__(name: str) -> Any:
    if name in SCALARS:
        return getattr(np, name)
    if name in VIEWS:
        return view_function(name)
    if name in FUNCTIONS:
        return function(name)
    raise AttributeError(f"module 'cupy' has no attribute {name!r}")
