"""Functions of one number, real or complex."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from seqsolve_numpy.kernels.compilation import FASTMATH

_OPTIONS: Any = {"fastmath": set(FASTMATH)}


def within(value: Any, limit: Any) -> bool:
    """Return whether ``abs(value) <= limit``, for `limit` the root of the largest number."""
    raise NotImplementedError("only for compiled code")


@overload(within, jit_options=_OPTIONS)
def _within(value: Any, limit: Any) -> Any:
    def of_real(value: Any, limit: Any) -> Any:
        return abs(value) <= limit

    def of_complex(value: Any, limit: Any) -> Any:
        return value.real * value.real + value.imag * value.imag <= limit * limit

    return of_complex if isinstance(value, types.Complex) else of_real


def size_bound(value: Any) -> Any:
    """Return a number no smaller than ``abs(value)``, cheaply; NaN where any part is NaN."""
    raise NotImplementedError("only for compiled code")


@overload(size_bound, jit_options=_OPTIONS)
def _size_bound(value: Any) -> Any:
    def of_real(value: Any) -> Any:
        return abs(value)

    def of_complex(value: Any) -> Any:
        return abs(value.real) + abs(value.imag)

    return of_complex if isinstance(value, types.Complex) else of_real


def increment(fy: Any, y: Any, product: Any) -> Any:
    """Return ``(fy - y) + product``, added up in this order.

    In ``(fy + product) - y``, an increment of a few units in the last place of
    `y` would be rounded to a whole number of them at every step, and never
    decay.
    """
    raise NotImplementedError("only for compiled code")


@overload(increment, jit_options={"fastmath": set(FASTMATH - {"reassoc"})})
def _increment(fy: Any, y: Any, product: Any) -> Any:
    def of_any(fy: Any, y: Any, product: Any) -> Any:
        return (fy - y) + product

    return of_any


def magnitude(value: Any) -> Any:
    """Return ``abs(value)``, without overflow; NaN where any part is NaN."""
    raise NotImplementedError("only for compiled code")


@overload(magnitude, jit_options=_OPTIONS)
def _magnitude(value: Any) -> Any:
    def of_real(value: Any) -> Any:
        return abs(value)

    def of_complex(value: Any) -> Any:
        x, y = abs(value.real), abs(value.imag)
        large, small = (x, y) if x > y else (y, x)
        if large == 0:
            return large + small
        ratio = small / large
        return large * np.sqrt(1 + ratio * ratio)

    return of_complex if isinstance(value, types.Complex) else of_real
