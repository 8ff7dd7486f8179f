"""Elementary functions of compiled steps: accuracy, special values, vector instructions."""

from __future__ import annotations

import cmath
import math
import platform
import re
from dataclasses import replace
from functools import partial
from math import exp, log, log1p, tanh

import numpy as np
import pytest
from numpy import expm1
from support.elementary import (
    HAS_LONGER,
    all_exponents,
    errors,
    on_arrays,
    replaced,
    run_without_fused_products,
)
from support.elementary import longer as in_longer

import seqsolve
from seqsolve import element_step
from seqsolve_numba import abreast, elementary
from seqsolve_numba.replaced import stand_in
from seqsolve_numba.specialization import Shapes, Specialization
from seqsolve_numba.translate import Translator

NAMES = ("exp", "exp2", "expm1", "sinh", "cosh", "tanh", "log", "log1p", "log2", "log10")

#: Functions of the C library that are looked for.
CALLED = (
    *NAMES,
    "sin",
    "cos",
    "tan",
    "atan",
    "atan2",
    "asin",
    "acos",
    "erf",
    "erfc",
    "pow",
    "fmod",
)
CALLED = (*CALLED, "hypot", "lgamma", "cbrt")

#: Largest errors, in units in the last place.
BOUNDS = {"expm1": 2.6, "sinh": 2.8, "tanh": 2.8, "cosh": 1.7, "exp2": 1.7, "log1p": 1.7}
BOUND = 1.5

#: The exact values of float64 functions come from longer numbers.
longer = pytest.mark.skipif(not HAS_LONGER, reason="longdouble is no longer than float64 here")


def hard_points(dtype, n_points):
    """Return numbers of all exponents, and more of them near zero, one and thresholds."""
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    top, bottom = np.log(float(info.max)), np.log(float(info.smallest_subnormal))
    everything = all_exponents(dtype, n_points)
    edges = np.array([top, -top, bottom, top / np.log(2), np.log(2) / 2, 0.3, 9.0, 19.1, 1.0])
    edges = np.concatenate([edges, -edges])
    near = edges * (1 + rng.uniform(-4e-3, 4e-3, (n_points // 8, edges.size)))
    reduced = np.log(2) / 2 * rng.integers(-30, 30, n_points) + 1e-6 * rng.normal(size=n_points)
    one = 1 + rng.normal(size=n_points) * 10.0 ** rng.uniform(-8, 0, n_points)
    spread = rng.uniform(bottom, top, n_points)
    parts = (near.ravel(), reduced, one, rng.normal(size=n_points), spread)
    with np.errstate(over="ignore", under="ignore"):
        return np.concatenate([everything, *(part.astype(dtype) for part in parts)])


def exact_values(name, a):
    with np.errstate(all="ignore"):
        return getattr(np, name)(in_longer(a))


def check_accuracy(name, a):
    values = on_arrays(replaced(name))(a)
    with np.errstate(all="ignore"):
        worst = errors(values, a, exact_values(name, a)).max()
    assert worst <= BOUNDS.get(name, BOUND), (name, worst)


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_over_all_numbers(name):
    strided = np.arange(0, 2**32, 4999, dtype=np.uint64).astype(np.uint32).view(np.float32)
    check_accuracy(name, np.concatenate([strided, hard_points(np.float32, 50_000)]))


@longer
@pytest.mark.parametrize("name", NAMES)
def test_double_precision(name):
    check_accuracy(name, hard_points(np.float64, 100_000))


@longer
@pytest.mark.parametrize("part", ["expm1", "log", "log_2"])
def test_a_coefficient_that_is_wrong_shows(part, monkeypatch):
    form, constants = elementary.FLOAT64, elementary._CONSTANTS[elementary.FLOAT64]
    wrong = list(getattr(constants, part))
    wrong[-1] *= 1 + 1e-2
    wrong = replace(constants, **{part: tuple(wrong)})
    monkeypatch.setitem(elementary._CONSTANTS, form, wrong)
    emit = elementary.exp if part == "expm1" else elementary.log
    a = hard_points(np.float64, 2_000)
    values = on_arrays(stand_in(emit, np.exp2))(a)
    with np.errstate(all="ignore"):
        assert errors(values, a, exact_values(emit.__name__, a)).max() > 2 * BOUND


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_special_values_are_those_of_numpy(name, dtype):
    info = np.finfo(dtype)
    a = np.array([0, 1, 2, 8, info.tiny, info.smallest_subnormal, info.max, np.inf], dtype)
    a = np.concatenate([a, -a, [np.nan]]).astype(dtype)
    values = on_arrays(replaced(name))(a)
    with np.errstate(all="ignore"):
        known = getattr(np, name)(a)
    special = ~np.isfinite(known) | (known == 0)
    np.testing.assert_array_equal(values[special], known[special])
    np.testing.assert_allclose(values, known, 3 * info.eps, 0)
    signs = ~np.isnan(known)
    np.testing.assert_array_equal(np.signbit(values[signs]), np.signbit(known[signs]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_must_be_exact(dtype):
    powers = np.arange(-30, 30).astype(dtype)
    two, ten = on_arrays(replaced("log2")), on_arrays(replaced("log10"))
    np.testing.assert_array_equal(two(2**powers), powers)
    np.testing.assert_array_equal(on_arrays(replaced("exp2"))(powers), 2**powers)
    exact = np.arange(11).astype(dtype)
    np.testing.assert_array_equal(ten(10**exact), exact)


def all_functions(y_prev, x, params, y_out):
    y = y_prev[0] + x[0]
    total = exp(-y) + np.expm1(y) + math.tanh(y) + np.exp2(y) + math.sinh(y) + np.cosh(y)
    y_out[0] = total + log(y) + np.log1p(y) + math.log2(y) + np.log10(y)


def angles(y_prev, x, params, y_out):
    y = y_prev[0] + x[0]
    y_out[0] = math.sin(y) + np.cos(y) + np.tan(y) + math.atan(y) + np.arctan2(y, x[0])


def others(y_prev, x, params, y_out):
    y = y_prev[0] + x[0]
    total = math.asin(y) + np.arccos(y) + math.erf(y) + math.erfc(x[0])
    total += y**1.5 + np.power(y, x[0]) + math.pow(x[0], y)
    y **= x[0]
    total += y % x[0] + math.hypot(y, total) + np.logaddexp(y, x[0])
    y_out[0] = total + y


def rounds(y_prev, x, params, y_out):
    y_out[0] = tanh(expm1(x[0])) + log1p(y_prev[0] * y_prev[0]) + math.cosh(x[0]) / 10.0


def compiled_code(function, dtype, monkeypatch):
    """Return the kernel that steps sequences abreast, in assembly."""
    monkeypatch.setattr(Translator, "content", None)
    cell = element_step(function, n_state=1)
    y, x = np.zeros((2, 64, 1), dtype), np.zeros((1, 64, 1), dtype)
    special = Specialization(cell, Shapes.of(cell, x, y))
    kernel = special.kernel("abreast", partial(abreast.build, width=64), unroll=abreast.UNROLL)
    (code,) = kernel.inspect_asm().values()
    return code


def calls(code):
    """Return the functions of the C library that assembly names."""
    code = re.sub(r"(?ms)^seqsolve\.(\w+)\.(\w+):.*?^\.Lfunc_end", "", code)
    named = re.findall(r"(?<!\.)\b_?(\w+)\b", code)
    return {name for name in named if name.removesuffix("f") in CALLED}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", [all_functions, angles, others])
def test_steps_have_no_calls(function, dtype, monkeypatch):
    """But those for huge angles, which are in functions of their own."""
    code = compiled_code(function, dtype, monkeypatch)
    assert not calls(code)
    if platform.machine() in ("x86_64", "AMD64"):
        kind = "ps" if dtype == np.float32 else "pd"
        assert re.search(rf"\bv?div{kind}\b", code), "no vector instructions"


def test_the_search_for_calls_finds_one(monkeypatch):
    def gamma(y_prev, x, params, y_out):
        y_out[0] = math.lgamma(y_prev[0]) + np.cbrt(x[0])

    assert calls(compiled_code(gamma, np.float64, monkeypatch)) == {"lgamma", "cbrt"}


@pytest.mark.parametrize(("dtype", "batch"), [(np.float32, 20), (np.float64, 1)])
def test_a_step_is_that_of_plain_python(dtype, batch):
    x = np.random.default_rng(0).normal(size=(300, batch, 1)).astype(dtype)
    cell, y0 = element_step(rounds, n_state=1), np.zeros((batch, 1), dtype)
    plain = seqsolve.sequential(cell, x, y0, backend="numpy").y
    y = seqsolve.sequential(cell, x, y0, backend="numba").y
    assert y.dtype == dtype
    np.testing.assert_allclose(y, plain, 0, 8 * np.finfo(dtype).eps)


def test_other_arguments_are_left_to_numba():
    def step(y_prev, x, params, y_out):
        z = np.exp(1j * y_prev[0])
        y_out[0] = z.real + math.exp(2) + np.log(len(y_prev)) + cmath.exp(1j).imag
        y_out[1] = np.tanh(np.int64(1)) + np.log1p(True)

    cell = element_step(step, n_state=2)
    x = np.zeros((3, 1))
    y = seqsolve.sequential(cell, x, np.full(2, 0.5), backend="numba").y
    first = np.exp(0.5j).real + math.exp(2) + cmath.exp(1j).imag
    np.testing.assert_allclose(y[0], [first + np.log(2), math.tanh(1) + np.log(2)], 1e-7)


def test_results_into_arrays_are_left_to_numba():
    def step(y_prev, x, params, y_out):
        np.exp(y_prev, y_out)

    y = seqsolve.sequential(
        element_step(step, n_state=2), None, np.zeros(2), n_steps=2, backend="numba"
    ).y
    np.testing.assert_allclose(y, [[1, 1], [np.e, np.e]], 1e-15)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86's oldest")
def test_processors_without_fused_products(tmp_path):
    script = (
        "import numpy as np\n"
        "import test_numba_elementary as t\n"
        "names = ('exp', 'sinh', 'tanh', 'log1p', 'log10')\n"
        "for name in names: t.check_accuracy(name, t.hard_points(np.float32, 10_000))\n"
        "if np.finfo(np.longdouble).nmant > 52:\n"
        "    for name in names: t.check_accuracy(name, t.hard_points(np.float64, 10_000))\n"
    )
    run_without_fused_products(script, tmp_path)
