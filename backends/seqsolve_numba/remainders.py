# mypy: disable-error-code="no-untyped-call"
"""Remainders, exactly, and hypotenuses."""

from __future__ import annotations

import math

from seqsolve_numba.floating import Value
from seqsolve_numba.rarely import rarely


def remainder(x: Value, y: Value) -> Value:
    """Return the remainder of a division rounded down, which has the sign of `y`."""
    size = y.size
    rest = _remainder(x.size, size)
    opposite = (x.bits ^ y.bits).number.has_sign() & ~rest.is_zero()
    return opposite.choose(size - rest, rest).signed(y)


def fmod(x: Value, y: Value) -> Value:
    """Return the remainder of a division rounded towards zero, which has the sign of `x`."""
    return _remainder(x.size, y.size).signed(x)


def _remainder(x: Value, y: Value) -> Value:
    """Return the remainder of numbers that are not negative.

    The quotient is rounded to the nearest whole number, so it may be one too large. The C library
    is asked where it has too many digits, and where a product with it could be infinite or
    subnormal.
    """
    form = x.format
    shift, most = form.shift, 2.0 ** (form.bias - form.mantissa - 2)
    quotient = x / y
    usual = (quotient < 2.0 ** (form.mantissa - 2)) & (y < most) & (y > 1 / most)
    there = rarely(~usual, Value.__mod__, "fmod", x, y)
    rest = x.less_product((quotient + shift) - shift, y)
    rest = (rest < 0.0).choose(rest + y, rest)
    return usual.choose(rest, there)


def hypot(x: Value, y: Value) -> Value:
    """Return the length of the hypotenuse, whose square neither overflows nor vanishes here."""
    bias = x.format.bias
    x, y = x.size, y.size
    longer = (x > y).choose(x, y)
    power = (longer > 2.0 ** (bias // 2 - 2)).choose(x.constant(2.0 ** -(bias * 5 // 8)), 1.0)
    power = (longer < 2.0 ** (13 - bias // 2)).choose(2.0 ** (bias * 7 // 8), power)
    a, b = x * power, y * power
    length = (a * a + b * b).root() / power
    return (x.equals(math.inf) | y.equals(math.inf)).choose(math.inf, length)


#: All of them.
FUNCTIONS = (remainder, fmod, hypot)
