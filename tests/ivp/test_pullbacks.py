"""Cotangents through single steps, and gradients with respect to arguments of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from support.odes import lotka_volterra

from seqsolve import solve_ivp
from seqsolve.ivp import METHODS, Points, RightHandSide, Signal, vjp
from seqsolve.ivp._arguments import Arguments

ARGS = (1.5, 1.0, 3.0, 1.0)
M = 5


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def jac(t, y, a, b, c, d):
    return np.array([[a - b * y[1], -b * y[0]], [d * y[1], -c + d * y[0]]])


def right_hand_side(args=ARGS):
    return RightHandSide(lotka_volterra, jac, (0.0, 1.0), np.ones(2), Arguments(args))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("inside", [False, True])
def test_a_step_is_pulled_back_exactly(name, inside, rng):
    """The derivative of the step itself, forwards by differences: the dot test."""
    method, theta = METHODS[name](), rng.uniform(0, 1, M) if inside else None
    at = Points(np.zeros(M), rng.uniform(0.02, 0.2, M), rng.uniform(0.5, 2, (M, 2)))
    w, dy, da = rng.standard_normal((M, 2)), rng.standard_normal((M, 2)), 0.7

    def value(eps):
        rhs = right_hand_side((ARGS[0] + eps * da, *ARGS[1:]))
        moved = at._replace(y=at.y + eps * dy)
        if theta is None:
            return method.step(rhs, moved)
        c = method.attempt(rhs, moved).coefficients
        return (c * theta[:, None] ** np.arange(len(c))[:, None, None]).sum(axis=0)

    eps = 1e-5
    forward = (w * (value(eps) - value(-eps))).sum() / (2 * eps)
    rhs = right_hand_side()
    if theta is None:
        pulled = method.taped(rhs, at, dense=False).pull(w)
    else:
        powers = theta ** np.arange(method.degree + 1)[:, None]
        pulled = method.taped(rhs, at, dense=True).pull(0 * w, powers[:, :, None] * w)
    by_a = (pulled.f[:, 0] * pulled.points[:, 0]).sum()
    assert (pulled.y * dy).sum() + da * by_a == pytest.approx(forward, rel=1e-8)


def network(t, y, W, V):
    return V @ np.tanh(W @ y)


def network_jac(t, y, W, V):
    return np.einsum("ij,jk,jl->ilk", V, 1 - np.tanh(W @ y) ** 2, W)


def network_vjp(t, y, w, W, V):
    hidden = np.tanh(W @ y)
    back = (V.T @ w) * (1 - hidden**2)
    return back @ y.T, w @ hidden.T


@pytest.mark.parametrize("method", ["RK4", "RK45", "DOP853", "Radau", "DEER"])
def test_the_users_derivative_is_taken(method, rng):
    W, V = rng.standard_normal((6, 2)), 0.3 * rng.standard_normal((2, 6))
    points = []

    def counted(t, y, W, V):
        points.append(np.size(t))
        return network(t, y, W, V)

    result = solve_ivp(
        counted, (0, 2), [1.0, -0.5], method, np.linspace(0, 2, 7), args=(W, V),
        jac=lambda t, y, W, V: network_jac(t, np.atleast_2d(y.T).T, W, V).reshape(2, 2, *t.shape)
        if np.ndim(t) else network_jac(t, y[:, None], W, V)[..., 0],
        rtol=1e-3 if method == "DEER" else 1e-7, atol=1e-6,
    )  # fmt: skip
    g = rng.standard_normal(result.y.shape)
    points.clear()
    exact = vjp(result, g, network_vjp)
    n_exact = sum(points)
    points.clear()
    differenced = vjp(result, g)
    assert sum(points) > 5 * n_exact
    for a, b in zip(exact.args, differenced.args, strict=True):
        # DEER's Jacobians are differences of their own.
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-5 if method == "DEER" else 1e-7)
    np.testing.assert_allclose(exact.y0, differenced.y0, rtol=1e-12)


@pytest.mark.parametrize("kind", ["linear", "cubic"])
@pytest.mark.parametrize("width", [(), (2,)])
def test_signals(kind, width, rng):
    """Against SciPy with the same signal, and the gradient against differences of the mesh."""
    t = np.sort(np.append(rng.uniform(0, 3, 9), [0, 3]))
    values = rng.standard_normal((*width, t.size))

    def fun(s, y, u):
        return -y + (u if width else u + 0 * y)

    def solve(values, **options):
        y0 = [1.0, 0.5] if width else [1.0]
        signal = Signal(t, values, kind)
        return solve_ivp(fun, (0, 3), y0, args=(signal,), t_eval=[1.0, 2.5, 3.0], **options)

    result = solve(values, rtol=1e-8, atol=1e-10)
    g = rng.standard_normal(result.y.shape)
    gradient = vjp(result, g).args[0]
    own = vjp(result, g, lambda s, y, w, u: (w if width else w.sum(axis=0),)).args[0]
    assert gradient.shape == values.shape
    np.testing.assert_allclose(own, gradient, rtol=1e-6, atol=1e-8)
    direction = rng.standard_normal(values.shape)
    tight = {"rtol": 1e-10, "atol": 1e-12}
    change = solve(values + direction, **tight).y - solve(values, **tight).y
    assert (gradient * direction).sum() == pytest.approx((g * change).sum(), abs=1e-4)


def test_what_signals_are_between_samples():
    t = np.array([0.0, 1.0, 3.0])
    late = np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0])

    def at(kind, values, times=late):
        return Arguments((Signal(t, values, kind),)).at(times, None)[0]

    np.testing.assert_allclose(at("linear", [0, 1, 3]), late.clip(0, 3))
    np.testing.assert_allclose(at("cubic", 1 + 2 * t), 1 + 2 * late.clip(0, 3))
    many = np.linspace(0, 2, 41)
    signal = Arguments((Signal(many, np.sin(many), "cubic"),))
    s = np.linspace(0.2, 1.8, 77)
    np.testing.assert_allclose(signal.at(s, None)[0], np.sin(s), atol=2e-5)
    assert at("linear", [0, 1, 3], 2.0) == 2.0
    only = Arguments((Signal([1.0], [4.0]),))
    np.testing.assert_allclose(only.at(late, None)[0], 4)


@pytest.mark.parametrize(
    ("signal", "error", "match"),
    [
        (Signal([0, 1], [1.0, 2.0, 3.0]), ValueError, r"2 samples.*shape \(3,\)"),
        (Signal([1, 0], [1.0, 2.0]), ValueError, "`args\\[0\\].t` must increase"),
        (Signal([[0, 1]], [1.0, 2.0]), ValueError, "1-dimensional"),
        (Signal([0, 1], [1.0, 2.0], "spline"), ValueError, "`args\\[0\\].kind` must be one of"),
        (Signal([0, 1], ["a", "b"]), TypeError, "array of numbers"),
    ],
)
def test_signals_that_are_none(signal, error, match):
    with pytest.raises(error, match=match):
        solve_ivp(lambda t, y, u: u - y, (0, 1), [1.0], args=(signal,))


@pytest.mark.parametrize("method", ["RK4", "DOP853", "Radau"])
def test_many_times_cost_no_more_than_a_few(method):
    points = []

    def counted(t, y, a, b, c, d):
        points.append(np.size(t))
        return lotka_volterra(t, y, a, b, c, d)

    def evaluations(n_times):
        times = np.linspace(0, 2, n_times)
        result = solve_ivp(
            counted, (0, 2), np.ones((2, 3)), method, times, args=ARGS, jac=jac, rtol=1e-4
        )
        points.clear()
        vjp(result, result.y, lambda t, y, w, *args: (None,) * 4)
        return sum(points), result.trajectory.t.size

    few, steps = evaluations(300)
    many, same = evaluations(3000)
    assert steps == same
    assert many <= 1.1 * few


@pytest.mark.parametrize("times", [None, np.linspace(0, 2, 30)])
@pytest.mark.parametrize(("method", "few", "dense"), [("RK4", 4, 8), ("DOP853", 12, 16)])
def test_every_stage_is_evaluated_once(method, few, dense, times):
    """One call for each stage, and one for the Jacobians at all of them."""
    made = []

    def counted(t, y, a, b, c, d):
        made.append(np.size(t))
        return lotka_volterra(t, y, a, b, c, d)

    result = solve_ivp(counted, (0, 2), np.ones(2), method, times, args=ARGS, jac=jac)
    made.clear()
    vjp(result, result.y, lambda t, y, w, *args: (None,) * 4)
    stages = few if times is None else dense
    assert made == [result.trajectory.t.size - 1] * stages
    result = solve_ivp(counted, (0, 2), np.ones(2), method, times, args=ARGS)
    made.clear()
    vjp(result, result.y, lambda t, y, w, *args: (None,) * 4)
    assert len(made) == stages + 1


def test_users_derivatives_of_the_wrong_shape():
    result = solve_ivp(network, (0, 1), [1.0, 0.0], args=(np.eye(2), np.eye(2)))
    g = np.ones_like(result.y)
    with pytest.raises(ValueError, match="tuple of 2 gradients"):
        vjp(result, g, lambda t, y, w, W, V: (W,))
    with pytest.raises(ValueError, match=r"shape \(2, 2\) for `args\[1\]`"):
        vjp(result, g, lambda t, y, w, W, V: (W, V[0]))
    with pytest.raises(TypeError, match="`fun_vjp` must be callable"):
        vjp(result, g, 3)
    assert vjp(result, g, lambda t, y, w, W, V: (W, None)).args[1] is None
