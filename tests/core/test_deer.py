"""Newton's method over windows gives what the loop gives, whatever the recurrence."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.steps import (
    TOLERANCE,
    Counted,
    fixed,
    leaky_rotation,
    loop,
    random_recurrence,
    residual,
)

import seqsolve
from seqsolve import BlockDiagonal, Hutchinson, Status

STRUCTURES = ["diagonal", "block_diagonal", "dense"]
REAL, COMPLEX = ["float32", "float64"], ["complex64", "complex128"]
BATCHES = [(), (1,), (3,), (2, 3), (0,)]
LINEAR_SOLVERS = ["auto", "scan", "cyclic_reduction", "sequential"]


def assert_solves(solution, f, x, y0, n_steps=None, *, slack=1.0):
    """Assert that a solution is the loop's, and that it says so."""
    expected = loop(f, x, y0, n_steps)
    assert solution.success, solution.message
    assert solution.y.shape == expected.shape
    assert np.isfinite(solution.y).all()
    dtype = solution.y.dtype.name
    scale = slack * TOLERANCE[dtype]
    np.testing.assert_allclose(solution.y, expected, rtol=scale, atol=scale)
    assert (solution.converged_steps == expected.shape[0]).all()
    assert solution.converged_steps.shape == solution.residual.shape == np.shape(y0)[:-1]


@fixed
@given(data=st.data())
def test_equals_the_loop(data):
    structure = data.draw(st.sampled_from(STRUCTURES))
    dtype = data.draw(st.sampled_from(REAL + COMPLEX))
    n_steps = data.draw(st.sampled_from([0, 1, 2, 3, 7, 16, 37, 64]))
    r = random_recurrence(
        structure,
        np.random.default_rng(data.draw(st.integers(0, 2**32))),
        n_steps,
        data.draw(st.sampled_from(BATCHES)),
        data.draw(st.sampled_from([1, 2, 4, 6])),
        dtype,
    )
    windows = st.sampled_from([None, 1, 2, 3, 13, max(n_steps, 1), n_steps + 5])
    solution = seqsolve.deer(
        r.f,
        r.jac,
        r.x,
        r.y0,
        window=data.draw(windows),
        linear_solver=data.draw(st.sampled_from(LINEAR_SOLVERS)),
        damping=data.draw(st.sampled_from([0.0, 0.0, 0.3, 0.9])),
    )
    assert solution.y.dtype == dtype
    assert_solves(solution, r.f, r.x, r.y0)
    oracle = seqsolve.sequential(r.f, r.x, r.y0)
    np.testing.assert_allclose(solution.y, oracle.y, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("batch", [(), (2, 3)])
@pytest.mark.parametrize("window", [1, 7, 100])
def test_oracle_equals_the_loop_bit_for_bit(batch, window):
    r = random_recurrence("diagonal", np.random.default_rng(0), 100, batch)
    expected = loop(r.f, r.x, r.y0)
    np.testing.assert_array_equal(seqsolve.sequential(r.f, r.x, r.y0).y, expected)
    if window == 1:
        np.testing.assert_array_equal(seqsolve.deer(r.f, r.jac, r.x, r.y0, window=1).y, expected)


@fixed
@given(
    structure=st.sampled_from(STRUCTURES),
    source=st.sampled_from(["cs", "2-point", "3-point", None, "callable"]),
    dtype=st.sampled_from(REAL),
    batch=st.sampled_from([(), (3,)]),
    seed=st.integers(0, 2**32),
)
def test_every_source_of_the_jacobian(structure, source, dtype, batch, seed):
    r = random_recurrence(structure, np.random.default_rng(seed), 50, batch, 4, dtype)
    declared = BlockDiagonal(r.block_size) if structure == "block_diagonal" else structure
    jac = r.jac if source == "callable" else source
    solution = seqsolve.deer(r.f, jac, r.x, r.y0, jac_structure=declared, window=25)
    assert_solves(solution, r.f, r.x, r.y0)


@pytest.mark.parametrize("source", ["2-point", "3-point"])
def test_differences_of_holomorphic_maps(source):
    r = random_recurrence("dense", np.random.default_rng(1), 40, (2,), 3, "complex128")
    solution = seqsolve.deer(r.f, source, r.x, r.y0, window=20)
    assert_solves(solution, r.f, r.x, r.y0)
    assert solution.nit <= 2 * 6


@pytest.mark.parametrize(
    ("structure", "source", "directions"),
    [
        ("diagonal", "cs", 1),
        ("diagonal", "2-point", 1),
        ("diagonal", "3-point", 2),
        (BlockDiagonal(2), "cs", 2),
        (BlockDiagonal(2), "3-point", 4),
        ("dense", "cs", 6),
        ("dense", "2-point", 6),
    ],
)
def test_computed_jacobians_take_as_many_evaluations_as_a_block_has_columns(
    structure, source, directions
):
    kind = structure if isinstance(structure, str) else "block_diagonal"
    r = random_recurrence(kind, np.random.default_rng(2), 30, (), 6)
    f = Counted(r.f)
    solution = seqsolve.deer(f, source, r.x, r.y0, jac_structure=structure, window=30)
    probe = Counted(r.f)
    seqsolve.sequential(probe, r.x, r.y0)
    n_probe = probe.calls - 30
    if structure != "dense":  # tried at two states, by central differences or complex step
        width = 1 if structure == "diagonal" else structure.block_size
        n_probe += 2 * (width + 1) * (1 if source == "cs" else 2) + 1
    assert f.calls == n_probe + (solution.nit + 1) + solution.nit * directions


@pytest.mark.parametrize("source", ["cs", "2-point", "3-point"])
@pytest.mark.parametrize("structure", ["diagonal", BlockDiagonal(2)], ids=str)
def test_a_declared_structure_that_does_not_hold_is_projected_onto(structure, source):
    r = random_recurrence("dense", np.random.default_rng(4), 40, (), 6)
    declared = seqsolve.deer(r.f, source, r.x, r.y0, jac_structure=structure, window=40)
    projected = seqsolve.deer(r.f, r.jac, r.x, r.y0, jac_structure=structure, window=40)
    assert declared.success
    assert abs(declared.nit - projected.nit) <= 1
    g = np.random.default_rng(5).standard_normal(r.x.shape)
    exact = seqsolve.vjp(projected, g).y0
    np.testing.assert_allclose(seqsolve.vjp(declared, g).y0, exact, rtol=1e-6, atol=1e-9)


def test_a_small_element_beside_large_ones_is_no_failure():
    """Rounding makes it impossible to compute the small element to its own precision."""
    rng = np.random.default_rng(0)
    W = (0.95 * np.linalg.qr(rng.standard_normal((8, 8)))[0]).astype("float32")
    b = (10 * rng.standard_normal((5000, 8))).astype("float32")

    def f(y, x):
        return y @ W.T + x

    def jac(y, x):
        return np.broadcast_to(W, (len(y), 8, 8))

    y0 = np.zeros(8, "float32")
    solution = seqsolve.deer(f, jac, b, y0, window=1000)
    assert solution.success
    assert solution.nit < 50
    wide = seqsolve.sequential(lambda y, x: y @ W.T.astype(float) + x, b.astype(float), np.zeros(8))
    loop = seqsolve.sequential(f, b, y0)
    assert abs(solution.y - wide.y).max() <= 2 * abs(loop.y - wide.y).max()
    strict = seqsolve.deer(f, jac, b, y0, window=1000, atol=1e-6, on_failure="return")
    assert strict.nit > 4 * solution.nit  # a tolerance that is asked for is not relaxed


def test_complex_step_and_callable_take_the_same_iterations():
    r = random_recurrence("dense", np.random.default_rng(3), 300, (), 5, gain=0.9)
    nits = {
        name: seqsolve.deer(r.f, jac, r.x, r.y0, window=300).nit
        for name, jac in {"jac": r.jac, "cs": "cs", "3-point": "3-point"}.items()
    }
    assert nits["jac"] == nits["cs"] == nits["3-point"] <= 8


class TanhStep:
    """A step object with its own Jacobian."""

    def __init__(self, w):
        self.w = w

    def __call__(self, y, x):
        return np.tanh(self.w * y + x)

    def jac(self, y, x):
        return self.w / np.cosh(self.w * y + x) ** 2


class BindableStep(TanhStep):
    """A step object that prepares its input, and shares work with its Jacobian."""

    n_bound = 0

    def bind(self, x):
        type(self).n_bound += 1
        step = self

        class Bound:
            def __call__(self, y):
                return np.tanh(step.w * y + x)

            def linearize(self, y):
                t = self(y)
                return t, lambda: step.w * (1 - t * t)

        return Bound()


class ParametrisedStep(TanhStep):
    """A step object whose parameters the solvers may move."""

    @property
    def params(self):
        return {"w": self.w}

    def with_params(self, params):
        return type(self)(params["w"])


@pytest.mark.parametrize("kind", [TanhStep, BindableStep, ParametrisedStep])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_step_objects(kind, batch):
    rng = np.random.default_rng(4)
    step = kind(rng.uniform(-0.7, 0.7, 5))
    x, y0 = rng.standard_normal((60, *batch, 5)), rng.standard_normal((*batch, 5))
    solution = seqsolve.deer(step, None, x, y0, window=30)
    assert_solves(solution, step, x, y0)
    assert solution.nit <= 14
    assert solution.njev >= solution.nit
    plain = seqsolve.deer(lambda y, x: step(y, x), step.jac, x, y0, window=30)
    np.testing.assert_allclose(solution.y, plain.y, rtol=1e-13)


def test_bindable_steps_are_bound_to_their_input():
    step = BindableStep(np.array([0.5]))
    BindableStep.n_bound = 0
    solution = seqsolve.deer(step, None, np.ones((100, 1)), [0.0], window=20)
    assert solution.success
    assert BindableStep.n_bound < 5 + 5 * 20


def test_array_step_carries_jacobian_and_structure():
    from seqsolve.step import ArrayStep

    r = random_recurrence("block_diagonal", np.random.default_rng(5), 80, (), 6)
    step = ArrayStep(r.f, jac=r.jac)
    assert_solves(seqsolve.deer(step, None, r.x, r.y0), r.f, r.x, r.y0)
    f = Counted(r.f)
    declared = ArrayStep(f, jac_structure=BlockDiagonal(2))
    solution = seqsolve.deer(declared, "cs", r.x, r.y0, window=80)
    assert_solves(solution, r.f, r.x, r.y0)
    assert f.calls <= 4 + 7 + 1 + 3 * solution.nit


@pytest.mark.parametrize("batch", [(), (2, 2)])
@pytest.mark.parametrize("products", [1, 4])
@pytest.mark.parametrize("dtype", REAL)
def test_hutchinson(batch, products, dtype):
    r = random_recurrence("dense", np.random.default_rng(6), 60, batch, 4, dtype)
    estimate = Hutchinson(products=products, seed=3)
    solution = seqsolve.deer(r.f, estimate, r.x, r.y0, window=30)
    assert_solves(solution, r.f, r.x, r.y0)
    again = seqsolve.deer(r.f, estimate, r.x, r.y0, window=30)
    np.testing.assert_array_equal(solution.y, again.y)
    assert solution.nit == again.nit


@pytest.mark.parametrize(
    ("target", "width"), [("diagonal", 1), (BlockDiagonal(2), 2), (BlockDiagonal(3), 3)]
)
@pytest.mark.parametrize("source", ["callable", "cs"])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_quasi_newton(target, width, source, batch):
    """A dense Jacobian, given or computed, and projected."""
    r = random_recurrence("dense", np.random.default_rng(7), 80, batch, 6)
    jac = r.jac if source == "callable" else source
    solution = seqsolve.deer(r.f, jac, r.x, r.y0, jac_structure=target, window=40)
    assert_solves(solution, r.f, r.x, r.y0)
    newton = seqsolve.deer(r.f, r.jac, r.x, r.y0, window=40)
    assert solution.nit > newton.nit
    jacobi = seqsolve.deer(r.f, lambda y, x: np.zeros_like(y), r.x, r.y0, window=40)
    assert solution.nit <= jacobi.nit


@pytest.mark.parametrize("target", ["diagonal", "dense"])
def test_projection_of_blocks(target):
    r = random_recurrence("block_diagonal", np.random.default_rng(8), 50, (2,), 6)
    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0, jac_structure=target, window=25)
    assert_solves(solution, r.f, r.x, r.y0)


def test_damping_goes_from_newton_to_jacobi():
    r = random_recurrence("dense", np.random.default_rng(9), 200, (), 4, gain=0.8)
    nit = [
        seqsolve.deer(r.f, r.jac, r.x, r.y0, window=200, damping=d, maxiter=200).nit
        for d in (0.0, 0.3, 0.6, 0.9, 0.999999)
    ]
    picard = seqsolve.deer(r.f, lambda y, x: 0 * y, r.x, r.y0, window=200, maxiter=200).nit
    assert nit == sorted(nit)
    assert nit[0] < nit[2] < nit[-1] == picard


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


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("n_steps", [0, 1, 2])
@pytest.mark.parametrize("window", [None, 1, 2])
def test_shortest_sequences(batch, n_steps, window):
    r = random_recurrence("dense", np.random.default_rng(14), n_steps, batch, 3)
    for jac in (r.jac, "cs", Hutchinson()):
        solution = seqsolve.deer(r.f, jac, r.x, r.y0, window=window)
        assert_solves(solution, r.f, r.x, r.y0)
        assert solution.history[-1:] == () or solution.history[-1].stop == n_steps


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


# The theory: after k iterations the first k steps are exact, whatever A


@fixed
@given(
    k=st.integers(1, 12),
    seed=st.integers(0, 2**32),
    size=st.sampled_from([0.0, 1.0, 10.0, 1e8, 1e300]),
    structure=st.sampled_from(STRUCTURES),
    batch=st.sampled_from([(), (2,)]),
    solver=st.sampled_from(["auto", "scan"]),
)
def test_first_k_steps_are_exact_after_k_iterations(k, seed, size, structure, batch, solver):
    rng = np.random.default_rng(seed)
    r = random_recurrence(structure, rng, 24, batch, 4)

    def wrong(y, x):
        return size * rng.uniform(-1, 1, r.jac(y, x).shape)

    solution = seqsolve.deer(
        r.f,
        wrong,
        r.x,
        r.y0,
        maxiter=k,
        window=24,
        on_failure="return",
        linear_solver=solver,
    )
    expected = loop(r.f, r.x, r.y0)
    np.testing.assert_allclose(solution.y[:k], expected[:k], rtol=1e-13, atol=1e-13)
    assert (solution.converged_steps >= k).all()
    for s in np.ndindex(*batch):
        prefix = (slice(int(solution.converged_steps[s])), *s)
        np.testing.assert_allclose(solution.y[prefix], expected[prefix], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("size", [0.0, 3.0, 1e300])
@pytest.mark.parametrize("window", [5, 40])
def test_wrong_jacobian_is_still_solved_in_as_many_iterations_as_steps(size, window):
    r = random_recurrence("dense", np.random.default_rng(20), 40, (2,))
    wrong = np.random.default_rng(0)
    solution = seqsolve.deer(
        r.f, lambda y, x: size * wrong.standard_normal((*y.shape, 4)), r.x, r.y0, window=window
    )
    assert_solves(solution, r.f, r.x, r.y0)
    assert all(record.nit <= record.stop - record.start for record in solution.history)


# Sequences stop one by one


class PerSequence:
    """A recurrence of sequences of their own gain; counts the points of each."""

    def __init__(self, gains):
        self.gains = np.asarray(gains, dtype=float)
        self.points = np.zeros(len(gains), dtype=int)

    def input(self, n_steps, sequences):
        rng = np.random.default_rng(21)
        noise = rng.standard_normal(n_steps)
        x = np.empty((n_steps, len(sequences), 3))
        x[:, :, 0], x[:, :, 1] = sequences, self.gains[sequences]
        x[:, :, 2] = noise[:, None]
        return x

    def __call__(self, y, x):
        ids = np.broadcast_to(x[..., 0], y.shape[:-1])
        self.points += np.bincount(ids.astype(int).ravel(), minlength=self.points.size)
        return np.sin(x[..., 1:2] * y + x[..., 2:])

    def jac(self, y, x):
        return x[..., 1:2] * np.cos(x[..., 1:2] * y + x[..., 2:])


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
def test_finished_sequences_cost_nothing_more(order):
    """In a batch, each sequence is evaluated about as often as alone."""
    gains, n_steps = [0.0, 0.3, 0.8, 1.8], 64
    alone, nits = [], []
    for i in range(4):
        step = PerSequence(gains)
        solution = seqsolve.deer(
            step, step.jac, step.input(n_steps, [i]), np.zeros((1, 1)), window=n_steps
        )
        assert solution.success
        alone.append(step.points[i])
        nits.append(solution.nit)
    assert nits[0] < nits[1] < nits[2] < nits[3]
    assert nits[3] > 3 * nits[1]

    step = PerSequence(gains)
    x = step.input(n_steps, order)
    solution = seqsolve.deer(step, step.jac, x, np.zeros((4, 1)), window=n_steps)
    points = step.points.copy()
    assert_solves(solution, step, x, np.zeros((4, 1)), slack=10)
    probe = 4
    for rank, i in enumerate(np.argsort(nits)):
        again = rank * n_steps  # those that go on are evaluated anew where others leave
        assert points[i] <= alone[i] + again + probe


def test_results_do_not_depend_on_the_company():
    gains = [0.0, 0.3, 0.8, 1.2, 0.5]
    step = PerSequence(gains)
    together = seqsolve.deer(
        step, step.jac, step.input(80, np.arange(5)), np.zeros((5, 1)), window=16
    )
    for i in range(5):
        alone = seqsolve.deer(step, step.jac, step.input(80, [i]), np.zeros((1, 1)), window=16)
        np.testing.assert_allclose(together.y[:, i], alone.y[:, 0], atol=1e-10)


# Memory


def test_no_jacobian_of_the_whole_sequence():
    n_steps, n = 200_000, 8
    r = random_recurrence("dense", np.random.default_rng(22), n_steps, (), n)
    seqsolve.deer(r.f, r.jac, r.x[:100], r.y0)
    trajectory, jacobian = n_steps * n * 8, n_steps * n * n * 8
    tracemalloc.start()
    try:
        solution = seqsolve.deer(r.f, r.jac, r.x, r.y0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert solution.success
    assert len(solution.history) > 1
    assert trajectory <= peak < trajectory + jacobian / 8


# out=


@pytest.mark.parametrize("window", [1, 7, None])
@pytest.mark.parametrize(
    "make",
    [
        lambda shape: np.empty(shape),
        lambda shape: np.empty(shape, order="F"),
        lambda shape: np.empty((2 * shape[0], *shape[1:]))[::2],
        lambda shape: np.empty(shape)[::-1],
        lambda shape: np.empty(shape, dtype=complex),
    ],
    ids=["C", "F", "strided", "reversed", "complex"],
)
def test_out_receives_the_trajectory(make, window):
    r = random_recurrence("dense", np.random.default_rng(23), 40, (2, 3))
    out = make((40, 2, 3, 4))
    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0, out=out, window=window)
    assert solution.y is out
    np.testing.assert_allclose(out, loop(r.f, r.x, r.y0), atol=1e-11)
    if window == 1:
        out[...] = 0
        assert seqsolve.sequential(r.f, r.x, r.y0, out=out).y is out
        np.testing.assert_allclose(out, loop(r.f, r.x, r.y0), atol=1e-14)


def test_memory_mapped_input_and_output(tmp_path):
    r = random_recurrence("diagonal", np.random.default_rng(24), 1000, (), 2)
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", r.x.dtype, r.x.shape)
    x[:] = r.x
    out = np.lib.format.open_memmap(tmp_path / "y.npy", "w+", "float64", (1000, 2))
    solution = seqsolve.deer(r.f, r.jac, x, r.y0, out=out, window=64)
    assert solution.y is out
    out.flush()
    expected = loop(r.f, r.x, r.y0)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, atol=1e-11)


def test_out_may_be_the_guess():
    r = random_recurrence("dense", np.random.default_rng(25), 40)
    expected = loop(r.f, r.x, r.y0)
    buffer = np.zeros_like(r.x)
    seqsolve.deer(r.f, r.jac, r.x, r.y0, out=buffer, initial_guess=buffer, window=8)
    np.testing.assert_allclose(buffer, expected, atol=1e-11)


# What is reported


@pytest.mark.parametrize("on_iteration", [1, 2, 4])
def test_callback_stops_the_solver(on_iteration):
    r = random_recurrence("dense", np.random.default_rng(26), 60, (2,), gain=0.95)
    states = []

    def callback(state):
        states.append(state)
        if len(states) == on_iteration:
            raise StopIteration

    jac = lambda y, x: 0.2 * r.jac(y, x)  # noqa: E731
    solution = seqsolve.deer(r.f, jac, r.x, r.y0, window=30, callback=callback)
    assert len(states) == on_iteration
    assert solution.status is Status.STOPPED
    assert not solution.success
    assert "initial_guess=solution.y" in solution.message
    assert solution.nit == on_iteration
    expected = loop(r.f, r.x, r.y0)
    k = int(solution.converged_steps.min())
    assert on_iteration <= k < 60
    np.testing.assert_allclose(solution.y[:k], expected[:k], atol=1e-10)
    resumed = seqsolve.deer(r.f, r.jac, r.x, r.y0, window=30, initial_guess=solution.y)
    assert_solves(resumed, r.f, r.x, r.y0, slack=10)


@pytest.mark.parametrize("stop_at", [10, 20, 30])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_callback_stops_at_the_end_of_a_window(stop_at, batch):
    """The iteration that solves a window is no exception, but for the last window."""
    r = random_recurrence("dense", np.random.default_rng(26), 30, batch)

    def callback(state):
        if state.converged_steps == stop_at:
            raise StopIteration

    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0, window=10, callback=callback)
    assert (solution.converged_steps == stop_at).all()
    assert len(solution.history) == stop_at / 10
    assert solution.success == (stop_at == 30)
    assert solution.status is (Status.CONVERGED if stop_at == 30 else Status.STOPPED)
    assert np.isinf(solution.residual).all() == (stop_at < 30)


def test_states_that_the_callback_sees():
    r = random_recurrence("dense", np.random.default_rng(27), 60, (3,), gain=0.9)
    states = []
    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0, window=25, callback=states.append)
    assert len(states) == solution.nit
    for record in solution.history:
        mine = [s for s in states if (s.start, s.stop) == (record.start, record.stop)]
        assert [s.iteration for s in mine] == list(range(1, record.nit + 1))
        assert len(record.residuals) == record.nit + 1
        done = [s.converged_steps for s in mine]
        assert done == sorted(done)
        assert all(record.start <= d <= record.stop for d in done)
        assert all(0 <= s.n_running <= 3 for s in mine)
    assert states[-1].n_running == 0
    assert states[-1].converged_steps == 60


@pytest.mark.parametrize("window", [10, None])
def test_the_state_reports_the_residual_of_the_iterate(window):
    """The last state of a window knows that it is solved."""
    r = random_recurrence("dense", np.random.default_rng(27), 40, (), gain=0.9)
    states = []
    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0, window=window, callback=states.append)
    seen = [s.residual for s in states]
    told = [res for record in solution.history for res in record.residuals[1:]]
    assert seen == told


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_other_exceptions_of_the_callback_pass(error):
    r = random_recurrence("dense", np.random.default_rng(28), 20)

    def callback(state):
        raise error("mine")

    with pytest.raises(error, match="mine"):
        seqsolve.deer(r.f, r.jac, r.x, r.y0, callback=callback)


def test_progress_bar_goes_to_stderr(capsys):
    r = random_recurrence("dense", np.random.default_rng(29), 60)
    seqsolve.deer(r.f, r.jac, r.x, r.y0, window=20, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "100%" in captured.err
    assert "60.0/60.0" in captured.err
    seqsolve.deer(r.f, r.jac, r.x, r.y0, window=20)
    assert capsys.readouterr().err == ""


def test_progress_needs_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    r = random_recurrence("dense", np.random.default_rng(30), 10)
    with pytest.raises(ImportError, match=r"`progress=True` needs tqdm: pip install"):
        seqsolve.deer(r.f, r.jac, r.x, r.y0, progress=True)


@pytest.mark.parametrize("jac", ["callable", "cs", "2-point", "3-point", "hutchinson"])
@pytest.mark.parametrize("batch", [(), (4,)])
@pytest.mark.parametrize("window", [1, 16, 50])
def test_counts_and_history(jac, batch, window):
    r = random_recurrence("diagonal", np.random.default_rng(31), 50, batch, 2, gain=0.3)
    f, own = Counted(r.f), Counted(r.jac)
    source = {"callable": own, "hutchinson": Hutchinson()}.get(jac, jac)
    solution = seqsolve.deer(f, source, r.x, r.y0, window=window)
    assert solution.nfev == f.calls
    if jac == "callable":
        assert solution.njev == own.calls
    assert solution.nit == sum(record.nit for record in solution.history)
    starts = [record.start for record in solution.history]
    stops = [record.stop for record in solution.history]
    assert starts == [0, *stops[:-1]]
    assert stops[-1] == 50
    assert all(record.status is solution.status for record in solution.history)
    assert solution.status is (Status.SEQUENTIAL if window == 1 else Status.CONVERGED)
    assert solution.backend == "numpy"
    if window == 1:
        assert solution.nit == 50
        assert all(record.residuals == () for record in solution.history)
    f.calls = 0
    seqsolve.sequential(f, r.x, r.y0)
    assert seqsolve.sequential(r.f, r.x, r.y0).nfev == f.calls


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("batch", [(), (2, 3)])
@pytest.mark.parametrize(("window", "maxiter"), [(60, 3), (60, 100), (20, 100), (7, 100)])
def test_reported_residual_is_the_trajectorys(structure, batch, window, maxiter):
    r = random_recurrence(structure, np.random.default_rng(32), 60, batch, gain=0.9)
    quasi = lambda y, x: 0.5 * r.jac(y, x)  # noqa: E731
    solution = seqsolve.deer(
        r.f, quasi, r.x, r.y0, window=window, maxiter=maxiter, on_failure="return", rtol=1e-6
    )
    assert solution.success == (maxiter == 100)
    recomputed = residual(r.f, r.x, r.y0, solution.y).max(axis=(0, -1))
    np.testing.assert_allclose(solution.residual, recomputed, rtol=1e-6, atol=1e-15)
    if not batch:
        assert max(record.residuals[-1] for record in solution.history) == solution.residual


def test_residual_of_every_step_meets_the_tolerance():
    r = random_recurrence("dense", np.random.default_rng(33), 200, (3,), gain=0.95)
    rtol, atol = 1e-4, np.array([1e-3, 1e-4, 1e-5, 1e-6])
    solution = seqsolve.deer(
        r.f, r.jac, r.x, r.y0, rtol=rtol, atol=atol, jac_structure="diagonal", window=200
    )
    assert solution.success
    r_t = residual(r.f, r.x, r.y0, solution.y)
    assert (r_t <= (atol + rtol * abs(solution.y)) * (1 + 1e-12)).all()
    strict = seqsolve.deer(r.f, r.jac, r.x, r.y0, jac_structure="diagonal", window=200)
    assert solution.nit < strict.nit


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-12)])
def test_default_tolerances(dtype, tolerance):
    r = random_recurrence("dense", np.random.default_rng(34), 100, (), 4, dtype)
    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0, jac_structure="diagonal", window=100)
    r_t = residual(r.f, r.x, r.y0, solution.y)
    assert (r_t <= tolerance * (1 + abs(solution.y)) * 1.01).all()


def test_deeppcr_is_deer_with_cyclic_reduction():
    r = random_recurrence("dense", np.random.default_rng(35), 50, (2,))
    a = seqsolve.deeppcr(r.f, r.jac, r.x, r.y0, window=25)
    b = seqsolve.deer(r.f, r.jac, r.x, r.y0, window=25, linear_solver="cyclic_reduction")
    np.testing.assert_array_equal(a.y, b.y)
    assert a.nit == b.nit
    assert_solves(a, r.f, r.x, r.y0)


def test_repr_is_short_and_says_what_happened():
    r = random_recurrence("dense", np.random.default_rng(36), 50, (2,))
    text = repr(seqsolve.deer(r.f, r.jac, r.x, r.y0))
    assert "success=True" in text
    assert "(50, 2, 4)" in text
    assert len(text) < 300


def test_threads_may_solve_at_the_same_time():
    from concurrent.futures import ThreadPoolExecutor

    cases = [random_recurrence("dense", np.random.default_rng(i), 300, (), 4) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        solutions = list(pool.map(lambda r: seqsolve.deer(r.f, r.jac, r.x, r.y0), cases))
    for r, solution in zip(cases, solutions, strict=True):
        assert_solves(solution, r.f, r.x, r.y0)


def test_warnings_of_numpy_stay_quiet_under_error_filters():
    code = (
        "import warnings; warnings.simplefilter('error')\n"
        "import numpy as np, seqsolve\n"
        "f = lambda y, x: np.exp(-y) + x\n"
        "bad = np.full((90, 1), -800.0)\n"
        "s = seqsolve.deer(f, 'cs', np.ones((90, 1)), [5.0], initial_guess=bad)\n"
        "assert s.success, s\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
