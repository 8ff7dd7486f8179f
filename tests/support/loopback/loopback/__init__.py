"""An array library that is no NumPy: as strict as one whose arrays live on a device.

Its arrays hold NumPy arrays, but convert to them only by `Array.get`, do not
mix with them, and have the functions and signatures that CuPy has as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loopback import linalg as linalg
from loopback._array import Array, unwrap, wrap

__version__ = "1.0"

inf, nan, pi, newaxis = np.inf, np.nan, np.pi, None

_FUNCTIONS = {
    "abs",
    "absolute",
    "add",
    "all",
    "amax",
    "amin",
    "any",
    "arange",
    "arctan",
    "argmax",
    "argmin",
    "array_equal",
    "ascontiguousarray",
    "broadcast_arrays",
    "broadcast_to",
    "ceil",
    "clip",
    "concatenate",
    "conj",
    "conjugate",
    "copy",
    "cos",
    "cosh",
    "cumsum",
    "diagonal",
    "divide",
    "einsum",
    "empty",
    "empty_like",
    "exp",
    "expand_dims",
    "expm1",
    "eye",
    "flip",
    "floor",
    "full",
    "full_like",
    "imag",
    "isfinite",
    "isinf",
    "isnan",
    "linspace",
    "log",
    "log1p",
    "logical_and",
    "logical_not",
    "logical_or",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "moveaxis",
    "multiply",
    "negative",
    "ones",
    "ones_like",
    "partition",
    "power",
    "prod",
    "ravel",
    "real",
    "repeat",
    "reshape",
    "result_type",
    "roll",
    "shape",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "stack",
    "std",
    "subtract",
    "sum",
    "swapaxes",
    "take",
    "tan",
    "tanh",
    "tensordot",
    "tile",
    "transpose",
    "true_divide",
    "var",
    "vstack",
    "where",
    "zeros",
    "zeros_like",
}


def asarray(a: Any, dtype: Any = None) -> Array:
    """Return `a` on the device: a copy, unless it is there already."""
    if isinstance(a, Array):
        return a if dtype is None else a.astype(dtype, copy=False)
    return Array(np.array(a, dtype=dtype))


def array(a: Any, dtype: Any = None) -> Array:
    """Return a copy of `a` on the device."""
    return Array(np.array(a.get() if isinstance(a, Array) else a, dtype=dtype))


def _function(name: str) -> Callable[..., Any]:
    fun = getattr(np, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        unknown = {"initial", "where", "like", "subok"} & set(kwargs)
        if unknown:
            raise TypeError(f"loopback.{name} has no argument {min(unknown)!r}")
        return wrap(fun(*unwrap(args), **unwrap(kwargs)))

    call.__name__ = call.__qualname__ = name
    if isinstance(fun, np.ufunc):
        call.at = lambda a, *others: fun.at(unwrap(a), *unwrap(others))  # type: ignore[attr-defined]
    return call


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        globals()[name] = _function(name)
        return globals()[name]
    raise AttributeError(f"module 'loopback' has no attribute {name!r}")
