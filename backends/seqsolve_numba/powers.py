# mypy: disable-error-code="no-untyped-call"
"""Powers in straight lines of arithmetic.

``x**y = 2**(y log2(x))``, and an error of the exponent is one of the result: so the logarithm and
its product with `y` come in two parts (Dekker's arithmetic).

`tests/support/coefficients.py` computes the constants.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from seqsolve_numba.elementary import exp_of, in_exp_range, normalised
from seqsolve_numba.floating import FLOAT32, FLOAT64, Value, polynomial


@dataclass(frozen=True)
class _Constants:
    """What differs between precisions.

    Parameters
    ----------
    third, by_log_2 : tuple of float
        1 / 3 and 2 / ln 2 in two parts.
    tail : tuple of float
        ``(atanh(s) / s - 1 - s**2 / 3) / s**4`` for ``abs(s) <= 0.1716``, in powers of
        ``s**2``. The error of ``atanh(s) / s`` is below ``2**-66`` and ``2**-36``.
    """

    third: tuple[float, float]
    by_log_2: tuple[float, float]
    tail: tuple[float, ...]


_CONSTANTS = {
    FLOAT32: _Constants(
        third=(0.3333333432674408, -9.934107758624577e-09),
        by_log_2=(2.885390043258667, 3.851926067000022e-08),
        tail=(0.20000076293945312, 0.14273537695407867, 0.1170998364686966),
    ),
    FLOAT64: _Constants(
        third=(0.3333333333333333, 1.850371707708594e-17),
        by_log_2=(2.8853900817779268, 4.0710547481862066e-17),
        tail=(
            *(0.1999999999999999, 0.1428571428572261, 0.11111111108755346),
            *(0.09090909436747109, 0.07692278326581509, 0.06668162914106229),
            *(0.058373236595824836, 0.05995221206621056),
        ),
    ),
}


def power(x: Value, y: Value) -> Value:
    """Return ``x**y``."""
    size = x.size
    high, low = _log2(size)
    y_size = y.size
    most = 2.0 ** (x.format.mantissa + 16)
    bounded = (y_size > most).choose(y.constant(most).signed(y), y)
    exponent, less = bounded.product(high)
    less = less + bounded * low
    shifted = (exponent + less) + x.format.shift
    r = (exponent - (shifted - x.format.shift)) + less
    result = in_exp_range(exponent * math.log(2), exp_of(shifted, r * math.log(2)))
    whole, odd = _is_whole(y_size), ~_is_whole(y_size * 0.5)
    negative = x.has_sign()
    result = (negative & whole & odd).choose(-result, result)
    undefined = (x < 0.0) & (size < math.inf) & ~whole & (y_size < math.inf)
    result = undefined.choose(math.nan, result)
    return (y.is_zero() | x.equals(1.0)).choose(1.0, result)


def _log2(x: Value) -> tuple[Value, Value]:
    """Return the logarithm of a number that is not negative, in two parts.

    ``log2(1 + f) = 2 / ln 2 atanh(s)``, ``s = f / (f + 2)``, ``atanh(s) / s = 1 + s**2 / 3 + ...``.
    """
    c = _CONSTANTS[x.format]
    one = x.constant(1.0)
    k, f, _ = normalised(x)
    below = f + 2.0
    below_low = f - (below - 2.0)
    inverse = one / below
    s, _ = f.product(inverse)
    s_low = (f.less_product(s, below) - s * below_low) * inverse
    z, z_low = s.product(s)
    z_low = z_low + s * s_low * 2.0
    third, third_low = z.product(c.third[0])
    tail = z * z * polynomial(z, c.tail)
    series, series_low = one.sum_with_less(third)
    series_low = series_low + (third_low + z * c.third[1] + z_low * c.third[0] + tail)
    scaled, scaled_low = s.product(c.by_log_2[0])
    scaled_low = scaled_low + (s * c.by_log_2[1] + s_low * c.by_log_2[0])
    log, log_low = scaled.product(series)
    log_low = log_low + (scaled * series_low + scaled_low * series)
    high, low = k.sum_with_less(log)
    edge = x.is_zero().choose(x.constant(-math.inf), x)
    return ((x > 0.0) & (x < math.inf)).choose(high, edge), low + log_low


def _is_whole(size: Value) -> Value:
    """Return the condition that a number, which is not negative, has no fraction."""
    most = 2.0**size.format.mantissa
    return ((size + most) - most).equals(size) | (size > most)


#: The only one.
FUNCTIONS = (power,)
