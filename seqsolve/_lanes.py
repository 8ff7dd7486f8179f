"""Runs a function written for one position at all positions."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from seqsolve.backend import Array


class UnsetError(Exception):
    """An element of the result was not set; the text names it."""


class NotRealError(Exception):
    """An element of a real result is complex; the text names it."""


class NotANumberError(TypeError):
    """The function asks for one number where there are many."""


class _Lanes(NDArrayOperatorsMixin):
    """The numbers of all positions, in place of the number of one.

    Behaves as a number does: it never changes, and ``a += b`` makes a new one.
    """

    __slots__ = ("values",)

    def __init__(self, values: Array) -> None:
        self.values = values

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options:
            return NotImplemented
        result = ufunc(*(a.values if isinstance(a, _Lanes) else a for a in inputs))
        return tuple(map(_Lanes, result)) if isinstance(result, tuple) else _Lanes(result)

    def __bool__(self) -> bool:
        raise NotANumberError("a branch depends on the position")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise NotANumberError("a number is needed, not an array")

    def __iadd__(self, other: Any) -> Any:
        return self + other

    def __isub__(self, other: Any) -> Any:
        return self - other

    def __imul__(self, other: Any) -> Any:
        return self * other

    def __itruediv__(self, other: Any) -> Any:
        return self / other

    def __ipow__(self, other: Any) -> Any:
        return self**other


class _Vector:
    """An argument of the function: for every element, the numbers of all positions."""

    def __init__(self, array: Array, shape: tuple[int, ...]) -> None:
        self._array = array
        self.shape = shape
        self.ndim = len(shape)
        self.size = int(np.prod(shape))
        self.dtype = array.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise NotANumberError("a number is needed, not an array")

    def __getitem__(self, index: Any) -> _Lanes:
        return _Lanes(self._array[(..., *_position(index, self.shape))])


class _Result:
    """The last argument of the function."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape = shape
        self.ndim = len(shape)
        self.size = int(np.prod(shape))
        self.dtype = dtype
        self.entries: dict[tuple[int, ...], Any] = {}

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise NotANumberError("a number is needed, not an array")

    def __getitem__(self, index: Any) -> Any:
        return self.entries[_position(index, self.shape)]

    def __setitem__(self, index: Any, value: Any) -> None:
        self.entries[_position(index, self.shape)] = value

    def array(self, like: Array, lead: tuple[int, ...]) -> Array:
        """Return the result at all positions."""
        result = np.empty_like(like, dtype=self.dtype, shape=(*lead, *self.shape))
        for index in np.ndindex(self.shape):
            if index not in self.entries:
                raise UnsetError(", ".join(map(str, index)))
            entry = self.entries[index]
            value = entry.values if isinstance(entry, _Lanes) else entry
            if np.dtype(self.dtype).kind == "f" and np.iscomplexobj(value):
                raise NotRealError(", ".join(map(str, index)))
            result[(..., *index)] = value
        return result


def evaluate(
    function: Any, y_prev: Array, x: Array | None, params: tuple[Any, ...], shape: tuple[int, ...]
) -> Array:
    """Return what `function` sets, at all positions at once."""
    lead, x, item, dtype = _frame(y_prev, x, params)
    result = _Result(shape, dtype)
    argument: Any = None
    if x is not None:
        argument = _Vector(x, item) if item else _Lanes(x)
    function(_Vector(y_prev, y_prev.shape[-1:]), argument, _numbers(params), result)
    return result.array(y_prev, lead)


def loop(
    function: Any, y_prev: Array, x: Array | None, params: tuple[Any, ...], shape: tuple[int, ...]
) -> Array:
    """Return what `function` sets, position by position."""
    lead, x, item, dtype = _frame(y_prev, x, params)
    y_prev = np.broadcast_to(y_prev, (*lead, y_prev.shape[-1]))
    if x is not None:
        x = np.broadcast_to(x, (*lead, *item))
    result = np.empty_like(y_prev, dtype=dtype, shape=(*lead, *shape), order="C")
    result[...] = np.nan  # where the function sets nothing, as in compiled code
    numbers = _numbers(params)
    for index in np.ndindex(lead):
        function(y_prev[index], None if x is None else x[index], numbers, result[index])
    return result


def _frame(
    y_prev: Array, x: Array | None, params: tuple[Any, ...]
) -> tuple[tuple[int, ...], Array | None, tuple[int, ...], Any]:
    """Return the leading axes of the result, the input, the shape of its items, and a dtype."""
    lead, item = tuple(y_prev.shape[:-1]), ()
    if x is not None:
        item = tuple(x.shape[len(lead) :])
        lead = np.broadcast_shapes(lead, tuple(x.shape[: len(lead)]))
    return lead, x, item, result_dtype(y_prev, x, params)


def result_dtype(y_prev: Array, x: Array | None, params: tuple[Any, ...]) -> Any:
    """Return the dtype of the result."""
    return np.result_type(*(a.dtype for a in (y_prev, x, *params) if a is not None))


def _numbers(params: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(a if a.ndim else a[()] for a in params)


def _position(index: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the index of one element, counted from the start; IndexError if there is none."""
    parts = index if isinstance(index, tuple) else (index,)
    if len(parts) != len(shape):
        raise NotANumberError(f"an element has {len(shape)} indices; got {index!r}")
    position = []
    for part, size in zip(parts, shape, strict=True):
        i = operator.index(part)
        if not -size <= i < size:
            raise IndexError(f"index {index!r} is out of bounds for shape {shape}")
        position.append(i % size)
    return tuple(position)
