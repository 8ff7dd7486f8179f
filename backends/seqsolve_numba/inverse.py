# mypy: disable-error-code="no-untyped-call"
"""The inverses of sine, cosine and tangent in straight lines of arithmetic.

`tests/support/coefficients.py` computes the polynomials.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from seqsolve_numba.floating import FLOAT32, FLOAT64, Value, polynomial


@dataclass(frozen=True)
class _Constants:
    """What differs between precisions.

    Parameters
    ----------
    half_pi : tuple of float
        pi / 2 in two parts.
    arctan : tuple of float
        ``(arctan(t) - t) / t**3`` for ``abs(t) <= 0.4146``, in powers of ``t**2``. The relative
        error of the arc tangent is below ``0.025 * 2**-53`` and ``0.053 * 2**-24``.
    arcsin : tuple of float
        ``(arcsin(s) - s) / s**3`` for ``abs(s) <= 0.5001``, in powers of ``s**2``. The relative
        error of the arc sine is below ``0.14 * 2**-53`` and ``0.11 * 2**-24``.
    """

    half_pi: tuple[float, float]
    arctan: tuple[float, ...]
    arcsin: tuple[float, ...]


_CONSTANTS = {
    FLOAT32: _Constants(
        half_pi=(1.5707963705062866, -4.371138828673793e-08),
        arctan=(
            *(-0.33333316445350647, 0.199984610080719, -0.14243310689926147),
            *(0.1059207171201706, -0.06073584407567978),
        ),
        arcsin=(
            *(0.16666752099990845, 0.07495290786027908, 0.04547138884663582),
            *(0.024173857644200325, 0.04217692092061043),
        ),
    ),
    FLOAT64: _Constants(
        half_pi=(1.5707963267948966, 6.123233995736766e-17),
        arctan=(
            *(-0.3333333333333319, 0.19999999999952367, -0.14285714280073766),
            *(0.1111111077733539, -0.09090897582018342, 0.07692057095109595),
            *(-0.06663068624950491, 0.05847631622088541, -0.05038143165827414),
            *(0.03803502269990389, -0.017874819827244693),
        ),
        arcsin=(
            *(0.16666666666665403, 0.07500000000338582, 0.04464285682695294),
            *(0.030381959196361177, 0.022371756572344144, 0.01735972776157806),
            *(0.01388500205102541, 0.012170781700224443, 0.006521033836423421),
            *(0.01954765215614544, -0.016255260165843156, 0.031933909615567),
        ),
    ),
}

#: Up to this ratio, tan(pi / 8), the series is taken of the ratio itself.
_NARROW = math.sqrt(2) - 1


def arctan(x: Value) -> Value:
    """Return the arc tangent."""
    return _angle(x.size, x.constant(1.0)).signed(x)


def arctan2(y: Value, x: Value) -> Value:
    """Return the angle of the point `x`, `y`, between -pi and pi."""
    high, low = _CONSTANTS[x.format].half_pi
    angle = _angle(*_moderate(y.size, x.size))
    return x.has_sign().choose((angle * -1.0 + 2.0 * low) + 2.0 * high, angle).signed(y)


def arcsin(x: Value) -> Value:
    """Return the arc sine."""
    size = x.size
    wide, s, rest = _arcsin_part(size)
    high, low = _CONSTANTS[x.format].half_pi
    beyond, less = x.constant(high).sum_with_less(s * -2.0)
    beyond = beyond + (rest * -2.0 + low + less)
    return wide.choose(beyond, s + rest).signed(x)


def arccos(x: Value) -> Value:
    """Return the arc cosine."""
    wide, s, rest = _arcsin_part(x.size)
    high, low = _CONSTANTS[x.format].half_pi
    back = (s * -2.0 + 2.0 * high) + (rest * -2.0 + 2.0 * low)
    beyond = x.has_sign().choose(back, (s + rest) * 2.0)
    within = (x.constant(low) - rest.signed(x)) - x + high
    return wide.choose(beyond, within)


def _angle(y: Value, x: Value) -> Value:
    """Return the angle of a point whose coordinates are not negative.

    The ratio of the smaller to the larger one, `t`, is the tangent of the angle to the nearer
    axis; where it is large, ``(t - 1) / (t + 1)`` is that of the angle to the diagonal.
    """
    c = _CONSTANTS[y.format]
    steep = y > x
    least, most = steep.choose(x, y), steep.choose(y, x)
    wide = least > most * _NARROW
    below = wide.choose(least + most, most)
    t = wide.choose(least - most, least) / below
    square = t * t
    rest = t * square * polynomial(square, c.arctan)
    one = y.constant(1.0)
    sign = steep.choose(-one, one)
    quarters = wide.choose(one, steep.choose(y.constant(2.0), 0.0))
    rest = rest * sign + quarters * (c.half_pi[1] / 2)
    return t * sign + rest + quarters * (c.half_pi[0] / 2)


def _moderate(y: Value, x: Value) -> tuple[Value, Value]:
    """Return coordinates of the same angle whose sum is neither zero, infinite nor subnormal."""
    large = 2.0 ** (y.format.bias - 2)
    most = (y > x).choose(y, x)
    endless = y.equals(math.inf) & x.equals(math.inf)
    nowhere = y.is_zero() & x.is_zero()
    factor = (most > large).choose(y.constant(1 / large), 1.0)
    factor = (most < 1 / large).choose(large, factor)
    return endless.choose(1.0, y * factor), (endless | nowhere).choose(1.0, x * factor)


def _arcsin_part(size: Value) -> tuple[Value, Value, Value]:
    """Return whether a number is above 1 / 2, and an arc sine in two parts.

    It is that of the number, or of ``sqrt((1 - size) / 2)``: half the arc cosine.
    """
    wide = size > 0.5
    square = wide.choose((size.constant(1.0) - size) * 0.5, size * size)
    s = wide.choose(square.root(), size)
    return wide, s, s * square * polynomial(square, _CONSTANTS[size.format].arcsin)


#: All of them.
FUNCTIONS = (arctan, arctan2, arcsin, arccos)
