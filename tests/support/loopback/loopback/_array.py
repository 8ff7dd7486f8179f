"""The array class."""

from __future__ import annotations

import operator
import sys
from typing import Any, NamedTuple

import numpy as np


def unwrap(a: Any) -> Any:
    """Return what NumPy computes with; refuse NumPy arrays, as a device would."""
    if isinstance(a, Array):
        return a._a
    if isinstance(a, np.ndarray) and a.ndim:
        raise TypeError(f"a NumPy array of shape {a.shape} was mixed with loopback arrays")
    if isinstance(a, dict):
        return {k: unwrap(v) for k, v in a.items()}
    if isinstance(a, tuple | list):
        return type(a)(unwrap(v) for v in a)
    return a


def wrap(a: Any) -> Any:
    """Return NumPy's result as loopback's; numbers become arrays without axes."""
    if isinstance(a, np.ndarray | np.generic):
        return Array(np.asarray(a))
    if isinstance(a, tuple | list):
        return type(a)(wrap(v) for v in a)
    return a


class Flags(NamedTuple):
    """What `Array.flags` tells."""

    c_contiguous: bool
    f_contiguous: bool
    owndata: bool


class Array:
    """Values of one dtype, with the methods and operators of an array."""

    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, a: np.ndarray) -> None:
        self._a = a

    def get(self) -> np.ndarray:
        """Return a copy in host memory."""
        return self._a.copy()

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("loopback arrays do not convert to NumPy arrays by themselves; use .get()")

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return sys.modules["loopback"]

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__":
            return NotImplemented
        out = kwargs.pop("out", None)
        if out is None:
            return wrap(ufunc(*unwrap(inputs), **unwrap(kwargs)))
        if not all(isinstance(o, Array) for o in out):
            raise TypeError("loopback arrays compute into loopback arrays only")
        ufunc(*unwrap(inputs), out=unwrap(out), **unwrap(kwargs))
        return out[0]

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        space = "loopback.linalg" if func.__module__ == "numpy.linalg" else "loopback"
        own = getattr(sys.modules[space], func.__name__, None)
        if own is None:
            return NotImplemented
        return own(*args, **kwargs)

    def __getitem__(self, index: Any) -> Array:
        return Array(np.asarray(self._a[unwrap(index)]))

    def __setitem__(self, index: Any, value: Any) -> None:
        self._a[unwrap(index)] = unwrap(value)

    def __len__(self) -> int:
        return len(self._a)

    def __bool__(self) -> bool:
        return bool(self._a)

    def __int__(self) -> int:
        return int(self._a)

    def __float__(self) -> float:
        return float(self._a)

    def __complex__(self) -> complex:
        return complex(self._a)

    def __index__(self) -> int:
        return operator.index(self._a)

    def __repr__(self) -> str:
        return f"loopback.{self._a!r}"

    dtype = property(lambda self: self._a.dtype)
    shape = property(lambda self: self._a.shape)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    itemsize = property(lambda self: self._a.itemsize)
    nbytes = property(lambda self: self._a.nbytes)
    strides = property(lambda self: self._a.strides)
    T = property(lambda self: Array(self._a.T))
    real = property(lambda self: Array(self._a.real))
    imag = property(lambda self: Array(self._a.imag))

    @property
    def flags(self) -> Flags:
        flags = self._a.flags
        return Flags(flags.c_contiguous, flags.f_contiguous, flags.owndata)

    def astype(self, dtype: Any, order: str = "K", casting: Any = None, copy: bool = True) -> Array:
        return Array(self._a.astype(dtype, order=order, copy=copy))  # type: ignore[call-overload]

    def view(self, dtype: Any) -> Array:
        return Array(self._a.view(dtype))

    def repeat(self, repeats: Any, axis: Any = None) -> Array:
        return Array(self._a.repeat(repeats, axis=axis))

    def reshape(self, *shape: Any) -> Array:
        return Array(self._a.reshape(*shape))

    def ravel(self) -> Array:
        return Array(self._a.ravel())

    def copy(self) -> Array:
        return Array(self._a.copy())

    def swapaxes(self, axis1: int, axis2: int) -> Array:
        return Array(self._a.swapaxes(axis1, axis2))

    def transpose(self, *axes: int) -> Array:
        return Array(self._a.transpose(*axes))

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
        return Array(self._a.diagonal(offset, axis1, axis2))

    def conj(self) -> Array:
        return Array(self._a.conj())

    def item(self) -> Any:
        return self._a.item()

    def sum(self, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False):
        return wrap(self._a.sum(axis=axis, dtype=dtype, keepdims=keepdims))

    def prod(self, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False):
        return wrap(self._a.prod(axis=axis, dtype=dtype, keepdims=keepdims))

    def mean(self, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False):
        return wrap(self._a.mean(axis=axis, dtype=dtype, keepdims=keepdims))

    def max(self, axis: Any = None, out: None = None, keepdims: bool = False):
        return wrap(self._a.max(axis=axis, keepdims=keepdims))

    def min(self, axis: Any = None, out: None = None, keepdims: bool = False):
        return wrap(self._a.min(axis=axis, keepdims=keepdims))

    def all(self, axis: Any = None, out: None = None, keepdims: bool = False):
        return wrap(self._a.all(axis=axis, keepdims=keepdims))

    def any(self, axis: Any = None, out: None = None, keepdims: bool = False):
        return wrap(self._a.any(axis=axis, keepdims=keepdims))

    def argmax(self, axis: Any = None, out: None = None, keepdims: bool = False):
        return wrap(self._a.argmax(axis=axis, keepdims=keepdims))

    def argmin(self, axis: Any = None, out: None = None, keepdims: bool = False):
        return wrap(self._a.argmin(axis=axis, keepdims=keepdims))


def _add_operators() -> None:
    """Give the class the operators of Python, each with NumPy's meaning."""

    def unary(name: str) -> Any:
        fun = getattr(operator, name)
        return lambda self: Array(np.asarray(fun(self._a)))

    def binary(name: str) -> Any:
        fun = getattr(operator, name)
        return lambda self, other: wrap(fun(self._a, unwrap(other)))

    def reflected(name: str) -> Any:
        fun = getattr(operator, name)
        return lambda self, other: wrap(fun(unwrap(other), self._a))

    def in_place(name: str) -> Any:
        fun = getattr(operator, name)

        def operate(self: Array, other: Any) -> Array:
            self._a = fun(self._a, unwrap(other))
            return self

        return operate

    for name in ("__neg__", "__pos__", "__abs__", "__invert__"):
        setattr(Array, name, unary(name))
    for name in ("lt", "le", "eq", "ne", "gt", "ge"):
        setattr(Array, f"__{name}__", binary(f"__{name}__"))
    for name in (
        "add",
        "sub",
        "mul",
        "truediv",
        "floordiv",
        "mod",
        "pow",
        "matmul",
        "and",
        "or",
        "xor",
        "lshift",
        "rshift",
    ):
        setattr(Array, f"__{name}__", binary(f"__{name}__"))
        setattr(Array, f"__r{name}__", reflected(f"__{name}__"))
        setattr(Array, f"__i{name}__", in_place(f"__i{name}__"))


_add_operators()
