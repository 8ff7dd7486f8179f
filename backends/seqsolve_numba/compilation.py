# mypy: disable-error-code="no-untyped-call"
"""Compiles kernels, and keeps them on disk by what they are made of."""

from __future__ import annotations

import functools
import hashlib
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numba
import numpy as np
from llvmlite.binding import set_option
from numba import types
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from seqsolve import random
from seqsolve_numba.pipeline import Compiler

#: Freedom to regroup, fuse and invert; NaN and infinity keep their meaning.
FASTMATH = frozenset({"reassoc", "contract", "nsz", "arcp"})

#: LLVM unrolls loops of known length up to so many instructions at Numba's level of optimisation.
UNROLL = 300

#: Nothing is allocated in compiled code, so no references are counted.
OPTIONS: dict[str, Any] = {"fastmath": set(FASTMATH), "error_model": "numpy", "_nrt": False}

#: Every operation is rounded by itself, in the order in which it is written.
EXACT: dict[str, Any] = {**OPTIONS, "fastmath": False}

#: A compiled function, called with arrays and numbers.
Kernel = Callable[..., None]


class _Cache(FunctionCache):
    """Numba's cache on disk, but by content: every kernel has files of its own.

    Numba's own does not recognise a function that calls other compiled
    functions through its closure, and does not notice when those change. Its
    functions share an index, which two processes may both extend by the same
    file: then one finds the other's kernel there.
    """

    def __init__(self, function: Callable[..., Any], content: str) -> None:
        super().__init__(function)
        self._digest = hashlib.sha256(content.encode()).hexdigest()
        name = f"{self._impl.filename_base}-{self._digest}"
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = IndexDataCacheFile(self.cache_path, name, stamp)

    def _index_key(self, signature: Any, codegen: Any) -> Any:
        return self._digest

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled kernel, or None where it cannot be read."""
        with suppress(OSError):
            try:
                return super().load_overload(sig, target_context)
            except (EOFError, pickle.UnpicklingError):
                self.flush()
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the compiled kernel if there is room for it."""
        with suppress(OSError):
            super().save_overload(sig, data)


def compile_kernel(
    function: Callable[..., Any],
    arguments: tuple[types.Type, ...],
    content: str | None,
    *,
    unroll: int = UNROLL,
    options: Mapping[str, Any] = MappingProxyType(OPTIONS),
) -> Kernel:
    """Compile `function` for one signature.

    Parameters
    ----------
    function : callable
        Python function in Numba's subset.
    arguments : tuple of numba.types.Type
        Types of its arguments.
    content : str or None
        All that its closure holds, in a form that is the same in every
        process. None: not kept on disk.
    unroll : int
        Unroll loops of known length up to so many instructions. The loop
        around an unrolled one can become a loop of vector instructions.
    options : mapping
        Numba's options: what arithmetic may be changed.

    Returns
    -------
    callable
        The compiled function. It releases the interpreter lock.
    """
    dispatcher = numba.njit(nogil=True, pipeline_class=Compiler, **options)(function)
    if content is not None:
        try:
            dispatcher._cache = _Cache(function, f"{content} {arguments} {_platform()}")
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
    with _unrolling(unroll):
        dispatcher.compile(types.void(*arguments))
    dispatcher.disable_compile()
    kernel: Kernel = dispatcher
    return kernel


@contextmanager
def _unrolling(size: int) -> Iterator[None]:
    """Unroll loops up to so many instructions, while no one else compiles."""
    with global_compiler_lock:
        set_option("", f"-unroll-threshold={size}")
        try:
            yield
        finally:
            set_option("", f"-unroll-threshold={UNROLL}")


def inlined(function: Callable[..., Any]) -> Any:
    """Return `function` compiled into those that call it."""
    return numba.njit(inline="always", **OPTIONS)(function)


def readable(dtype: Any, ndim: int, layout: Any = "A") -> Any:
    """Return the type of an input of any alignment and writability."""
    return types.Array(numba.from_dtype(np.dtype(dtype)), ndim, layout, True, aligned=False)


def writable(dtype: Any, ndim: int, layout: Any = "A") -> Any:
    """Return the type of a result of any alignment."""
    return types.Array(numba.from_dtype(np.dtype(dtype)), ndim, layout, aligned=False)


def real(dtype: Any) -> types.Type:
    """Return the type of a real number of the precision of `dtype`."""
    return numba.from_dtype(np.finfo(dtype).dtype)


@functools.cache
def _platform() -> str:
    """Return what every kernel depends on: the processor, Numba, and the sources of its parts."""
    digest = hashlib.sha256()
    for path in (*sorted(Path(__file__).parent.glob("*.py")), Path(random.__file__)):
        digest.update(path.read_bytes())
    processor = cpu_target.target_context.codegen().magic_tuple()
    return f"{processor} {numba.__version__} {digest.hexdigest()}"
