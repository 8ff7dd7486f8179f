# mypy: disable-error-code="no-untyped-call"
"""Sine, cosine and tangent in straight lines of arithmetic.

An argument is reduced by the nearest multiple of pi / 2, which is subtracted in three parts
(Cody and Waite), and what is left comes in two parts, as accurate as the argument is exact. Beyond
some limit the C library is asked.

`tests/support/coefficients.py` computes the constants.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from seqsolve_numba.floating import FLOAT32, FLOAT64, Value, polynomial
from seqsolve_numba.rarely import rarely


@dataclass(frozen=True)
class _Constants:
    """What differs between precisions.

    Parameters
    ----------
    half_pi : tuple of float
        pi / 2 in three parts.
    limit : float
        Arguments up to here are reduced by subtraction.
    sine : tuple of float
        ``(sin(r) - r) / r**3`` for ``abs(r) <= 0.8011``, in powers of ``r**2``. The relative
        error of the sine is below ``0.062 * 2**-53`` and ``0.16 * 2**-24``.
    cosine : tuple of float
        ``(cos(r) - 1 + r**2 / 2) / r**4`` there. The relative error of the cosine is below
        ``0.008 * 2**-53`` and ``0.012 * 2**-24``.
    """

    half_pi: tuple[float, float, float]
    limit: float
    sine: tuple[float, ...]
    cosine: tuple[float, ...]


_CONSTANTS = {
    FLOAT32: _Constants(
        half_pi=(1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
        limit=2.0**17,
        sine=(-0.16666653752326965, 0.00833206344395876, -0.00019502121722325683),
        cosine=(0.04166664183139801, -0.0013887184904888272, 2.4418184693786316e-05),
    ),
    FLOAT64: _Constants(
        half_pi=(1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
        limit=2.0**40,
        sine=(
            *(-0.1666666666666662, 0.008333333333319646, -0.00019841269827574175),
            *(2.7557312911927447e-06, -2.505063535973649e-08, 1.5889652538569552e-10),
        ),
        cosine=(
            *(0.041666666666666574, -0.001388888888886953, 2.4801587286633728e-05),
            *(-2.7557313534989667e-07, 2.0875612900978757e-09, -1.1353970075262515e-11),
        ),
    ),
}


def sin(x: Value) -> Value:
    """Return the sine."""
    far, there = _far("sin", x)
    quadrant, sine, cosine = _sine_and_cosine(x)
    y = quadrant.lowest_bit().choose(cosine, sine)
    y = (y.bits ^ _sign(quadrant)).number
    return far.choose(there, x.is_zero().choose(x, y))


def cos(x: Value) -> Value:
    """Return the cosine."""
    far, there = _far("cos", x)
    quadrant, sine, cosine = _sine_and_cosine(x)
    y = quadrant.lowest_bit().choose(sine, cosine)
    return far.choose(there, (y.bits ^ _sign(quadrant + 1)).number)


def tan(x: Value) -> Value:
    """Return the tangent."""
    far, there = _far("tan", x)
    quadrant, sine, cosine = _sine_and_cosine(x)
    odd = quadrant.lowest_bit()
    y = odd.choose(-cosine, sine) / odd.choose(sine, cosine)
    return far.choose(there, x.is_zero().choose(x, y))


def _far(name: str, x: Value) -> tuple[Value, Value]:
    """Return whether an argument is too large here, and the C library's result if it is."""
    far = x.size > _CONSTANTS[x.format].limit
    return far, rarely(far, lambda a: a.called(f"llvm.{name}", a), name, x)


def _sign(quadrant: Value) -> Value:
    """Return the bit of a sign that the second bit of an integer says."""
    form = quadrant.format
    return (quadrant << (form.sign.bit_length() - 2)) & form.sign


def _sine_and_cosine(x: Value) -> tuple[Value, Value, Value]:
    """Return the quadrant, in the last bits of an integer, and sine and cosine within it."""
    c = _CONSTANTS[x.format]
    quadrant, r, low = _reduced(x)
    square = r * r
    half = square * 0.5
    sine = r + (r * square * polynomial(square, c.sine) + (low - low * half))
    rest = square * square * polynomial(square, c.cosine) - r * low
    near = x.constant(1.0) - half
    cosine = near + (((x.constant(1.0) - near) - half) + rest)
    return quadrant, sine, cosine


def _reduced(x: Value) -> tuple[Value, Value, Value]:
    """Return the quadrant, in the last bits, and in two parts what is left of `x`."""
    first, second, third = _CONSTANTS[x.format].half_pi
    shifted = x * (2 / math.pi) + x.format.shift
    k = shifted - x.format.shift
    rest = x.less_product(k, first)
    high, low = k.product(second)
    r, taken = rest.sum_with_less(-high)
    return shifted.bits, r, taken - (low + k * third)


#: All of them.
FUNCTIONS = (sin, cos, tan)
