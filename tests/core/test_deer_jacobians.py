"""Where Jacobians come from, and what the iterations make of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.steps import (
    REAL,
    STRUCTURES,
    Counted,
    assert_solves,
    fixed,
    random_recurrence,
)

import seqsolve
from seqsolve import BlockDiagonal, Hutchinson


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
    n_probe = probe.calls - 30 + 4  # steps alone, at the end
    n_probe += 5 if source == "cs" else 0  # is the step analytic?
    if structure != "dense":  # tried at two states, by central differences or complex step
        width = 1 if structure == "diagonal" else structure.block_size
        bits = {1: 3, 2: 2}[width]  # in the numbers of six or three blocks
        n_probe += 2 * (width + bits) * (1 if source == "cs" else 2) + 1
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
    assert f.calls <= 4 + 5 + 9 + 1 + 4 + 3 * solution.nit


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


def egarch(h, r):
    """A variance that depends on the sign of what it scales: only in part not analytic."""
    z = r * np.exp(-h / 2)
    return -0.4 + 0.95 * h + 0.15 * np.abs(z) - 0.05 * z


NOT_ANALYTIC = {
    "abs, in a term": lambda y, x: 0.5 * y + 0.3 * np.abs(y) + x,
    "the real part": lambda y, x: 0.5 * y.real + 0.1 * y + x,
    "abs of a product": egarch,
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("f", NOT_ANALYTIC.values(), ids=NOT_ANALYTIC)
def test_complex_steps_that_miss_a_part_of_the_derivative_are_an_error(f, dtype):
    x = (1 + np.random.default_rng(0).random((40, 3))).astype(dtype)
    y0 = np.full(3, 0.1, dtype)
    with pytest.raises(ValueError, match="`jac` must not be 'cs' where `f` is not analytic"):
        seqsolve.deer(f, "cs", x, y0)
    assert seqsolve.deer(f, "2-point", x, y0).success


ANALYTIC_NEARLY_EVERYWHERE = {
    "maximum": lambda y, x: np.maximum(0.5 * y + x, 0),
    "kink at the state": lambda y, x: 0.5 * np.maximum(y, 0) + x,
    "where": lambda y, x: np.where(y > 0, 0.5 * y, 0.1 * y) + x,
    "steep": lambda y, x: np.exp(-np.exp(3 * y)) + x,
    "fast oscillation": lambda y, x: 1e-5 * np.sin(1e4 * y) + x,
    "cancellation": lambda y, x: (1e4 + np.tanh(0.5 * y + x)) - 1e4,
    "cancels to nothing": lambda y, x: (1e9 + np.tanh(0.5 * y + x)) - 1e9,
    "constant": lambda y, x: x + 0 * y,
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("f", ANALYTIC_NEARLY_EVERYWHERE.values(), ids=ANALYTIC_NEARLY_EVERYWHERE)
def test_kinks_and_rounding_are_not_taken_for_what_is_not_analytic(f, dtype):
    x = np.random.default_rng(0).standard_normal((40, 3)).astype(dtype)
    assert seqsolve.deer(f, "cs", x, np.zeros(3, dtype)).success


NOT_HOLOMORPHIC = {
    "abs": lambda z, x: 0.5 * z / (1 + np.abs(z) ** 2) + x,
    "conj": lambda z, x: 0.5 * z.conj() + x,
}


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("jac", [None, "3-point"])
@pytest.mark.parametrize("f", NOT_HOLOMORPHIC.values(), ids=NOT_HOLOMORPHIC)
def test_computed_jacobians_of_complex_states_need_a_complex_derivative(f, jac, dtype):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((40, 2)) + 1j * rng.standard_normal((40, 2))).astype(dtype)
    y0 = np.zeros(2, dtype)
    with pytest.raises(ValueError, match="`f` must be complex-differentiable where the state"):
        seqsolve.deer(f, jac, x, y0)
    stepped = seqsolve.sequential(f, x, y0)
    with pytest.raises(ValueError, match="`f` must be complex-differentiable"):
        seqsolve.vjp(stepped, np.ones_like(stepped.y))
    assert seqsolve.deer(lambda z, x: 0.5j * z + 0.1 * z**2 + 0.1 * x, jac, x, y0).success


def test_a_report_on_a_step_without_complex_derivative_is_no_error():
    """Sweeps need no derivative; that of the step is not asked for to say why they are slow."""
    x = np.full((60, 1), 0.1 + 0.1j)
    h = seqsolve.triangular_map(lambda z, x: z.conj() + x, x, [0.1j])
    solution = seqsolve.jacobi(h, np.zeros(h.shape, complex))
    assert solution.success
    assert "Lyapunov" not in solution.message
