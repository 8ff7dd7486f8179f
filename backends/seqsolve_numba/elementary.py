# mypy: disable-error-code="no-untyped-call"
"""Elementary functions that compile to straight lines of arithmetic.

A call to the C library's `exp` keeps the loop around it from becoming one of vector
instructions. These have no calls, no branches and no tables, so it becomes one, on
processors with and without fused products, in float32 and float64.

An argument is reduced to a short interval, without rounding errors that matter
(Cody and Waite, "Software Manual for the Elementary Functions", 1980; Muller,
"Elementary Functions", 2016). There a polynomial approximates: each has the least largest
relative error on its interval (Remez), in 60 digits, before its coefficients are rounded;
`tests/support/coefficients.py` computes them.

Special values are NumPy's: NaN stays, zeros keep their sign, results overflow to infinity
and underflow gradually. Nothing raises.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from seqsolve_numba.floating import FLOAT32, FLOAT64, Value, pairs, polynomial


@dataclass(frozen=True)
class _Constants:
    """What differs between precisions.

    Parameters
    ----------
    log_2, log10_2 : tuple of float
        ln 2 and log10 2 in two parts. The product of the first and an exponent is exact.
    by_log_2, by_log_10 : tuple of float
        1 / ln 2 and 1 / ln 10 in two parts, the first as close as it can be.
    expm1 : tuple of float
        ``(exp(r) - 1 - r) / r**2`` for ``abs(r) <= 0.3468``, in powers of `r`. The relative
        error of ``exp(r) - 1`` is below ``0.17 * 2**-53`` and ``0.23 * 2**-24``.
    log : tuple of float
        ``(log((1 + s) / (1 - s)) - 2 s) / s**3`` for ``abs(s) <= 0.1716``, in powers of
        ``s**2``. The relative error of the logarithm is below ``0.012 * 2**-53`` and
        ``0.014 * 2**-24``.
    exp_range : tuple of float
        Below it `exp` is zero, above it infinite; one more is as much for sinh and cosh.
    tanh_limit : float
        Where tanh rounds to 1.
    large : float
        A little less than the logarithm of the largest number.
    """

    log_2: tuple[float, float]
    log10_2: tuple[float, float]
    by_log_2: tuple[float, float]
    by_log_10: tuple[float, float]
    expm1: tuple[float, ...]
    log: tuple[float, ...]
    exp_range: tuple[float, float]
    tanh_limit: float
    large: float


_CONSTANTS = {
    FLOAT32: _Constants(
        log_2=(0.693145751953125, 1.428606765330187e-06),
        log10_2=(0.301025390625, 4.605039066518657e-06),
        by_log_2=(1.4426950216293335, 1.925963033500011e-08),
        by_log_10=(0.4342944920063019, -1.0103049952192578e-08),
        expm1=(
            *(0.4999999701976776, 0.1666654348373413, 0.04166720062494278),
            *(0.008366547524929047, 0.001388251781463623),
        ),
        log=(0.6666677654920866, 0.39977518591629874, 0.29872400295922297),
        exp_range=(-104.0, 89.0),
        tanh_limit=9.25,
        large=80.0,
    ),
    FLOAT64: _Constants(
        log_2=(0.6931471805598903, 5.497923018708371e-14),
        log10_2=(0.3010299956640665, -8.532344317057107e-14),
        by_log_2=(1.4426950408889634, 2.0355273740931033e-17),
        by_log_10=(0.4342944819032518, 1.098319650216765e-17),
        expm1=(
            *(0.5000000000000006, 0.16666666666666588, 0.041666666666576466),
            *(0.008333333333389741, 0.001388888893166691, 0.00019841269718691),
            *(2.4801505142880753e-05, 2.755740770433136e-06, 2.7626092773971397e-07),
            2.505376987186797e-08,
        ),
        log=(
            *(0.6666666666666735, 0.3999999999941289, 0.2857142874282499),
            *(0.22222198524604533, 0.18183567031969156, 0.15313976920691008),
            0.14796728572392806,
        ),
        exp_range=(-746.0, 710.0),
        tanh_limit=20.0,
        large=700.0,
    ),
}

#: Up to so many powers of two behind `large`, a factor is left for last.
_RESERVE = 16.0


def exp(x: Value) -> Value:
    """Return ``exp(x)``."""
    return in_exp_range(x, exp_of(*reduced(x)))


def exp2(x: Value) -> Value:
    """Return ``2**x``."""
    shifted = x + x.format.shift
    r = (x - (shifted - x.format.shift)) * math.log(2)
    return in_exp_range(x * math.log(2), exp_of(shifted, r))


def expm1(x: Value) -> Value:
    """Return ``exp(x) - 1``, accurately near zero."""
    y, factor = _grown(x, 1.0)
    y = y * factor
    least = -(x.format.mantissa + 3) * math.log(2)
    y = (x < least).choose(-1.0, (x > _constants(x).exp_range[1]).choose(math.inf, y))
    return y.signed(x)


def sinh(x: Value) -> Value:
    """Return the hyperbolic sine."""
    size = x.size
    y, factor = _grown(size, 1.0)
    y = (y + y / (y + 1.0)) * (factor * 0.5)
    return (size > _constants(x).exp_range[1] + 1.0).choose(math.inf, y).signed(x)


def cosh(x: Value) -> Value:
    """Return the hyperbolic cosine."""
    size = x.size
    y, factor = _grown(size, 0.0)
    y = (y + x.constant(1.0) / y) * (factor * 0.5)
    return (size > _constants(x).exp_range[1] + 1.0).choose(math.inf, y)


def tanh(x: Value) -> Value:
    """Return the hyperbolic tangent: ``u / (u + 2)``, where ``u = exp(2 |x|) - 1``."""
    size = x.size
    shifted, r = reduced(size * 2.0)
    power = _power(shifted)
    u = _expm1(r) * power + (power - 1.0)
    return (size > _constants(x).tanh_limit).choose(1.0, u / (u + 2.0)).signed(x)


def log(x: Value) -> Value:
    """Return the natural logarithm."""
    c = _constants(x).log_2
    k, f, _ = normalised(x)
    square, product = _log1p_parts(f)
    return _in_log_domain(x, k * c[0] + (f - (square - (product + k * c[1]))))


def log1p(x: Value) -> Value:
    """Return ``log(1 + x)``, accurately near zero."""
    c = _constants(x).log_2
    u = x + 1.0
    k, f, inverse = normalised(u)
    back = u - 1.0
    missing = (x.constant(1.0) - (u - back)) + (x - back)
    f = f + (u < 2.0 ** (x.format.mantissa + 8)).choose(missing * inverse, 0.0)
    square, product = _log1p_parts(f)
    y = k * c[0] + (f - (square - (product + k * c[1])))
    return _in_log_domain(u, y).signed(x)


def log2(x: Value) -> Value:
    """Return the logarithm to the base of two."""
    c = _constants(x).by_log_2
    k, f, _ = normalised(x)
    high, low = _log1p_times(f, c)
    return _in_log_domain(x, k + (high + low))


def log10(x: Value) -> Value:
    """Return the logarithm to the base of ten."""
    c = _constants(x)
    k, f, _ = normalised(x)
    high, low = _log1p_times(f, c.by_log_10)
    return _in_log_domain(x, k * c.log10_2[0] + (high + (low + k * c.log10_2[1])))


def logaddexp(x: Value, y: Value) -> Value:
    """Return ``log(exp(x) + exp(y))``."""
    difference = x.equals(y).choose(0.0, (x - y).size)
    return (x > y).choose(x, y) + log1p(exp(-difference))


def _constants(x: Value) -> _Constants:
    return _CONSTANTS[x.format]


def reduced(x: Value) -> tuple[Value, Value]:
    """Return the integer `k`, shifted into the last bits, and `r`: ``x = k ln 2 + r``."""
    shift, c = x.format.shift, _constants(x).log_2
    shifted = x * (1 / math.log(2)) + shift
    k = shifted - shift
    return shifted, (x - k * c[0]) - k * c[1]


def _expm1(r: Value) -> Value:
    """Return ``exp(r) - 1`` of a reduced argument."""
    return (r * r) * polynomial(r, _constants(r).expm1) + r


def _power(shifted: Value, one: int | Value | None = None) -> Value:
    """Return ``2**k``, times the number whose bits are `one`."""
    form = shifted.format
    one = form.bits(1.0) if one is None else one
    return ((shifted.bits << form.mantissa) + one).number


def exp_of(shifted: Value, r: Value) -> Value:
    """Return ``2**k exp(r)``, in two factors: one could overflow or be rounded twice.

    Here ``exp(r) - 1`` is a single tree: sooner there than `_expm1`, and rounded once more.
    """
    form = shifted.format
    half = shifted.bits >> 1
    rest = shifted.bits - half
    first, second = (((k << form.mantissa) + form.bits(1.0)).number for k in (half, rest))
    less_one = polynomial(r * r, [r, *pairs(r, _constants(r).expm1)])
    return (less_one * first + first) * second


def in_exp_range(x: Value, y: Value) -> Value:
    """Return `y`, or what an exponential is where it overflows or vanishes."""
    low, high = _constants(x).exp_range
    edge = (x < low).choose(x.constant(0.0), math.inf)
    return ((x < low) | (x > high)).choose(edge, y)


def _grown(x: Value, less: float) -> tuple[Value, Value]:
    """Return ``exp(x) - less`` over a factor, and that factor: 1 but where it could overflow.

    Where the factor is not 1, `less` does not count.
    """
    form = x.format
    shifted, r = reduced(x)
    large = x > _constants(x).large
    one = large.choose(x.word(form.bits(1 / _RESERVE)), x.word(form.bits(1.0)))
    power = _power(shifted, one)
    return _expm1(r) * power + (power - less), large.choose(x.constant(_RESERVE), 1.0)


def normalised(x: Value) -> tuple[Value, Value, Value]:
    """Return `k`, `f` and ``2**-k``: ``x = 2**k (1 + f)``, ``1 + f`` between 0.71 and 1.42."""
    form = x.format
    least = form.bits(math.sqrt(0.5))
    tiny = x < float(np.finfo(form.dtype).tiny)
    lift = form.mantissa + 2
    x = tiny.choose(x * 2.0**lift, x)
    biased = x.bits + (form.bits(1.0) - least)
    exponent = biased >> form.mantissa
    zero = 2.0**form.mantissa + form.bias
    k = (exponent | form.bits(2.0**form.mantissa)).number
    k = k - tiny.choose(x.constant(zero + lift), zero)
    f = ((biased & (2**form.mantissa - 1)) + least).number - 1.0
    inverse = (x.word(2 * form.bias) - exponent) << form.mantissa
    return k, f, inverse.number


def _log1p_parts(f: Value) -> tuple[Value, Value]:
    """Return `square` and `product`: ``log(1 + f) = f - (square - product)``.

    With ``s = f / (f + 2)``, ``log(1 + f) = 2 s + s**3 R(s**2)`` and ``2 s = f - s f``,
    ``s f = f**2 / 2 - s f**2 / 2``. So `f`, which is exact, is corrected by what is small.
    """
    s = f / (f + 2.0)
    z = s * s
    square = f * f * 0.5
    return square, s * (square + z * polynomial(z, _constants(f).log))


def _log1p_times(f: Value, c: tuple[float, float]) -> tuple[Value, Value]:
    """Return ``log(1 + f)`` times a constant, given in two parts, in two parts."""
    square, product = _log1p_parts(f)
    high = f - (square - product)
    low = (f - high) - (square - product)
    return high * c[0], high * c[1] + low * c[0]


def _in_log_domain(x: Value, y: Value) -> Value:
    """Return `y`, or what a logarithm is of zero, infinity, negative numbers and NaN."""
    edge = x.is_zero().choose(x.constant(-math.inf), math.nan)
    edge = (x > 0.0).choose(math.inf, edge)
    return ((x > 0.0) & (x < math.inf)).choose(y, edge)


#: All of them.
FUNCTIONS = (exp, exp2, expm1, sinh, cosh, tanh, log, log1p, log2, log10, logaddexp)
