"""Functions of NumPy that CuPy has as well."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from cupy._array import compute, ndarray, wrap


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: dtypes, and what answers about them.
SCALARS = _names(
    """
    bool_ can_cast complex128 complex64 dtype finfo float16 float32 float64 iinfo int16 int32
    int64 int8 intp issubdtype promote_types uint16 uint32 uint64 uint8
    """
)

#: They look at an array, on whichever device it is.
VIEWS = _names(
    """
    broadcast_arrays broadcast_to diagonal expand_dims flip imag moveaxis ndim ravel real
    reshape rollaxis shape size squeeze swapaxes transpose
    """
)

FUNCTIONS = _names(
    """
    abs absolute add all allclose amax amin angle any arange arccos arccosh arcsin arcsinh
    arctan arctan2 arctanh argmax argmin argsort argwhere around array_equal ascontiguousarray
    asfortranarray atleast_1d atleast_2d bincount bitwise_and bitwise_or bitwise_xor ceil clip
    column_stack concatenate conj conjugate copy copysign cos cosh count_nonzero cumprod cumsum
    diag diff divide dot einsum equal exp exp2 expm1 eye fabs flatnonzero floor
    floor_divide fmax fmin full full_like greater greater_equal hstack hypot identity indices
    inner isclose isfinite isinf isnan ix_ kron less less_equal linspace log log10 log1p log2
    logaddexp logical_and logical_not logical_or logical_xor matmul max maximum mean meshgrid
    min minimum mod multiply nan_to_num nanmax nanmin negative nonzero not_equal ones ones_like
    outer pad partition power prod reciprocal remainder repeat result_type rint roll round
    searchsorted sign signbit sin sinh sort split sqrt square stack std subtract sum take
    take_along_axis tan tanh tensordot tile trace tril triu true_divide trunc unique var vdot
    vstack where zeros zeros_like
    """
)

#: Those that can be applied in place, element after element, with ``.at``.
_SCATTERING = _names("add subtract maximum minimum bitwise_and bitwise_or bitwise_xor")

#: Arguments of NumPy's functions that CuPy's lack.
_UNKNOWN = {"initial", "where", "like", "subok"}


@cache
def function(name: str) -> Callable[..., Any]:
    """Return NumPy's function as one of arrays on the current device."""
    fun = getattr(np, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        unknown = _UNKNOWN & set(kwargs)
        if unknown:
            raise TypeError(f"cupy.{name}() got an unexpected keyword argument {min(unknown)!r}")
        out = kwargs.get("out")
        result = compute(fun, *args, **kwargs)
        return result if out is None else out

    def at(a: ndarray, indices: Any, b: Any) -> None:
        compute(fun.at, a, indices, b)

    call.__name__ = call.__qualname__ = name
    if name in _SCATTERING:
        call.at = at  # type: ignore[attr-defined]
    return call


@cache
def view_function(name: str) -> Callable[..., Any]:
    """Return NumPy's function as one of arrays on any device."""
    fun = getattr(np, name)

    def host(a: Any) -> Any:
        return a._a if isinstance(a, ndarray) else a

    def call(*args: Any, **kwargs: Any) -> Any:
        return wrap(fun(*map(host, args), **{k: host(v) for k, v in kwargs.items()}))

    call.__name__ = call.__qualname__ = name
    return call
