# mypy: disable-error-code="no-untyped-call"
"""The error function and its complement in straight lines of arithmetic.

`tests/support/coefficients.py` computes the polynomials.
"""

from __future__ import annotations

from dataclasses import dataclass

from seqsolve_numba.elementary import exp_of, in_exp_range, reduced
from seqsolve_numba.floating import FLOAT32, FLOAT64, Value, polynomial


@dataclass(frozen=True)
class _Constants:
    """What differs between precisions.

    Parameters
    ----------
    near : tuple of float
        ``erf(x) / x - 1`` for ``abs(x) <= 1``, in powers of ``x**2``. The relative error of
        erf is below ``0.3 * 2**-53`` and ``0.09 * 2**-24``.
    far : tuple of float
        ``exp(x**2) erfc(x) (2 x + 1.125)`` for ``1 <= x <= 28``, in powers of
        ``(x - 4) / (x + 4)``. Its relative error is below ``0.22 * 2**-53`` and ``0.12 * 2**-24``.
    limit : float
        From here on the complement vanishes.
    """

    near: tuple[float, ...]
    far: tuple[float, ...]
    limit: float


_CONSTANTS = {
    FLOAT32: _Constants(
        near=(
            *(0.12837916612625122, -0.3761262595653534, 0.1128358542919159),
            *(-0.026853807270526886, 0.005188318435102701, -0.000801010406576097),
            7.853539136704057e-05,
        ),
        far=(
            *(1.2501200437545776, -0.17200502753257751, 0.04272052273154259),
            *(0.04757937416434288, -0.08743860572576523, 0.08569986373186111),
            *(-0.06225461885333061, 0.03610837087035179, -0.016262905672192574),
            0.004169730935245752,
        ),
        limit=11.0,
    ),
    FLOAT64: _Constants(
        near=(
            *(0.12837916709551256, -0.3761263890318352, 0.11283791670944175),
            *(-0.026866170643109897, 0.005223977606104963, -0.0008548325928637848),
            *(0.00012055293555868153, -1.4924711884166583e-05, 1.6447126262824287e-06),
            *(-1.6206272051538564e-07, 1.371079588293254e-08, -7.779117084116366e-10),
        ),
        far=(
            *(1.2501200508286852, -0.17200462293558358, 0.04271961196740962),
            *(0.0475648271674696, -0.08741866886192491, 0.08584435804610187),
            *(-0.06241798373426069, 0.035562022225840394, -0.015690201280162876),
            *(0.004932079802919556, -0.0007604922193894966, -0.0001893885430261707),
            *(0.00014779689557882465, -2.461659672413337e-05, -1.0842708655347469e-05),
            *(5.6045368100829455e-06, 2.506416325493016e-07, -7.315065734575116e-07),
            *(6.610710397161592e-08, 4.743270852788762e-08),
        ),
        limit=28.0,
    ),
}

#: Up to here erf is the series.
_NEAR = 1.0


def erf(x: Value) -> Value:
    """Return the error function."""
    size = x.size
    far = size.constant(1.0) - _complement(size)
    y = (size > _NEAR).choose(far, size + size * _series(size))
    return y.signed(x)


def erfc(x: Value) -> Value:
    """Return ``1 - erf(x)``, accurately where it is small."""
    size = x.size
    tail = _complement(size)
    far = x.has_sign().choose(x.constant(2.0) - tail, tail)
    return (size > _NEAR).choose(far, (x.constant(1.0) - x) - x * _series(x))


def _series(x: Value) -> Value:
    """Return ``erf(x) / x - 1`` near zero."""
    return polynomial(x * x, _CONSTANTS[x.format].near)


def _complement(x: Value) -> Value:
    """Return erfc of a number above `_NEAR`."""
    c = _CONSTANTS[x.format]
    x = (x > c.limit).choose(c.limit, x)
    scaled = polynomial((x - 4.0) / (x + 4.0), c.far) / (x * 2.0 + 1.125)
    square, low = x.product(x)
    shifted, r = reduced(-square)
    return in_exp_range(-square, exp_of(shifted, r - low)) * scaled


#: All of them.
FUNCTIONS = (erf, erfc)
