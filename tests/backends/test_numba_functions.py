"""Angles, powers, remainders, error functions: accuracy, special values, bits."""

from __future__ import annotations

import itertools
import math
import platform
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from support.elementary import (
    HAS_LONGER,
    all_exponents,
    errors,
    exact_erfc,
    longer,
    on_arrays,
    on_pairs,
    one_by_one,
    replaced,
    run_without_fused_products,
)

import seqsolve
from seqsolve import element_step
from seqsolve_numba import errorfunction, inverse, powers, trigonometry
from seqsolve_numba.floating import FLOAT64
from seqsolve_numba.replaced import stand_in

#: Largest errors, in units in the last place.
BOUNDS = {"sin": 0.8, "cos": 0.8, "tan": 2.3, "arctan": 1.9, "arcsin": 1.3, "arccos": 1.3}
PAIR_BOUNDS = {"power": 1.9, "arctan2": 1.95, "hypot": 1.3, "fmod": 0.0, "remainder": 0.5}
ERROR_BOUNDS = {"erf": 1.3, "erfc": 4.3}

in_longer = pytest.mark.skipif(not HAS_LONGER, reason="longdouble is no longer than float64 here")
dtypes = pytest.mark.parametrize(
    "dtype", [np.float32, pytest.param(np.float64, marks=in_longer)], ids=["float32", "float64"]
)
both = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def angles(dtype, n_points):
    """Return numbers of all exponents, near multiples of pi / 2, and near the ends of [-1, 1]."""
    rng = np.random.default_rng(1)
    quarters = (np.pi / 2 * rng.integers(-(2**16), 2**16, n_points)).astype(dtype)
    near = np.nextafter(quarters, rng.choice(np.array([-np.inf, np.inf], dtype), n_points))
    spread = rng.uniform(-1, 1, n_points) * 10.0 ** rng.uniform(0, 12, n_points)
    ends = rng.choice([-1, 1], n_points) * (1 - 10.0 ** -rng.uniform(0, 9, n_points))
    parts = (quarters, near, spread, ends, rng.normal(size=n_points))
    return np.concatenate([all_exponents(dtype, n_points), *(p.astype(dtype) for p in parts)])


def power_points(dtype, n_points):
    """Return bases and exponents, most of them of powers that are neither zero nor infinite."""
    rng = np.random.default_rng(2)
    near_one = 1 + rng.normal(size=n_points) * 10.0 ** -rng.uniform(0, 8, n_points)
    near = np.concatenate([rng.uniform(0, 2, n_points), near_one]).astype(dtype)
    a = np.concatenate([all_exponents(dtype, n_points), near])
    with np.errstate(all="ignore"):
        top = np.log2(float(np.finfo(dtype).max))
        b = rng.uniform(-1.06, 1.06, a.size) * top / np.log2(np.abs(a.astype(float)))
        few = rng.choice([0.3, 2.5, 3, 4, -1.5, 1 / 3, 7, -2, 101], a.size)
        return a, np.where(rng.random(a.size) < 0.7, b, few).astype(dtype)


def pairs(dtype, n_points):
    """Return pairs of numbers of all exponents, most of them of the same size."""
    rng = np.random.default_rng(3)
    a, b = all_exponents(dtype, n_points), all_exponents(dtype, n_points, seed=1)
    with np.errstate(all="ignore"):
        near = (a * np.exp(3 * rng.normal(size=n_points))).astype(dtype)
    return a, np.where(rng.random(n_points) < 0.7, near, b)


@dtypes
@pytest.mark.parametrize("name", BOUNDS)
def test_accuracy(name, dtype):
    a = angles(dtype, 40_000)
    with np.errstate(all="ignore"):
        worst = errors(on_arrays(replaced(name))(a), a, getattr(np, name)(longer(a))).max()
    assert worst <= BOUNDS[name]


@dtypes
@pytest.mark.parametrize("name", PAIR_BOUNDS)
def test_accuracy_of_pairs(name, dtype):
    a, b = (power_points if name == "power" else pairs)(dtype, 60_000)
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(longer(a), longer(b))
        worst = errors(on_pairs(replaced(name))(a, b), a, exact).max()
    assert worst <= PAIR_BOUNDS[name]


@both
def test_sums_of_exponentials(dtype):
    """Where the result is near zero, the error is that of the larger number."""
    rng = np.random.default_rng(8)
    a, b = (5 * rng.normal(size=(2, 5_000))).astype(dtype)
    values, eps = on_pairs(replaced("logaddexp"))(a, b), np.finfo(dtype).eps
    exact = np.logaddexp(longer(a), longer(b))
    assert np.all(np.abs(values - exact) <= 2 * eps * np.maximum(np.abs(a), np.abs(exact) + 1))
    np.testing.assert_allclose(values, exact, 50 * eps, 2 * eps)


@both
def test_remainders_of_quotients_with_many_digits(dtype):
    rng = np.random.default_rng(9)
    quotient = 2.0 ** rng.uniform(0, 60, 5_000)
    y = rng.uniform(0.1, 10, 5_000).astype(dtype)
    x = (y * quotient * rng.choice([-1, 1], 5_000)).astype(dtype)
    whole = (np.round(x / y) * y).astype(dtype)
    for a in (x, whole, np.nextafter(whole, dtype(0))):
        np.testing.assert_array_equal(on_pairs(replaced("remainder"))(a, y), np.remainder(a, y))
        np.testing.assert_array_equal(on_pairs(replaced("fmod"))(a, -y), np.fmod(a, -y))


@both
@pytest.mark.parametrize("name", ERROR_BOUNDS)
def test_accuracy_of_error_functions(name, dtype):
    rng = np.random.default_rng(4)
    top = 9.2 if dtype == np.float32 else 26.5
    a = np.concatenate([rng.uniform(0, 2.5, 400), rng.uniform(2.5, top, 40)]).astype(dtype)
    values = on_arrays(replaced(name))(a)
    assert decimal_errors(values, a, name) <= ERROR_BOUNDS[name]
    mirrored = -values if name == "erf" else (2 - longer(values)).astype(dtype)
    eps = 1.5 * np.finfo(dtype).eps
    np.testing.assert_allclose(on_arrays(replaced(name))(-a), mirrored, eps)


def decimal_errors(values, a, name):
    """Return the largest error in units in the last place."""
    exact = [exact_erfc(x)[name == "erf"] for x in a]
    units = np.spacing(np.abs([a.dtype.type(x) for x in exact]))
    differences = (abs(Decimal(float(v)) - x) for v, x in zip(values, exact, strict=True))
    return max(d / Decimal(float(u)) for d, u in zip(differences, units, strict=True))


@pytest.mark.parametrize("part", ["near", "far"])
def test_a_coefficient_of_the_error_function_that_is_wrong_shows(part, monkeypatch):
    wrong_constants(errorfunction, part, monkeypatch)
    a = np.linspace(0, 4, 100)
    values = on_arrays(stand_in(errorfunction.erfc, np.exp2))(a)
    assert decimal_errors(values, a, "erfc") > 2 * ERROR_BOUNDS["erfc"]


@in_longer
@pytest.mark.parametrize(
    ("module", "part", "name"),
    [
        (trigonometry, "sine", "sin"),
        (trigonometry, "cosine", "cos"),
        (trigonometry, "half_pi", "tan"),
        (inverse, "arctan", "arctan"),
        (inverse, "arcsin", "arccos"),
    ],
)
def test_a_coefficient_that_is_wrong_shows(module, part, name, monkeypatch):
    a = angles(np.float64, 20_000)
    assert error_with_wrong(module, part, name, monkeypatch, a) > 2 * BOUNDS[name]


@in_longer
@pytest.mark.parametrize("part", ["third", "by_log_2", "tail"])
def test_a_coefficient_of_powers_that_is_wrong_shows(part, monkeypatch):
    points = power_points(np.float64, 20_000)
    worst = error_with_wrong(powers, part, "power", monkeypatch, *points)
    assert worst > 1.5 * PAIR_BOUNDS["power"]


def error_with_wrong(module, part, name, monkeypatch, *points):
    """Return the largest error without the last number of one of the constants."""
    wrong_constants(module, part, monkeypatch)
    compiled = {1: on_arrays, 2: on_pairs}[len(points)](stand_in(getattr(module, name), np.exp2))
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(*map(longer, points))
        return errors(compiled(*points), points[0], exact).max()


def wrong_constants(module, part, monkeypatch):
    constants = module._CONSTANTS[FLOAT64]
    values = list(getattr(constants, part))
    values[-1] = 0.0
    wrong = replace(constants, **{part: tuple(values)})
    monkeypatch.setitem(module._CONSTANTS, FLOAT64, wrong)


def special_numbers(dtype):
    info = np.finfo(dtype)
    a = [0, 0.5, 1, 2, 3, 4, 7.5, 1e3, 1e8, 1e30, 2**23 + 1, 2.0**24, 2.0**52, 2.0**53]
    a += [info.tiny, info.smallest_subnormal, info.max, 1 - info.epsneg, 1 + info.eps, np.inf]
    return np.array([*a, *(-x for x in a), np.nan], dtype)


def check_special(values, known, dtype):
    """Check that zeros, infinities, NaN and signs are equal, and the rest close."""
    special = ~np.isfinite(known) | (known == 0)
    np.testing.assert_array_equal(values[special], known[special])
    np.testing.assert_allclose(values, known, 4 * np.finfo(dtype).eps, 0)
    signs = ~np.isnan(known)
    np.testing.assert_array_equal(np.signbit(values[signs]), np.signbit(known[signs]))


@both
@pytest.mark.parametrize("name", [*BOUNDS, *ERROR_BOUNDS])
def test_special_values(name, dtype):
    a = special_numbers(dtype)
    with np.errstate(all="ignore"):
        if name in ERROR_BOUNDS:
            known = np.array([getattr(math, name)(x) for x in a]).astype(dtype)
        else:
            known = getattr(np, name)(a)
    check_special(on_arrays(replaced(name))(a), known, dtype)


@both
@pytest.mark.parametrize("name", [*PAIR_BOUNDS, "logaddexp"])
def test_special_values_of_pairs(name, dtype):
    a, b = map(np.array, zip(*itertools.product(special_numbers(dtype), repeat=2), strict=True))
    with np.errstate(all="ignore"):
        known = getattr(np, name)(a, b)
    values = on_pairs(replaced(name))(a, b)
    subnormal = (known != 0) & (np.abs(known) < np.finfo(dtype).tiny)
    least = np.finfo(dtype).smallest_subnormal
    assert np.all(np.abs(values[subnormal] - known[subnormal]) <= least)
    check_special(values[~subnormal], known[~subnormal], dtype)


@both
@pytest.mark.parametrize("name", [*BOUNDS, *PAIR_BOUNDS, *ERROR_BOUNDS, "exp", "tanh", "log1p"])
def test_bits_do_not_depend_on_vector_instructions(name, dtype):
    rng = np.random.default_rng(5)
    scale = np.exp(3 * rng.normal(size=(2, 3_000)))
    points = (rng.normal(size=(2, 3_000)) * scale).astype(dtype)
    points[0, ::100] = all_exponents(dtype, 30)
    if name in PAIR_BOUNDS:
        base = np.abs(points[0]) if name == "power" else points[0]
        arrays, abreast = (base, points[1]), on_pairs(replaced(name))
    else:
        arrays, abreast = points[:1], on_arrays(replaced(name))
    together, alone = abreast(*arrays), one_by_one(replaced(name))(*arrays)
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(abreast(*(a[:5].copy() for a in arrays)), together[:5])


@pytest.mark.parametrize("exponent", [2.5, 2.0, 0.5, -1.0, 3, -2])
@both
def test_operator_of_powers(exponent, dtype):
    def step(y_prev, x, params, y_out):
        z = x[0] + 1.0
        z **= exponent
        y_out[0] = (0.5 * y_prev[0] + 0.1) ** exponent
        y_out[1] = z

    cell = element_step(step, n_state=2)
    x = np.random.default_rng(6).uniform(0, 1, (40, 3, 1)).astype(dtype)
    y0 = np.full((3, 2), 0.5, dtype)
    y = seqsolve.sequential(cell, x, y0, backend="numba").y
    assert y.dtype == dtype
    expected = (x[..., 0].astype(float) + 1) ** exponent
    np.testing.assert_allclose(y[..., 1], expected, 4 * np.finfo(dtype).eps)
    before = np.concatenate([y0[None], y[:-1]])[..., 0].astype(float)
    np.testing.assert_allclose(y[..., 0], (0.5 * before + 0.1) ** exponent, 1e-5)


@both
@pytest.mark.parametrize("divisor", [2 * math.pi, -0.3, 1.0, 2])
def test_operator_of_remainders(divisor, dtype):
    def step(y_prev, x, params, y_out):
        z = y_prev[0] + 3.0 * x[0]
        y_out[0] = z % divisor
        z %= divisor
        y_out[1] = z + float(7 % len(y_prev))

    cell = element_step(step, n_state=2)
    x = np.random.default_rng(10).normal(size=(40, 9, 1)).astype(dtype)
    y = seqsolve.sequential(cell, x, np.zeros((9, 2), dtype), backend="numba").y
    before = np.concatenate([np.zeros((1, 9), dtype), y[:-1, :, 0]])
    expected = (before + dtype(3) * x[..., 0]) % dtype(divisor)
    assert y.dtype == dtype
    distance = np.abs(y[..., 0] - expected)
    distance = np.minimum(distance, abs(divisor) - distance)  # just below the divisor, or zero
    assert distance.max() < 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(y[..., 1], y[..., 0] + dtype(1), np.finfo(dtype).eps)


def test_operators_between_types():
    def step(y_prev, x, params, y_out):
        y_out[0] = 2 ** y_prev[0]
        y_out[1] = y_prev[0] ** np.int64(3)
        y_out[2] = abs((1j * y_prev[0]) ** 2)
        y_out[3] = 3**4 + 7 % len(y_prev)
        y_out[4] = np.int64(9) % y_prev[0] + np.remainder(7, 4)

    y0 = np.full(5, 0.7)
    y = seqsolve.sequential(element_step(step, n_state=5), None, y0, n_steps=1, backend="numba").y
    np.testing.assert_allclose(y[0], [2**0.7, 0.7**3, 0.49, 83, 9 % 0.7 + 3], 1e-15)


@both
@pytest.mark.parametrize("batch", [1, 20, 130])
def test_a_step_is_that_of_plain_python(batch, dtype):
    def step(y_prev, x, params, y_out):
        angle, speed = y_prev
        pull = math.sin(angle) + 0.1 * math.erf(speed) + 1e-3 * abs(x[0]) ** 1.5
        y_out[0] = 0.5 * angle + 0.1 * speed + np.arctan2(x[0], 2.0)
        y_out[1] = 0.9 * speed - 0.1 * pull + 0.01 * np.cos(x[0])

    x = np.random.default_rng(7).normal(size=(200, batch, 1)).astype(dtype)
    cell, y0 = element_step(step, n_state=2), np.zeros((batch, 2), dtype)
    plain = seqsolve.sequential(cell, x.astype(float), y0.astype(float), backend="numpy").y
    y = seqsolve.sequential(cell, x, y0, backend="numba").y
    assert y.dtype == dtype
    np.testing.assert_allclose(y, plain, 1e-6, 20 * np.finfo(dtype).eps)


@both
def test_a_sequence_has_the_same_bits_alone_and_beside_others(dtype):
    """Alone it is stepped in pieces side by side, or step by step."""

    def step(y_prev, x, params, y_out):
        for i in range(len(y_prev)):
            z = 0.4 * math.sin(y_prev[i]) + 0.1 * math.erf(y_prev[i])
            z += 0.2 * np.arctan2(x[0], 1.0 + abs(y_prev[i]) ** 1.3)
            y_out[i] = (z + 0.1 * math.hypot(x[0], y_prev[i])) % 2.5

    cell = element_step(step, n_state=2)
    x = np.random.default_rng(11).normal(size=(10_000, 20, 1)).astype(dtype)
    y0 = np.zeros((20, 2), dtype)
    together = seqsolve.sequential(cell, x, y0, backend="numba").y
    for columns in (slice(1), slice(3, 6)):
        some = seqsolve.sequential(cell, x[:, columns], y0[columns], backend="numba").y
        np.testing.assert_array_equal(some, together[:, columns])


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86's oldest")
def test_processors_without_fused_products(tmp_path):
    script = (
        "import numpy as np\n"
        "import test_numba_functions as t\n"
        "types = [np.float32, np.float64][: 1 + t.HAS_LONGER]\n"
        "for dtype in types:\n"
        "    for name in ('sin', 'tan', 'arccos'): t.test_accuracy(name, dtype)\n"
        "    for name in ('power', 'arctan2', 'fmod'): t.test_accuracy_of_pairs(name, dtype)\n"
        "    t.test_special_values_of_pairs('power', dtype)\n"
    )
    run_without_fused_products(script, tmp_path)
