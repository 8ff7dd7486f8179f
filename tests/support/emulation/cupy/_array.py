"""The array class: as strict as CuPy's, with the values on the host."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from cupy._memory import Memory, current_device, memory_of


def unwrap(a: Any) -> Any:
    """Return what NumPy computes with; refuse arrays of the host and of other devices."""
    if isinstance(a, ndarray):
        if a._memory.device != current_device():
            raise ValueError(
                "Array device must be same as the current device: "
                f"array device = {a._memory.device} while current = {current_device()}"
            )
        return a._a
    if isinstance(a, np.ndarray) and a.ndim:
        raise TypeError(f"Unsupported type {type(a)}: a NumPy array was mixed with CuPy arrays")
    if isinstance(a, dict):
        return {k: unwrap(v) for k, v in a.items()}
    if isinstance(a, tuple | list):
        return type(a)(unwrap(v) for v in a)
    return a


def wrap(a: Any) -> Any:
    """Return NumPy's result as an array on the device; numbers become arrays without axes."""
    if isinstance(a, np.ndarray | np.generic):
        return _on_device(np.asarray(a))
    if isinstance(a, tuple | list):
        return type(a)(wrap(v) for v in a)
    return a


def allocate(shape: Any, dtype: Any, strides: Sequence[int] | None = None) -> ndarray:
    """Return an array without values, its axes in memory in the order of `strides`."""
    shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    axes = list(range(len(shape)))
    if strides is not None:
        axes.sort(key=lambda i: -abs(strides[i]))
    memory = Memory(int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize)
    values = np.ndarray([shape[i] for i in axes], dtype, memory.bytes)
    return ndarray._of(values.transpose(np.argsort(axes)) if axes else values, memory)


def upload(a: np.ndarray) -> ndarray:
    """Return a copy of `a` on the current device, in the order of its axes."""
    copy = allocate(a.shape, a.dtype, None if a.flags.c_contiguous else a.strides)
    copy._a[...] = a
    return copy


def compute(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function of NumPy on arrays of the device. A device warns of nothing."""
    with np.errstate(all="ignore"):
        return wrap(fun(*unwrap(args), **unwrap(kwargs)))


def _on_device(a: np.ndarray) -> ndarray:
    memory = memory_of(a)
    return upload(a) if memory is None else ndarray._of(a, memory)


class Flags(NamedTuple):
    """What `ndarray.flags` tells."""

    c_contiguous: bool
    f_contiguous: bool
    owndata: bool


class MemoryPointer(NamedTuple):
    """What `ndarray.data` is."""

    ptr: int
    device_id: int


class ndarray:
    """Values of one dtype on one device."""

    __module__ = "cupy"
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, shape: Any, dtype: Any = float) -> None:
        made = allocate(shape, dtype)
        self._a, self._memory = made._a, made._memory

    @classmethod
    def _of(cls, a: np.ndarray, memory: Memory) -> ndarray:
        self = object.__new__(cls)
        self._a, self._memory = a, memory
        return self

    def get(self, stream: Any = None, order: str = "C", out: np.ndarray | None = None):
        """Return a copy in host memory."""
        if out is None:
            return self._a.copy(order)
        out[...] = self._a
        return out

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        """Copy from host memory."""
        if arr.dtype != self.dtype or arr.shape != self.shape:
            raise ValueError("the arrays differ in dtype or shape")
        self._a[...] = arr

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__":
            return NotImplemented
        out = kwargs.pop("out", None)
        if out is None:
            return compute(ufunc, *inputs, **kwargs)
        if not all(isinstance(o, ndarray) for o in out):
            raise TypeError("return arrays must be CuPy arrays")
        compute(ufunc, *inputs, out=out, **kwargs)
        return out[0]

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        own: Any = sys.modules["cupy"]
        for part in func.__module__.split(".")[1:]:
            own = getattr(own, part, None)
        own = getattr(own, func.__name__, None)
        if own is None or not all(issubclass(t, ndarray | np.ndarray) for t in types):
            return NotImplemented
        return own(*args, **kwargs)

    def __getitem__(self, index: Any) -> ndarray:
        index = unwrap(index)
        with np.errstate(all="ignore"):
            picked = np.asarray(self._a[index])
        memory = memory_of(picked)
        if memory is None:  # copied by a list of places
            unwrap(self)
            return upload(picked)
        return ndarray._of(picked, memory)

    def __setitem__(self, index: Any, value: Any) -> None:
        with np.errstate(all="ignore"):
            unwrap(self)[unwrap(index)] = unwrap(value)

    def __len__(self) -> int:
        return len(self._a)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

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
        return repr(self._a)

    dtype = property(lambda self: self._a.dtype)
    shape = property(lambda self: self._a.shape)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    itemsize = property(lambda self: self._a.itemsize)
    nbytes = property(lambda self: self._a.nbytes)
    strides = property(lambda self: self._a.strides)

    @property
    def data(self) -> MemoryPointer:
        offset = self._a.ctypes.data - self._memory.bytes.ctypes.data
        address = self._memory.address
        return MemoryPointer(address and address + offset, self._memory.device)

    @property
    def device(self) -> Any:
        return sys.modules["cupy"].cuda.Device(self._memory.device)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        interface = self._a.__array_interface__
        return {**interface, "data": (self.data.ptr, False), "version": 3, "stream": 1}

    @property
    def flags(self) -> Flags:
        flags = self._a.flags
        return Flags(flags.c_contiguous, flags.f_contiguous, self._a.size == self._memory.size)

    @property
    def T(self) -> ndarray:
        return self.transpose()

    @property
    def real(self) -> ndarray:
        return _on_device(self._a.real)

    @property
    def imag(self) -> ndarray:
        return _on_device(self._a.imag)

    def astype(
        self,
        dtype: Any,
        order: str = "K",
        casting: Any = None,
        subok: Any = None,
        copy: bool = True,
    ) -> ndarray:
        if not copy and self.dtype == dtype:
            return self
        with np.errstate(all="ignore"):
            return upload(unwrap(self).astype(dtype, order=order))

    def copy(self, order: str = "C") -> ndarray:
        return upload(self._a.copy(order))  # from any device to the current one

    def item(self) -> Any:
        return self._a.item()

    def tolist(self) -> Any:
        return self._a.tolist()

    def view(self, dtype: Any = None) -> ndarray:
        return ndarray._of(self._a.view(dtype or self.dtype), self._memory)

    def fill(self, value: Any) -> None:
        self[...] = value

    def sum(self, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False):
        return compute(np.sum, self, axis=axis, dtype=dtype, keepdims=keepdims)

    def prod(self, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False):
        return compute(np.prod, self, axis=axis, dtype=dtype, keepdims=keepdims)

    def mean(self, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False):
        return compute(np.mean, self, axis=axis, dtype=dtype, keepdims=keepdims)


def _view(name: str) -> Callable[..., ndarray]:
    """A method that returns a view, or a copy where it must; on any device."""
    return lambda self, *args: _on_device(getattr(self._a, name)(*args))


def _reduction(name: str) -> Callable[..., ndarray]:
    fun = getattr(np, name)
    return lambda self, axis=None, out=None, keepdims=False: compute(
        fun, self, axis=axis, keepdims=keepdims
    )


def _unary(fun: Callable[[Any], Any]) -> Callable[[ndarray], ndarray]:
    return lambda self: compute(fun, self)


def _binary(fun: Callable[[Any, Any], Any]) -> Callable[[ndarray, Any], ndarray]:
    return lambda self, other: compute(fun, self, other)


def _reflected(fun: Callable[[Any, Any], Any]) -> Callable[[ndarray, Any], ndarray]:
    return lambda self, other: compute(fun, other, self)


def _in_place(fun: Callable[[Any, Any], Any]) -> Callable[[ndarray, Any], ndarray]:
    def operate(self: ndarray, other: Any) -> ndarray:
        with np.errstate(all="ignore"):
            fun(unwrap(self), unwrap(other))
        return self

    return operate


def _conjugate(self: ndarray) -> ndarray:
    return compute(np.conj, self)


def _add_methods() -> None:
    for name in ("reshape", "ravel", "swapaxes", "transpose", "diagonal", "squeeze"):
        setattr(ndarray, name, _view(name))
    for name in ("max", "min", "all", "any", "argmax", "argmin"):
        setattr(ndarray, name, _reduction(name))
    ndarray.conj = ndarray.conjugate = _conjugate
    for name in ("neg", "pos", "abs", "invert"):
        setattr(ndarray, f"__{name}__", _unary(getattr(operator, f"__{name}__")))
    for name in ("lt", "le", "eq", "ne", "gt", "ge"):
        setattr(ndarray, f"__{name}__", _binary(getattr(operator, f"__{name}__")))
    arithmetic = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")
    for name in (*arithmetic, "and", "or", "xor", "lshift", "rshift"):
        fun = getattr(operator, f"__{name}__")
        setattr(ndarray, f"__{name}__", _binary(fun))
        setattr(ndarray, f"__r{name}__", _reflected(fun))
        setattr(ndarray, f"__i{name}__", _in_place(getattr(operator, f"__i{name}__")))


_add_methods()
