"""Elementary functions compiled as in steps, and how far from the exact ones they are."""

from __future__ import annotations

import math
import subprocess
import sys
from decimal import Decimal, localcontext
from functools import cache
from pathlib import Path

import numba
import numpy as np

from seqsolve_numba.compilation import FASTMATH
from seqsolve_numba.replaced import REPLACED

#: float64 functions have exact values in longer numbers, if there are any.
HAS_LONGER = np.finfo(np.longdouble).nmant > 52


def run_without_fused_products(script, folder):
    """Run a script, which may import tests of backends, compiling for x86's oldest 64 bits."""
    tests = Path(__file__).parents[1]
    script = f"import sys; sys.path[:0] = sys.argv[1:]\n{script}"
    subprocess.run(
        [sys.executable, "-c", script, str(tests / "backends"), str(tests)],
        check=True,
        cwd=folder,
        env={"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2", "PATH": ""},
    )


def on_arrays(function):
    """Return a function compiled as kernels are, on arrays of float32 and float64."""

    @numba.njit(fastmath=set(FASTMATH), error_model="numpy")
    def values(a, out):
        for i in range(a.size):
            out[i] = function(a[i])

    return lambda a: (out := np.empty_like(a), values(a, out))[0]


def on_pairs(function):
    """Return the same for a function of two numbers."""

    @numba.njit(fastmath=set(FASTMATH), error_model="numpy")
    def values(a, b, out):
        for i in range(a.size):
            out[i] = function(a[i], b[i])

    return lambda a, b: (out := np.empty_like(a), values(a, b, out))[0]


def one_by_one(function):
    """Return the same for one or two numbers, but without vector instructions."""

    @numba.njit(fastmath=set(FASTMATH), error_model="numpy")
    def value(*numbers):
        return function(*numbers)

    return lambda *arrays: np.array(
        [value(*numbers) for numbers in zip(*arrays, strict=True)], arrays[0].dtype
    )


def replaced(name):
    """Return what compiled steps have in place of a function of NumPy's or of `math`."""
    return REPLACED[getattr(np, name, None) or getattr(math, name)]


def errors(values, a, exact):
    """Return errors in units in the last place; what is zero or infinite must be exactly so."""
    rounded = exact.astype(a.dtype)
    sure = np.isfinite(rounded) & np.isfinite(values)
    np.testing.assert_array_equal(values[~sure], rounded[~sure])
    unit = np.spacing(np.abs(rounded[sure])).astype(exact.dtype)
    return np.abs(values[sure].astype(exact.dtype) - exact[sure]) / unit


def longer(a):
    """Return numbers in a precision in which functions are exact, compared with theirs."""
    return a.astype(np.float64 if a.dtype == np.float32 else np.longdouble)


def all_exponents(dtype, n_points, seed=0):
    """Return numbers whose bits are random."""
    word = np.uint32 if dtype == np.float32 else np.uint64
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(word).max, n_points, word, endpoint=True).view(dtype)


def exact_erfc(x):
    """Return ``erfc(x)``, x positive, and ``erf(x)``, as Decimals.

    erf is ``2 / sqrt(pi) exp(-x**2)`` times the sum of ``2**k x**(2 k + 1) / (2 k + 1)!!``.
    """
    digits = 40 + int(float(x) ** 2 / 2.3)
    with localcontext(prec=digits):
        x = Decimal(float(x))
        term, total, k = x, Decimal(0), 0
        while term > total * Decimal(10) ** -digits:
            total += term
            k += 1
            term *= 2 * x * x / (2 * k + 1)
        erf = 2 * total * (-x * x).exp() / pi(digits).sqrt()
        return 1 - erf, erf


@cache
def pi(digits):
    """Return pi (Machin's formula)."""
    one = 10 ** (digits + 10)

    def inverse_arctangent(n):
        power, total, k = one // n, 0, 0
        while power:
            total += (-power if k % 2 else power) // (2 * k + 1)
            power, k = power // (n * n), k + 1
        return total

    with localcontext(prec=digits):
        return Decimal(4 * (4 * inverse_arctangent(5) - inverse_arctangent(239))) / one
