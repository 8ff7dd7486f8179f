"""Gradients of solutions, against differences of whole solves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp as scipys
from support.odes import lotka_volterra, van_der_pol

from seqsolve import ConvergenceWarning, solve_ivp
from seqsolve.ivp import METHODS, Points, RightHandSide, vjp

TIMES = np.linspace(0, 6, 13)
ARGS = (1.5, 1.0, 3.0, 1.0)


def loss_and_cotangent(y):
    weights = np.cos(np.arange(y.size)).reshape(y.shape)
    return (weights * y**2).sum(), 2 * weights * y


def reference(y0, args):
    y = scipys(lotka_volterra, (0, 6), y0, "DOP853", TIMES, args=args, rtol=1e-13, atol=1e-13).y
    return loss_and_cotangent(y)[0]


def difference(f, x):
    gradient = np.empty(len(x))
    for i in range(len(x)):
        h = 1e-4 * x[i]
        high, low = [*x], [*x]
        high[i], low[i] = x[i] + h, x[i] - h
        gradient[i] = (f(high) - f(low)) / (2 * h)
    return gradient


@pytest.mark.parametrize("method", ["RK45", "DOP853", "Radau"])
@pytest.mark.parametrize("rtol", [1e-3, 1e-9])
def test_gradients_at_chosen_times(method, rtol):
    result = solve_ivp(
        lotka_volterra, (0, 6), [10.0, 5.0], method, TIMES, args=ARGS, rtol=rtol, atol=rtol * 1e-2
    )
    gradient = vjp(result, loss_and_cotangent(result.y)[1])
    tolerance = max(300 * rtol, 1e-6) * (100 if method == "Radau" else 1)
    y0_bar = difference(lambda y0: reference(y0, ARGS), [10.0, 5.0])
    args_bar = difference(lambda args: reference([10.0, 5.0], tuple(args)), ARGS)
    size = max(np.abs(y0_bar).max(), np.abs(args_bar).max())
    np.testing.assert_allclose(gradient.y0, y0_bar, rtol=0, atol=tolerance * size)
    np.testing.assert_allclose(gradient.args, args_bar, rtol=0, atol=tolerance * size)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_those_of_the_recurrence(method):
    """On the mesh itself, whatever its accuracy: the dot test."""
    result = solve_ivp(
        lotka_volterra, (0, 2), [2.0, 1.0], method, args=ARGS, rtol=1e-3, max_step=0.2
    )
    mesh, n = result.t, 2
    rng = np.random.default_rng(0)
    g, dy0, dargs = rng.standard_normal(result.y.shape), rng.standard_normal(n), 0.3

    def march(eps):
        args = (ARGS[0] + eps * dargs, *ARGS[1:])
        y = (np.array([2.0, 1.0]) + eps * dy0)[None]
        rhs = RightHandSide(lambda t, y: lotka_volterra(t, y, *args), None, (0, 2), y[0])
        states = [y[0]]
        for t, h in zip(mesh[:-1], np.diff(mesh), strict=True):
            y = METHODS[method]().step(rhs, Points(np.array([t]), np.array([h]), y))
            states.append(y[0])
        return np.array(states).T

    eps = 1e-5
    forward = (g * (march(eps) - march(-eps)) / (2 * eps)).sum()
    gradient = vjp(result, g)
    backward = gradient.y0 @ dy0 + gradient.args[0] * dargs
    assert backward == pytest.approx(forward, rel=1e-6)


def test_args_of_all_kinds():
    def fun(t, y, A, scale, name):
        assert name == "decay"
        return scale * (A @ y)

    A = np.array([[-1.0, 0.3], [0.0, -0.5]])
    result = solve_ivp(
        fun, (0, 1), [1.0, 2.0], args=(A, 2, "decay"), t_eval=[1.0], rtol=1e-9, atol=1e-12
    )
    gradient = vjp(result, [[1.0], [0.0]])
    A_bar, scale_bar, name_bar = gradient.args
    assert A_bar.shape == (2, 2)
    assert name_bar is None
    assert scale_bar == pytest.approx((A_bar * A).sum() / 2, rel=1e-6)
    e = 1e-6 * np.array([[0, 1.0], [0, 0]])
    high, low = (
        scipys(fun, (0, 1), [1, 2], args=(B, 2, "decay"), rtol=1e-12, atol=1e-13).y[0, -1]
        for B in (A + e, A - e)
    )
    assert A_bar[0, 1] == pytest.approx((high - low) / 2e-6, rel=1e-5)


def test_stiff_and_backwards():
    result = solve_ivp(van_der_pol(100.0), (0, 10), [2.0, 0.0], "Radau", rtol=1e-6, atol=1e-9)
    g = np.zeros_like(result.y)
    g[0, -1] = 1
    high, low = (
        scipys(van_der_pol(100.0), (0, 10), [y, 0.0], "Radau", rtol=1e-10, atol=1e-12).y[0, -1]
        for y in (2 + 1e-4, 2 - 1e-4)
    )
    assert vjp(result, g).y0[0] == pytest.approx((high - low) / 2e-4, rel=1e-3)
    result = solve_ivp(lambda t, y: -y, (2, 0), [1.0], rtol=1e-9, t_eval=[1.5, 0.25])
    np.testing.assert_allclose(vjp(result, [[0.0, 1.0]]).y0, [np.exp(1.75)], rtol=1e-6)


def test_a_terminal_event_is_held_fixed():
    def half(t, y):
        return y[0] - 0.5

    half.terminal = True
    result = solve_ivp(lambda t, y: -y, (0, 10), [1.0], rtol=1e-9, events=half)
    g = np.zeros_like(result.y)
    g[0, -1] = 1
    np.testing.assert_allclose(vjp(result, g).y0, [0.5], rtol=1e-6)


def test_bad_input():
    result = solve_ivp(lambda t, y: -y, (0, 1), [1.0, 2.0])
    with pytest.raises(TypeError, match="`result` must be an OdeResult"):
        vjp(None, result.y)
    with pytest.raises(ValueError, match="`cotangent` must have the shape"):
        vjp(result, result.y.T)
    with pytest.raises(TypeError, match="`cotangent` must be an array of numbers"):
        vjp(result, 1j * result.y)
    assert vjp(result, np.ones_like(result.y)).args == ()
    failed = solve_ivp(lambda t, y: y**2, (0, 2), [1.0])
    with pytest.warns(ConvergenceWarning, match="did not reach its end"):
        vjp(failed, np.zeros_like(failed.y))
