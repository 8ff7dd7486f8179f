"""Gradients: against the complex step, against the reversed loop, whatever solved the forward."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.steps import Recurrence, at, fixed, loop, random_recurrence

import seqsolve
from seqsolve import ConvergenceWarning, Hutchinson
from seqsolve.step import ArrayStep, StepCotangents

STRUCTURES = ["diagonal", "block_diagonal", "dense"]
PRECISION = {"float32": 3e-5, "complex64": 3e-5, "float64": 1e-10, "complex128": 1e-10}


def directional_derivative(f, x, y0, dx, dy0, g):
    """Return the derivative of ``sum(g * y)`` along a direction, without conjugation.

    By the complex step for real arguments, by central differences otherwise.
    """

    def value(h):
        moved = {k: x[k] + h * dx[k] for k in x} if isinstance(x, dict) else x + h * dx
        return (g * loop(f, moved, y0 + h * dy0)).sum()

    if np.iscomplexobj(y0):
        return (value(1e-5) - value(-1e-5)) / 2e-5
    return value(1e-30j).imag / 1e-30


def reversed_loop(r: Recurrence, y, g):
    """Return the adjoint and the cotangent of y0, one step after the other."""
    y_prev = np.concatenate([r.y0[None], y[:-1]])
    lam, adjoint = np.zeros_like(g[0]), np.empty_like(g)
    for t in reversed(range(len(g))):
        lam = g[t] + lam
        adjoint[t] = lam
        A = r.jac(y_prev[t], at(r.x, t))
        if r.structure == "diagonal":
            lam = A * lam
        elif r.structure == "dense":
            lam = (np.swapaxes(A, -1, -2) @ lam[..., None])[..., 0]
        else:
            heads = lam.reshape(*lam.shape[:-1], -1, A.shape[-1], 1)
            lam = (np.swapaxes(A, -1, -2) @ heads).reshape(lam.shape)
    return adjoint, lam


def random_like(rng, a):
    values = rng.standard_normal(a.shape)
    if np.iscomplexobj(a):
        values = values + 1j * rng.standard_normal(a.shape)
    return values.astype(a.dtype)


# Against independent gradients


@fixed
@given(
    structure=st.sampled_from(STRUCTURES),
    dtype=st.sampled_from(list(PRECISION)),
    batch=st.sampled_from([(), (1,), (2, 3)]),
    n_steps=st.sampled_from([1, 2, 3, 40]),
    seed=st.integers(0, 2**32),
)
def test_adjoint_is_the_reversed_loops(structure, dtype, batch, n_steps, seed):
    rng = np.random.default_rng(seed)
    r = random_recurrence(structure, rng, n_steps, batch, 4, dtype, gain=0.9)
    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0, window=17)
    g = random_like(rng, solution.y)
    bar = seqsolve.vjp(solution, g)
    adjoint, y0_bar = reversed_loop(r, solution.y, g)
    assert bar.adjoint.dtype == bar.y0.dtype == dtype
    np.testing.assert_allclose(bar.adjoint, adjoint, rtol=PRECISION[dtype], atol=PRECISION[dtype])
    np.testing.assert_allclose(bar.y0, y0_bar, rtol=PRECISION[dtype], atol=PRECISION[dtype])
    assert bar.x is None
    assert bar.params is None


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_gradient_of_the_initial_state(structure, dtype, batch):
    rng = np.random.default_rng(0)
    r = random_recurrence(structure, rng, 30, batch, 4, dtype, gain=0.9)
    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0)
    g, dy0 = random_like(rng, solution.y), random_like(rng, r.y0)
    expected = directional_derivative(r.f, r.x, r.y0, 0 * r.x, dy0, g)
    found = (seqsolve.vjp(solution, g).y0 * dy0).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("batch", [(), (4,)])
def test_many_windows(structure, batch):
    """The cotangent is handed from window to window."""
    rng = np.random.default_rng(1)
    n_state = 4096 if structure == "diagonal" else 128
    r = random_recurrence(structure, rng, 150, batch, n_state, gain=0.99)
    g = random_like(rng, r.x)
    solution = seqsolve.sequential(ArrayStep(r.f, jac=r.jac), r.x, r.y0)
    windows = solution.problem.parallel_window(solution.problem.natural)
    assert windows < 150 or structure == "block_diagonal"
    bar = seqsolve.vjp(solution, g)
    adjoint, y0_bar = reversed_loop(r, solution.y, g)
    np.testing.assert_allclose(bar.adjoint, adjoint, atol=1e-9)
    np.testing.assert_allclose(bar.y0, y0_bar, atol=1e-9)


FORWARDS = {
    "Newton": lambda f, r: seqsolve.deer(f, r.jac, r.x, r.y0, window=40),
    "Newton, windows": lambda f, r: seqsolve.deer(f, r.jac, r.x, r.y0, window=7),
    "stepping": lambda f, r: seqsolve.deer(f, r.jac, r.x, r.y0, window=1),
    "deeppcr": lambda f, r: seqsolve.deeppcr(f, r.jac, r.x, r.y0),
    "quasi": lambda f, r: seqsolve.deer(f, r.jac, r.x, r.y0, jac_structure="diagonal"),
    "damped": lambda f, r: seqsolve.deer(f, r.jac, r.x, r.y0, damping=0.7, window=40),
    "complex step": lambda f, r: seqsolve.deer(f, "cs", r.x, r.y0),
    "finished by stepping": lambda f, r: seqsolve.deer(
        f, r.jac, r.x, r.y0, maxiter=1, window=40, on_failure="sequential"
    ),
}


@pytest.mark.parametrize("forward", FORWARDS)
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_gradients_do_not_depend_on_the_forward(forward, structure, batch):
    rng = np.random.default_rng(2)
    r = random_recurrence(structure, rng, 40, batch, 4, gain=0.9)
    solution = FORWARDS[forward](r.f, r)
    assert solution.success
    g = random_like(rng, solution.y)
    adjoint, y0_bar = reversed_loop(r, loop(r.f, r.x, r.y0), g)
    bar = seqsolve.vjp(solution, g)
    np.testing.assert_allclose(bar.adjoint, adjoint, atol=1e-9)
    np.testing.assert_allclose(bar.y0, y0_bar, atol=1e-9)


INEXACT = {
    "2-point": lambda f, r: seqsolve.deer(f, "2-point", r.x, r.y0),
    "3-point": lambda f, r: seqsolve.deer(f, "3-point", r.x, r.y0),
    "Hutchinson": lambda f, r: seqsolve.deer(f, Hutchinson(), r.x, r.y0, window=30),
    "sequential": lambda f, r: seqsolve.sequential(f, r.x, r.y0),
    "jacobi": lambda f, r: jacobi(f, r),
}


def jacobi(f, r):
    h = seqsolve.triangular_map(f, r.x, r.y0)
    return seqsolve.jacobi(h, np.zeros(h.shape))


@pytest.mark.parametrize("forward", INEXACT)
@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_gradients_by_differences(forward, batch):
    """Without a Jacobian, differences take its place: as exact as these are."""
    rng = np.random.default_rng(3)
    r = random_recurrence("dense", rng, 30, batch, 4)
    g = random_like(rng, r.x)
    adjoint, y0_bar = reversed_loop(r, loop(r.f, r.x, r.y0), g)
    bar = seqsolve.vjp(INEXACT[forward](r.f, r), g)
    np.testing.assert_allclose(bar.adjoint, adjoint, atol=1e-6)
    np.testing.assert_allclose(bar.y0, y0_bar, atol=1e-6)


# Through the step's own VJP: inputs and parameters


class Layer:
    """``y = tanh(W y + x["a"] + V x["u"])``, with everything a step may carry."""

    def __init__(self, W, V):
        self.W, self.V = W, V

    @property
    def params(self):
        return {"W": self.W, "V": self.V}

    def with_params(self, params):
        return type(self)(params["W"], params["V"])

    def __call__(self, y, x):
        return np.tanh(y @ self.W.T + x["a"] + x["u"] @ self.V.T)

    def slope(self, y, x):
        return 1 - self(y, x) ** 2

    def jac(self, y, x):
        return self.slope(y, x)[..., None] * self.W

    def vjp(self, y, x, lam):
        z = self.slope(y, x) * lam
        u = np.broadcast_to(x["u"], (*z.shape[:-1], x["u"].shape[-1]))
        flat = z.reshape(-1, z.shape[-1])
        return StepCotangents(
            z @ self.W,
            {"a": fold(z, x["a"].shape), "u": fold(z @ self.V, x["u"].shape)},
            {
                "W": flat.T @ y.reshape(-1, y.shape[-1]),
                "V": flat.T @ u.reshape(-1, u.shape[-1]),
            },
        )


def fold(a, shape):
    """Sum over the axes along which an array of `shape` was broadcast."""
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and a.shape[i] != 1)
    return a.sum(axis=axes, keepdims=True)


def make_layer(rng, n_steps, batch, lead, dtype="float64"):
    W = (0.4 * rng.standard_normal((3, 3))).astype(dtype)
    V = rng.standard_normal((3, 2)).astype(dtype)
    x = {
        "a": rng.standard_normal((n_steps, *batch, 3)).astype(dtype),
        "u": rng.standard_normal((n_steps, *lead, 2)).astype(dtype),
    }
    y0 = rng.standard_normal((*batch, 3)).astype(dtype)
    return Layer(W, V), x, y0


SOLVERS = {
    "deer": lambda f, x, y0: seqsolve.deer(f, None, x, y0, window=11),
    "quasi": lambda f, x, y0: seqsolve.deer(f, None, x, y0, jac_structure="diagonal"),
    "hutchinson": lambda f, x, y0: seqsolve.deer(f, Hutchinson(), x, y0, window=20),
    "sequential": seqsolve.sequential,
    "jacobi_gs": lambda f, x, y0: seqsolve.jacobi_gs(
        seqsolve.triangular_map(f, x, y0), np.zeros((x["a"].shape[0], *y0.shape)), block_size=4
    ),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("batch", "lead"),
    [
        ((), ()),
        ((3,), (3,)),
        ((3,), (1,)),
        ((2, 3), (2, 3)),
        ((2, 3), (1, 1)),
        ((2, 3), (2, 1)),
        ((2, 3), (1, 3)),
        ((1, 3), (1, 1)),
    ],
)
def test_gradients_of_inputs_and_parameters(solver, batch, lead):
    rng = np.random.default_rng(4)
    layer, x, y0 = make_layer(rng, 25, batch, lead)
    solution = SOLVERS[solver](layer, x, y0)
    g = random_like(rng, solution.y)
    bar = seqsolve.vjp(solution, g)
    assert {k: v.shape for k, v in bar.x.items()} == {k: v.shape for k, v in x.items()}
    assert {k: v.shape for k, v in bar.params.items()} == {"W": (3, 3), "V": (3, 2)}

    dx, dy0 = {k: random_like(rng, v) for k, v in x.items()}, random_like(rng, y0)
    expected = directional_derivative(layer, x, y0, dx, dy0, g)
    found = (bar.y0 * dy0).sum() + sum((bar.x[k] * dx[k]).sum() for k in x)
    np.testing.assert_allclose(found, expected, rtol=1e-9)

    dW, dV = random_like(rng, layer.W), random_like(rng, layer.V)
    moved = Layer(layer.W + 1e-30j * dW, layer.V + 1e-30j * dV)
    expected = (g * loop(moved, x, y0)).sum().imag / 1e-30
    found = (bar.params["W"] * dW).sum() + (bar.params["V"] * dV).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_parameters_are_summed_over_the_windows():
    rng = np.random.default_rng(5)
    n_steps, n = 70, 96
    layer = Layer(0.05 * rng.standard_normal((n, n)), rng.standard_normal((n, 2)))
    x = {"a": rng.standard_normal((n_steps, 4, n)), "u": rng.standard_normal((n_steps, 1, 2))}
    y0 = rng.standard_normal((4, n))
    solution = seqsolve.sequential(layer, x, y0)
    assert solution.problem.parallel_window(solution.problem.natural) < n_steps
    g = random_like(rng, solution.y)
    bar = seqsolve.vjp(solution, g)
    y_prev = np.concatenate([y0[None], solution.y[:-1]])
    once = layer.vjp(y_prev, x, bar.adjoint)
    np.testing.assert_allclose(bar.params["W"], once.params["W"], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(bar.x["u"], once.x["u"], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(bar.x["a"], once.x["a"], rtol=1e-10, atol=1e-10)


def test_float32_gradients():
    rng = np.random.default_rng(6)
    layer, x, y0 = make_layer(rng, 40, (2,), (1,), "float32")
    solution = seqsolve.deer(layer, None, x, y0)
    g = random_like(rng, solution.y)
    bar = seqsolve.vjp(solution, g.astype("float64"))
    double, xd, _ = make_layer(np.random.default_rng(6), 40, (2,), (1,), "float64")
    double.W, double.V = layer.W.astype(float), layer.V.astype(float)
    xd = {k: v.astype(float) for k, v in x.items()}
    reference = seqsolve.vjp(seqsolve.deer(double, None, xd, y0.astype(float)), g)
    for found, exact in [
        (bar.y0, reference.y0),
        (bar.adjoint, reference.adjoint),
        (bar.x["u"], reference.x["u"]),
        (bar.params["W"], reference.params["W"]),
    ]:
        assert found.dtype == "float32"
        np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-4)


def test_gradients_of_complex_recurrences_pair_without_conjugation():
    rng = np.random.default_rng(7)
    w = 0.5 * np.exp(1j * rng.uniform(0, 6, 3))
    step = ArrayStep(
        lambda y, x: w * y + 0.1 * y * y + x,
        jac=lambda y, x: w + 0.2 * y,
        vjp=lambda y, x, lam: StepCotangents((w + 0.2 * y) * lam, lam, None),
    )
    x = 0.3 * (rng.standard_normal((30, 3)) + 1j * rng.standard_normal((30, 3)))
    y0 = 0.1 * (rng.standard_normal(3) + 1j * rng.standard_normal(3))
    solution = seqsolve.deer(step, None, x, y0)
    g, dx, dy0 = random_like(rng, x), random_like(rng, x), random_like(rng, y0)
    bar = seqsolve.vjp(solution, g)
    expected = directional_derivative(step, x, y0, dx, dy0, g)
    np.testing.assert_allclose((bar.y0 * dy0).sum() + (bar.x * dx).sum(), expected, rtol=1e-8)


# The step's VJP has the last word

WRONG = {
    "zero": lambda J: 0 * J,
    "half": lambda J: 0.5 * J,
    "its diagonal": lambda J: J * np.eye(3),
    "its negative": lambda J: -J,
    "noise": lambda J: J + 0.3 * np.random.default_rng(0).standard_normal(J.shape),
    "ten times": lambda J: 10 * J,
    "a million times": lambda J: 1e6 * J,
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("n_steps", [1, 2, 30, 400])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_wrong_jacobian_with_an_exact_vjp(wrong, n_steps, batch):
    rng = np.random.default_rng(8)
    layer, x, y0 = make_layer(rng, n_steps, batch, batch)
    y = seqsolve.sequential(layer, x, y0).y
    step = ArrayStep(layer, jac=lambda y, x: WRONG[wrong](layer.jac(y, x)), vjp=layer.vjp)
    g = random_like(rng, y)
    exact = seqsolve.vjp(seqsolve.deer(layer, None, x, y0, initial_guess=y), g)
    solution = seqsolve.sequential(step, x, y0)
    bar = seqsolve.vjp(solution, g)
    scale = abs(exact.adjoint).max()
    np.testing.assert_allclose(bar.adjoint, exact.adjoint, atol=1e-11 * scale)
    np.testing.assert_allclose(bar.y0, exact.y0, atol=1e-11 * scale)
    np.testing.assert_allclose(bar.params["W"], exact.params["W"], atol=1e-9 * scale)
    np.testing.assert_allclose(bar.x["u"], exact.x["u"], atol=1e-9 * scale)


def test_a_vjp_may_leave_the_state_to_the_jacobian():
    rng = np.random.default_rng(9)
    layer, x, y0 = make_layer(rng, 30, (2,), (1,))

    def vjp(y, x, lam):
        return layer.vjp(y, x, lam)._replace(y_prev=None)

    g = rng.standard_normal((30, 2, 3))
    partial = seqsolve.vjp(seqsolve.deer(ArrayStep(layer, jac=layer.jac, vjp=vjp), None, x, y0), g)
    whole = seqsolve.vjp(seqsolve.deer(layer, None, x, y0), g)
    np.testing.assert_allclose(partial.adjoint, whole.adjoint, atol=1e-12)
    np.testing.assert_allclose(partial.x["u"], whole.x["u"], atol=1e-12)
    np.testing.assert_allclose(partial.params["V"], whole.params["V"], atol=1e-12)


@pytest.mark.parametrize("part", ["x", "params", "y_prev"])
def test_a_vjp_may_leave_parts_out(part):
    rng = np.random.default_rng(10)
    layer, x, y0 = make_layer(rng, 30, (), ())
    step = ArrayStep(
        layer, jac=layer.jac, vjp=lambda *args: layer.vjp(*args)._replace(**{part: None})
    )
    bar = seqsolve.vjp(seqsolve.deer(step, None, x, y0), rng.standard_normal((30, 3)))
    assert (bar.x is None) == (part == "x")
    assert (bar.params is None) == (part == "params")
    assert np.isfinite(bar.y0).all()


# Edges


@pytest.mark.parametrize("batch", [(), (3,), (0,)])
@pytest.mark.parametrize("n_steps", [0, 1])
def test_shortest_sequences(batch, n_steps):
    rng = np.random.default_rng(11)
    layer, x, y0 = make_layer(rng, n_steps, batch, batch)
    solution = seqsolve.deer(layer, None, x, y0)
    g = rng.standard_normal((n_steps, *batch, 3))
    bar = seqsolve.vjp(solution, g)
    assert bar.adjoint.shape == g.shape
    assert bar.y0.shape == y0.shape
    np.testing.assert_array_equal(bar.adjoint, g)
    if n_steps == 0:
        assert not bar.y0.any()
    elif y0.size:
        expected = (np.swapaxes(layer.jac(y0, at(x, 0)), -1, -2) @ g[0][..., None])[..., 0]
        np.testing.assert_allclose(bar.y0, expected, atol=1e-14)


def test_a_zero_cotangent_has_a_zero_gradient():
    rng = np.random.default_rng(12)
    layer, x, y0 = make_layer(rng, 50, (2,), (1,))
    bar = seqsolve.vjp(seqsolve.deer(layer, None, x, y0), np.zeros((50, 2, 3)))
    for a in (bar.y0, bar.adjoint, bar.x["a"], bar.x["u"], bar.params["W"]):
        assert not a.any()


def test_cotangents_of_any_kind_of_array():
    rng = np.random.default_rng(13)
    r = random_recurrence("dense", rng, 20, (), 2)
    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0)
    expected = seqsolve.vjp(solution, np.ones((20, 2))).adjoint
    frozen = np.ones((20, 2))
    frozen.flags.writeable = False
    for g in (
        [[1, 1]] * 20,
        np.ones((20, 2), "float16"),
        np.ones((2, 20)).T,
        np.broadcast_to(1, (20, 2)),
        frozen,
    ):
        np.testing.assert_array_equal(seqsolve.vjp(solution, g).adjoint, expected)


@pytest.mark.parametrize("how", ["maxiter", "stopped", "jacobi"])
def test_an_unconverged_solution_warns(how):
    f = lambda y, x: 4 * y * (1 - y)  # noqa: E731

    def stop(state):
        raise StopIteration

    if how == "jacobi":
        h = seqsolve.triangular_map(f, None, [0.3], n_steps=100)
        solution = seqsolve.jacobi(h, np.zeros(h.shape), maxiter=2, on_failure="return")
    else:
        options = {"maxiter": 3} if how == "maxiter" else {"callback": stop}
        solution = seqsolve.deer(
            f, "cs", None, [0.3], n_steps=100, window=100, on_failure="return", **options
        )
    assert not solution.success
    with pytest.warns(ConvergenceWarning, match="not converged, so this is not its gradient") as w:
        seqsolve.vjp(solution, np.zeros((100, 1)))
    assert w[0].filename == __file__


def test_a_solution_that_was_stepped_through_does_not_warn():
    f = lambda y, x: 4 * y * (1 - y)  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seqsolve.vjp(seqsolve.sequential(f, None, [0.3], n_steps=20), np.ones((20, 1)))


def test_gradients_grow_where_the_recurrence_is_chaotic():
    f = ArrayStep(lambda y, x: 4 * y * (1 - y), jac=lambda y, x: 4 - 8 * y)
    solution = seqsolve.sequential(f, None, [0.3], n_steps=40)
    g = np.zeros((40, 1))
    g[-1] = 1
    y_prev = np.concatenate([[[0.3]], solution.y[:-1]])
    np.testing.assert_allclose(seqsolve.vjp(solution, g).y0[0], np.prod(4 - 8 * y_prev), rtol=1e-9)


@pytest.mark.parametrize("batch", [(), (3,)])
def test_gradients_of_no_steps_without_a_vjp(batch):
    solution = seqsolve.sequential(lambda y, x: 0.5 * y, None, np.ones((*batch, 2)), n_steps=0)
    bar = seqsolve.vjp(solution, np.zeros((0, *batch, 2)))
    np.testing.assert_array_equal(bar.y0, np.zeros((*batch, 2)))
    assert bar.adjoint.shape == (0, *batch, 2)
    assert bar.x is None
    assert bar.params is None


def test_gradients_of_no_steps_have_shapes_too():
    gru = seqsolve.models.GRU.random(3, 2, dtype="float64", rng=0)
    solution = seqsolve.deer(gru, None, np.zeros((0, 3)), np.ones(2))
    back = seqsolve.vjp(solution, np.zeros((0, 2)))
    assert back.x.shape == (0, 3)
    assert {name: p.shape for name, p in back.params.items()} == {
        name: p.shape for name, p in gru.params.items()
    }
    assert not any(p.any() for p in back.params.values())
    np.testing.assert_array_equal(back.y0, 0)
