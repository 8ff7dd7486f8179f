"""Equations with a mass matrix, against known solutions and the equivalent ODE."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp as scipys
from scipy.sparse import csr_array

from seqsolve import solve_ivp
from seqsolve.ivp import METHODS, Batched, Points, RightHandSide, vjp

MASS = np.diag([1.0, 0.0])


def circle(t, y):
    """``y' = z``, ``0 = y**2 + z**2 - 1``: the sine and its derivative."""
    return [y[1], y[0] ** 2 + y[1] ** 2 - 1]


def robertson(t, y):
    fast = 1e4 * y[1] * y[2]
    return [-0.04 * y[0] + fast, 0.04 * y[0] - fast - 3e7 * y[1] ** 2, y[0] + y[1] + y[2] - 1]


def test_a_sparse_matrix():
    dense, sparse = (
        solve_ivp(circle, (0, 1), [0.0, 1.0], "Radau", mass=m) for m in (MASS, csr_array(MASS))
    )
    np.testing.assert_array_equal(dense.y, sparse.y)


@pytest.mark.parametrize("method", ["Radau", "ImplicitEuler"])
@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_a_known_solution(method, rtol):
    result = solve_ivp(
        circle, (0, 1.2), [0.0, 1.0], method, mass=[1, 0], rtol=rtol, atol=rtol, dense_output=True,
        max_step=1e-2 if method == "ImplicitEuler" and rtol > 1e-4 else np.inf,
    )  # fmt: skip
    assert result.success
    bound = (30 if method == "Radau" else 3 * result.t.size) * rtol
    exact = np.array([np.sin(result.t), np.cos(result.t)])
    np.testing.assert_allclose(result.y, exact, atol=bound)
    np.testing.assert_allclose((result.y**2).sum(axis=0), 1, atol=1e-8)
    t = np.linspace(0, 1.2, 7)
    np.testing.assert_allclose(result.sol(t), [np.sin(t), np.cos(t)], atol=2 * bound)


@pytest.mark.parametrize(("method", "steps"), [("Radau", (8, 16)), ("ImplicitEuler", (400, 800))])
def test_order(method, steps):
    def end(n):
        rhs = RightHandSide(circle, None, (0, 1), np.array([0.0, 1.0]), mass=MASS)
        y, h = np.array([[0.0, 1.0]]), np.array([1 / n])
        for i in range(n):
            y = METHODS[method]().step(rhs, Points(h * i, h, y))
        return np.abs(y[0] - [np.sin(1), np.cos(1)]).max()

    slope = np.log2(end(steps[0]) / end(steps[1]))
    assert slope == pytest.approx(METHODS[method].order, abs=0.1)


def robertson_jac(t, y):
    return [
        [-0.04 + 0 * t, 1e4 * y[2], 1e4 * y[1]],
        [0.04 + 0 * t, -1e4 * y[2] - 6e7 * y[1], -1e4 * y[1]],
        [1 + 0 * t, 1 + 0 * t, 1 + 0 * t],
    ]


@pytest.mark.parametrize("jac", [None, robertson_jac])
def test_robertson_as_an_algebraic_equation(jac):
    ours = solve_ivp(robertson, (0, 1e4), [1, 0, 0], "Radau", mass=[1, 1, 0], rtol=1e-6, atol=1e-10)

    def ode(t, y):
        slow, fast, square = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
        return [fast - slow, slow - fast - square, square]

    theirs = scipys(ode, (0, 1e4), [1, 0, 0], "Radau", rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(ours.y[:, -1], theirs.y[:, -1], rtol=1e-5)


def test_a_full_matrix_is_the_equation_multiplied():
    rng = np.random.default_rng(0)
    P = np.eye(2) + 0.3 * rng.standard_normal((2, 2))
    one = solve_ivp(circle, (0, 1), [0.0, 1.0], "Radau", mass=MASS, rtol=1e-8, atol=1e-10)
    two = solve_ivp(
        lambda t, y: np.tensordot(P, np.array(circle(t, y)), 1), (0, 1), [0.0, 1.0], "Radau",
        mass=P @ MASS, rtol=1e-8, atol=1e-10,
    )  # fmt: skip
    np.testing.assert_allclose(two.y[:, -1], one.y[:, -1], rtol=1e-7)
    regular = solve_ivp(lambda t, y: -2 * y, (0, 1), [1.0], "Radau", mass=[[2.0]], rtol=1e-8)
    np.testing.assert_allclose(regular.y[0], np.exp(-regular.t), rtol=1e-6)


@pytest.mark.parametrize("method", ["Radau", "ImplicitEuler"])
def test_batches_and_gradients(method):
    """``y' = -k z``, ``0 = z**3 + z - y``."""
    rates = np.array([0.5, 1.0, 2.0])

    def fun(t, y, k):
        return [-k * y[1], y[1] ** 3 + y[1] - y[0]]

    def solve(start, rates):
        y0 = [start**3 + start, start]
        return solve_ivp(
            fun, (0, 1), np.outer(y0, np.ones(3)), method, [0.5, 1.0], args=(Batched(rates),),
            mass=MASS, rtol=0.5, atol=0.5, max_step=0.05, first_step=0.05,
        )  # fmt: skip

    result = solve(1.0, rates)
    np.testing.assert_allclose(result.y[1] ** 3 + result.y[1], result.y[0], rtol=1e-4)
    for i, k in enumerate(rates):
        exact = scipys(lambda t, z, k=k: -k * z / (3 * z**2 + 1), (0, 1), [1.0], rtol=1e-8)
        assert result.y[1, 1, i] == pytest.approx(
            exact.y[0, -1], rel=1e-3 if method == "Radau" else 0.1
        )
    g = np.zeros_like(result.y)
    g[1, 1] = 1.0
    gradient = vjp(result, g)
    eps = 1e-5
    by_rates = (solve(1.0, rates + eps).y - solve(1.0, rates - eps).y)[1, 1] / (2 * eps)
    by_start = (solve(1.0 + eps, rates).y - solve(1.0 - eps, rates).y)[1, 1] / (2 * eps)
    np.testing.assert_allclose(gradient.args[0], by_rates, rtol=1e-3)
    # The algebraic part of the initial state is forgotten.
    np.testing.assert_allclose(4 * gradient.y0[0], by_start, rtol=1e-3)
    np.testing.assert_allclose(gradient.y0[1], 0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"method": "RK45"}, ValueError, "`mass` needs a method .* got 'RK45'"),
        ({"method": "Trapezoid"}, ValueError, "`mass` needs a method"),
        ({"mass": np.eye(3)}, ValueError, r"`mass` must have shape \(2, 2\), or \(2,\)"),
        ({"mass": "a"}, TypeError, "`mass` must be an array of numbers"),
        ({"mass": [np.nan, 0]}, ValueError, "`mass` must be finite"),
        ({"mass": [0, 0]}, ValueError, "`mass` must be finite and not zero"),
        ({"mass": 1j * MASS}, TypeError, "`mass` must be an array of numbers"),
        ({"y0": [0.0, 0.9]}, ValueError, "`y0` must satisfy the algebraic equations"),
        ({"y0": [[0.0, 0.0], [1.0, 0.9]]}, ValueError, "`y0` must satisfy the algebraic"),
        ({"fun": lambda t, y: [y[1], y[0] - 1], "y0": [1.0, 0.0]}, ValueError, "of index 1"),
    ],
)
def test_bad_input(change, error, match):
    arguments = {"fun": circle, "y0": [0.0, 1.0], "method": "Radau", "mass": MASS, **change}
    with pytest.raises(error, match=match):
        solve_ivp(t_span=(0, 1), **arguments)
