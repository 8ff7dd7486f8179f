# mypy: disable-error-code="no-untyped-call"
"""How the kernels are compiled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core.caching import FunctionCache, IndexDataCacheFile

#: Freedom to regroup and fuse sums; NaN and infinity keep their meaning.
FASTMATH = frozenset({"reassoc", "contract", "nsz"})

#: A compiled function, called with arrays and numbers.
Kernel = Callable[..., None]


class _Files(IndexDataCacheFile):
    """The files of Numba's cache: their own for every key.

    Functions made of one source share an index, which two processes may both
    extend by the same file: then one finds the other's kernel there.
    """

    def _of(self, key: Any) -> IndexDataCacheFile:
        name = self._index_name.removesuffix(".nbi")
        digest = hashlib.sha256(repr(key).encode()).hexdigest()
        return IndexDataCacheFile(self._cache_path, f"{name}-{digest}", self._source_stamp)

    def load(self, key: Any) -> Any:
        """Return what is kept; None: nothing."""
        return self._of(key).load(key)

    def save(self, key: Any, data: Any) -> None:
        """Keep a kernel if there is room for it."""
        with suppress(OSError):
            self._of(key).save(key, data)


class _Cache(FunctionCache):
    """Numba's cache on disk, with other files."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = _Files(self.cache_path, self._impl.filename_base, stamp)


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
    dispatcher = numba.njit(**options)(function)
    try:
        dispatcher._cache = _Cache(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
    dispatcher.compile(types.void(*arguments))
    dispatcher.disable_compile()
    kernel: Kernel = dispatcher
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
