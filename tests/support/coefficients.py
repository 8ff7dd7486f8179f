"""Computes the polynomials and the long constants of the compiled elementary functions.

    python tests/support/coefficients.py [NAME ...]

Prints, for float32 and for float64, the coefficients of the polynomial with the least largest
relative error of the function (Remez's exchange, in 60 digits, E. W. Cheney, "Introduction to
Approximation Theory", 1966), rounded, and that error in units of half a spacing. Needs mpmath,
which nothing else here does.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpmath import mp, mpf

mp.dps = 60


@dataclass(frozen=True)
class Fit:
    """A function to approximate.

    Parameters
    ----------
    function : callable
        What the polynomial stands for.
    weight : callable
        The factor by which an error of the polynomial becomes a relative one of the result.
    interval : tuple of float
        Where.
    terms : tuple of int
        Coefficients in float32 and in float64.
    """

    function: Callable[[Any], Any]
    weight: Callable[[Any], Any]
    interval: tuple[Any, Any]
    terms: tuple[int, int]


def remez(fit: Fit, n_terms: int) -> list[Any]:
    """Return the coefficients of the polynomial with the least largest weighted error."""
    low, high = (mpf(end) for end in fit.interval)
    middle, half = (low + high) / 2, (high - low) / 2

    def at(u: Any) -> Any:
        return middle + half * u

    nodes = [mp.cos(mp.pi * i / n_terms) for i in range(n_terms, -1, -1)]
    grid = [-mp.cos(mp.pi * (i + mpf(0.5)) / (24 * n_terms)) for i in range(24 * n_terms)]
    grid = [mpf(-1), *grid, mpf(1)]
    exact = [(fit.function(at(u)), fit.weight(at(u))) for u in grid]
    for _ in range(12):
        rows, sides = [], []
        for i, u in enumerate(nodes):
            rows.append([*(u**j for j in range(n_terms)), (-1) ** i / fit.weight(at(u))])
            sides.append(fit.function(at(u)))
        solved = mp.lu_solve(mp.matrix(rows), mp.matrix(sides))
        coefficients = list(solved)[:n_terms]
        errors = [
            (mp.polyval(coefficients[::-1], u) - f) * w
            for u, (f, w) in zip(grid, exact, strict=True)
        ]
        nodes = extremes(grid, errors, n_terms + 1)
        if max(map(abs, errors)) <= abs(solved[n_terms]) * mpf("1.0005"):
            break
    return shifted(coefficients, middle, half)


def extremes(grid: Sequence[Any], errors: Sequence[Any], count: int) -> list[Any]:
    """Return where errors are largest, of alternating signs."""
    best: list[int] = []
    for i, error in enumerate(errors):
        if best and (errors[best[-1]] > 0) == (error > 0):
            if abs(error) > abs(errors[best[-1]]):
                best[-1] = i
        else:
            best.append(i)
    while len(best) > count:
        best.pop(0 if abs(errors[best[0]]) < abs(errors[best[-1]]) else -1)
    return [grid[i] for i in best]


def shifted(coefficients: Sequence[Any], middle: Any, half: Any) -> list[Any]:
    """Return the polynomial of ``(z - middle) / half`` as one of `z`."""
    result = [mpf(0)]
    for c in reversed(coefficients):
        lower = [-r * middle / half for r in result]
        raised = [mpf(0), *(r / half for r in result)]
        result = [a + b for a, b in zip([*lower, mpf(0)], raised, strict=True)]
        result[0] += c
    return result[: len(coefficients)]


def worst(fit: Fit, coefficients: Sequence[float], spacing: float) -> float:
    """Return the largest weighted error of rounded coefficients."""
    low, high = (mpf(end) for end in fit.interval)
    points = [low + (high - low) * i / 997 for i in range(998)]
    c = [mpf(float(a)) for a in coefficients][::-1]
    errors = (abs((mp.polyval(c, z) - fit.function(z)) * fit.weight(z)) for z in points)
    return float(max(errors) / spacing)


def parts(value: Any, dtype: Any, count: int) -> list[float]:
    """Return a number as a sum of numbers of a precision."""
    result = []
    for _ in range(count):
        result.append(float(dtype(float(value))))
        value = value - mpf(result[-1])
    return result


def exponential(r: Any) -> Any:
    return (mp.expm1(r) - r) / r**2 if abs(r) > TINY else mpf(1) / 2 + r / 6


def logarithm(z: Any) -> Any:
    s = mp.sqrt(z)
    return 2 * (mp.atanh(s) - s) / s**3


def sine(z: Any) -> Any:
    r = mp.sqrt(z)
    return (mp.sin(r) - r) / r**3


def cosine(z: Any) -> Any:
    return (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2


def arctangent(z: Any) -> Any:
    r = mp.sqrt(z)
    return (mp.atan(r) - r) / r**3


def arcsine(z: Any) -> Any:
    r = mp.sqrt(z)
    return (mp.asin(r) - r) / r**3


def log_tail(z: Any) -> Any:
    s = mp.sqrt(z)
    return (mp.atanh(s) / s - 1 - z / 3) / z**2


def error_function(z: Any) -> Any:
    x = mp.sqrt(z)
    return mp.erf(x) / x - 1


def scaled_tail(t: Any) -> Any:
    x = 4 * (1 + t) / (1 - t)
    return mp.exp(x * x) * mp.erfc(x) * (2 * x + mpf("1.125"))


EIGHTH = mp.pi / 4 * mpf("1.02")
T8 = (mp.sqrt(2) - 1) * mpf("1.001")
LOG = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mpf("1.001")
TINY = mpf(10) ** -16


FITS = {
    "expm1": Fit(
        exponential,
        lambda r: max(abs(r**2 / mp.expm1(r)) if r else 0, TINY),
        (mpf("-0.3468"), mpf("0.3468")),
        (5, 10),
    ),
    "log": Fit(
        logarithm, lambda z: z * mp.sqrt(z) / (2 * mp.atanh(mp.sqrt(z))), (TINY, LOG), (3, 7)
    ),
    "sin": Fit(sine, lambda z: z * mp.sqrt(z) / mp.sin(mp.sqrt(z)), (TINY, EIGHTH**2), (3, 6)),
    "cos": Fit(cosine, lambda z: z**2 / mp.cos(mp.sqrt(z)), (TINY, EIGHTH**2), (3, 6)),
    "arctan": Fit(
        arctangent, lambda z: z * mp.sqrt(z) / mp.atan(mp.sqrt(z)), (TINY, T8**2), (5, 11)
    ),
    "arcsin": Fit(
        arcsine, lambda z: z * mp.sqrt(z) / mp.asin(mp.sqrt(z)), (TINY, mpf("0.2501")), (5, 12)
    ),
    "log_tail": Fit(log_tail, lambda z: z**2, (TINY, LOG), (3, 8)),
    "erf": Fit(
        error_function, lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)), (TINY, mpf("1.0001")), (7, 12)
    ),
    "erfc": Fit(
        scaled_tail, lambda t: 1 / scaled_tail(t), (mpf("-0.6001"), mpf("0.7501")), (10, 20)
    ),
}


#: Numbers that are needed in so many parts.
LONG = {"pi / 2": (mp.pi / 2, 3), "1 / 3": (mpf(1) / 3, 2), "2 / ln 2": (2 / mp.log(2), 2)}


def main(argv: Sequence[str] | None = None) -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*FITS, []], help="which; all by default")
    for name in parser.parse_args(argv).names or FITS:
        fit = FITS[name]
        for dtype, n_terms in zip((np.float32, np.float64), fit.terms, strict=True):
            coefficients = [float(dtype(float(c))) for c in remez(fit, n_terms)]
            error = worst(fit, coefficients, float(np.finfo(dtype).epsneg))
            print(f"{name} {dtype.__name__}: error {error:.3g} * {np.finfo(dtype).epsneg:.3g}")
            print(tuple(coefficients))
    for name, (value, count) in LONG.items():
        for dtype in (np.float32, np.float64):
            print(name, dtype.__name__, parts(value, dtype, count))


if __name__ == "__main__":
    main()
