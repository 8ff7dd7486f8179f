"""What a recurrence is given: dtypes, trees, axes that broadcast, guesses, any layout."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.steps import (
    STRUCTURES,
    TOLERANCE,
    Counted,
    assert_solves,
    fixed,
    leaky_rotation,
    loop,
    random_recurrence,
)

import seqsolve


@pytest.mark.parametrize(
    ("given_dtype", "expected"),
    [
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("int8", "float64"),
        ("int64", "float64"),
        ("bool", "float64"),
        ("complex64", "complex64"),
        ("complex128", "complex128"),
    ],
)
def test_dtype_of_the_state_is_computed_in(given_dtype, expected):
    dtype = np.dtype(expected)
    x = np.linspace(-1, 1, 40).astype(dtype)[:, None]
    half = dtype.type(0.5)

    def f(y, x):
        return half * y + x

    def jac(y, x):
        return np.full_like(y, half)

    y0 = np.ones(1, dtype=given_dtype)
    for solution in (
        seqsolve.deer(f, jac, x, y0, window=20),
        seqsolve.sequential(f, x, y0),
    ):
        assert solution.y.dtype == dtype
        assert_solves(solution, f, x, y0.astype(dtype))


@pytest.mark.parametrize(
    ("y0_dtype", "x_dtype", "expected"),
    [
        ("float32", "float64", "float64"),
        ("float32", "complex64", "complex64"),
        ("float32", "complex128", "complex128"),
        ("float64", "complex64", "complex128"),
        ("float64", "float32", "float64"),
        ("float16", "float16", "float32"),
    ],
)
@pytest.mark.parametrize("window", [1, 20])
def test_what_the_step_returns_promotes_the_state(y0_dtype, x_dtype, expected, window):
    x = np.linspace(-0.3, 0.3, 40).astype(x_dtype)[:, None]
    y0 = np.full(1, 0.1, dtype=y0_dtype)

    def f(y, x):
        return y * np.float16(0.5) + x

    solution = seqsolve.deer(f, "3-point", x, y0, window=window)
    assert solution.y.dtype == expected
    assert seqsolve.sequential(f, x, y0).y.dtype == expected
    exact = loop(lambda y, x: 0.5 * y + x, x.astype("complex128"), y0.astype("complex128"))
    np.testing.assert_allclose(solution.y, exact, atol=TOLERANCE[expected])


def test_lists_are_arrays():
    solution = seqsolve.deer(lambda y, x: 0.5 * y + x, "cs", [[1], [2], [3]], [1])
    assert solution.y.dtype == "float64"
    np.testing.assert_allclose(solution.y[:, 0], [1.5, 2.75, 4.375])


Pair = namedtuple("Pair", ["a", "b"])


@pytest.mark.parametrize(
    ("make", "read"),
    [
        (lambda a, b: (a, b), lambda x: (x[0], x[1])),
        (lambda a, b: [a, b], lambda x: (x[0], x[1])),
        (lambda a, b: {"a": a, "b": b}, lambda x: (x["a"], x["b"])),
        (lambda a, b: {"p": (a, [b])}, lambda x: (x["p"][0], x["p"][1][0])),
        (lambda a, b: Pair(a, b), lambda x: (x.a, x.b)),
        (lambda a, b: (a, {"none": None, "b": b}), lambda x: (x[0], x[1]["b"])),
    ],
    ids=["tuple", "list", "dict", "nested", "namedtuple", "with None"],
)
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
@pytest.mark.parametrize("window", [1, 9, None])
def test_trees_of_input(make, read, batch, window):
    rng = np.random.default_rng(10)
    x = make(rng.uniform(0.2, 0.6, (30, *batch, 2)), rng.standard_normal((30, *batch, 2)))

    def f(y, x):
        a, b = read(x)
        return np.tanh(a * y + b)

    y0 = rng.standard_normal((*batch, 2))
    solution = seqsolve.deer(f, "cs", x, y0, jac_structure="diagonal", window=window)
    assert_solves(solution, f, x, y0)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
@pytest.mark.parametrize("n_steps", [0, 1, 2, 50])
def test_autonomous_maps(batch, n_steps):
    y0 = np.random.default_rng(11).uniform(-1, 1, (*batch, 2))

    def f(y, x):
        assert x is None
        return np.cos(y) * 0.9

    solution = seqsolve.deer(f, "cs", None, y0, n_steps=n_steps, jac_structure="diagonal")
    assert_solves(solution, f, None, y0, n_steps)
    assert_solves(seqsolve.sequential(f, None, y0, n_steps=n_steps), f, None, y0, n_steps)


@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 3), (1, 2)])
@pytest.mark.parametrize("window", [1, 4, None])
def test_axes_of_one_in_the_input_broadcast(batch, window):
    """Per-layer weights: the same for every sequence."""
    r = leaky_rotation(np.random.default_rng(12), 25, batch)
    for jac in (r.jac, "cs"):
        solution = seqsolve.deer(r.f, jac, r.x, r.y0, window=window)
        assert_solves(solution, r.f, r.x, r.y0)


@pytest.mark.parametrize("lead", [(2, 1), (1, 3), (1, 1), (2, 3)])
def test_partly_broadcast_batch_axes(lead):
    rng = np.random.default_rng(13)
    x, y0 = rng.standard_normal((20, *lead, 4)), rng.standard_normal((2, 3, 4))

    def f(y, x):
        return np.tanh(0.5 * y + x)

    expected = loop(f, np.broadcast_to(x, (20, 2, 3, 4)), y0)
    for window in (1, 10):
        solution = seqsolve.deer(f, "cs", x, y0, jac_structure="diagonal", window=window)
        np.testing.assert_allclose(solution.y, expected, atol=1e-11)


# Guesses


@pytest.mark.parametrize("window", [10, 30, None])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_exact_guess_takes_no_iterations(structure, window):
    r = random_recurrence(structure, np.random.default_rng(15), 30, (2,))
    exact = seqsolve.sequential(r.f, r.x, r.y0).y
    jac = Counted(r.jac)
    solution = seqsolve.deer(r.f, jac, r.x, r.y0, initial_guess=exact, window=window)
    assert solution.success
    assert solution.nit == 0
    assert jac.calls <= 1  # to see its structure
    np.testing.assert_allclose(solution.y, exact, rtol=1e-14)


def test_good_guess_takes_fewer_iterations():
    r = random_recurrence("dense", np.random.default_rng(16), 500, (), 4, gain=0.95)
    cold = seqsolve.deer(r.f, r.jac, r.x, r.y0, window=500)
    near = cold.y + 1e-7 * np.random.default_rng(0).standard_normal(cold.y.shape)
    warm = seqsolve.deer(r.f, r.jac, r.x, r.y0, window=500, initial_guess=near)
    assert warm.nit < cold.nit
    assert_solves(warm, r.f, r.x, r.y0, slack=10)


@fixed
@given(
    structure=st.sampled_from(STRUCTURES),
    bad=st.lists(
        st.sampled_from([np.nan, np.inf, -np.inf, 1e308, -1e200, 1e30, 0.0]), min_size=1, max_size=4
    ),
    seed=st.integers(0, 2**32),
    batch=st.sampled_from([(), (3,)]),
    window=st.sampled_from([5, 16, 40]),
    dtype=st.sampled_from(["float64", "float32"]),
)
def test_any_guess_is_good_enough(structure, bad, seed, batch, window, dtype):
    rng = np.random.default_rng(seed)
    r = random_recurrence(structure, rng, 40, batch, 4, dtype)
    guess = rng.choice(np.array([*bad, 1.0]), (40, *batch, 4))
    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0, initial_guess=guess, window=window)
    assert_solves(solution, r.f, r.x, r.y0)


def test_guess_is_not_written_to():
    r = random_recurrence("dense", np.random.default_rng(17), 30)
    guess = np.zeros((30, 4))
    guess.flags.writeable = False
    assert seqsolve.deer(r.f, r.jac, r.x, r.y0, initial_guess=guess, window=10).success


def test_arguments_are_not_written_to():
    r = random_recurrence("dense", np.random.default_rng(18), 30, (2,))
    r.x.flags.writeable = r.y0.flags.writeable = False
    assert seqsolve.deer(r.f, r.jac, r.x, r.y0, window=10).success
    assert seqsolve.sequential(r.f, r.x, r.y0).success


def test_arguments_of_any_layout():
    r = random_recurrence("dense", np.random.default_rng(19), 30, (2,))
    expected = loop(r.f, r.x, r.y0)
    for x in (np.asfortranarray(r.x), np.repeat(r.x, 2, axis=0)[::2], r.x[::-1][::-1]):
        solution = seqsolve.deer(r.f, r.jac, x, np.asfortranarray(r.y0), window=10)
        np.testing.assert_allclose(solution.y, expected, atol=1e-11)
