"""How the kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types

#: Freedom to regroup and fuse sums; NaN and infinity keep their meaning.
FASTMATH = frozenset({"reassoc", "contract", "nsz"})

#: A compiled function, called with arrays and numbers.
Kernel = Callable[..., None]


def compiled(function: Callable[..., Any], *arguments: types.Type) -> Kernel:
    """Compile `function` for one signature, on disk as well if a place can be found.

    Parameters
    ----------
    function : callable
        Python function in Numba's subset.
    *arguments : numba.types.Type
        Types of its arguments.

    Returns
    -------
    callable
        The compiled function. It releases the interpreter lock.
    """
    options: dict[str, Any] = {"nogil": True, "fastmath": set(FASTMATH), "error_model": "numpy"}
    signature = types.void(*arguments)
    try:
        kernel: Kernel = numba.njit(signature, cache=True, **options)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        kernel = numba.njit(signature, **options)(function)
    return kernel


def readable(dtype: np.dtype[Any], ndim: int) -> types.Array:
    """Return the type of an input of any strides, alignment and writability."""
    return types.Array(numba.from_dtype(dtype), ndim, "A", readonly=True, aligned=False)


def writable(dtype: np.dtype[Any], ndim: int) -> types.Array:
    """Return the type of a result of any strides and alignment."""
    return types.Array(numba.from_dtype(dtype), ndim, "A", aligned=False)


def real(dtype: np.dtype[Any]) -> types.Type:
    """Return the type of a real number of the precision of `dtype`."""
    return numba.from_dtype(np.finfo(dtype).dtype)
