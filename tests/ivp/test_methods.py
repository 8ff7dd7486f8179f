"""Every method alone: its order, its interpolant, its error estimate, its Jacobian."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from support.odes import pendulum

from seqsolve.ivp import METHODS, Points, RightHandSide

#: Steps over [0, 2] at which the errors are far from both coarse and rounding ones.
STEPS = {
    "RK45": (24, 48),
    "RK23": (32, 64),
    "DOP853": (6, 9),
    "RK4": (32, 64),
    "Radau": (8, 16),
    "Trapezoid": (64, 128),
    "ImplicitEuler": (400, 800),
    "DEER": (32, 64),
}

#: Order of the interpolants.
DENSE = {
    "RK45": 4,
    "RK23": 3,
    "DOP853": 7,
    "RK4": 4,
    "Radau": 3,
    "Trapezoid": 2,
    "ImplicitEuler": 1,
    "DEER": 2,
}


def jac(t, y):
    return [[0, 1], [-np.cos(y[0]), 0]]


def exact(t, y0=(1.0, 0.0)):
    result = solve_ivp(pendulum, (0, t), y0, "DOP853", rtol=3e-14, atol=1e-16)
    return result.y[:, -1]


def make(n=2):
    return RightHandSide(pendulum, jac, (0.0, 2.0), np.array([1.0, 0.0]))


def march(method, n_steps):
    rhs, h = make(), 2 / n_steps
    y = np.array([[1.0, 0.0]])
    for i in range(n_steps):
        y = method.step(rhs, Points(np.array([i * h]), np.array([h]), y))
    return y[0]


def slope(steps, errors):
    return np.log(errors[0] / errors[1]) / np.log(steps[1] / steps[0])


def test_every_method_is_tested():
    assert set(STEPS) == set(DENSE) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_order(name):
    method = METHODS[name]()
    end = exact(2.0)
    errors = [np.abs(march(method, n) - end).max() for n in STEPS[name]]
    assert slope(STEPS[name], errors) == pytest.approx(method.order, abs=0.1)


@pytest.mark.parametrize("name", METHODS)
def test_order_of_the_interpolant(name):
    method, errors = METHODS[name](), []
    start = np.array([[1.0, 0.7]])
    sizes = (0.15, 0.075) if method.order > 2 else (0.02, 0.01)
    for h in sizes:
        made = method.attempt(make(), Points(np.zeros(1), np.array([h]), start))
        theta = np.array([0.15, 0.3, 0.55, 0.8])
        y = sum(c * theta[:, None] ** k for k, c in enumerate(made.coefficients))
        errors.append(
            max(np.abs(v - exact(s * h, start[0])).max() for s, v in zip(theta, y, strict=True))
        )
        np.testing.assert_allclose(made.coefficients[0], start)
        np.testing.assert_allclose(made.coefficients.sum(axis=0), made.y, rtol=1e-13)
    assert np.log2(errors[0] / errors[1]) == pytest.approx(DENSE[name] + 1, abs=0.15)


@pytest.mark.parametrize("name", METHODS)
def test_order_of_the_estimated_error(name):
    method, sizes = METHODS[name](), []
    start = np.array([[1.0, 0.7]])
    for h in (0.1, 0.05):
        made = method.attempt(make(), Points(np.zeros(1), np.array([h]), start))
        sizes.append(method.norm(made.error, np.ones((1, 2)))[0])
    assert np.log2(sizes[0] / sizes[1]) == pytest.approx(method.error_order + 1, abs=0.35)


@pytest.mark.parametrize("name", ["RK4", "Trapezoid", "ImplicitEuler", "DEER"])
def test_step_doubling_estimates_the_error_itself(name):
    method = METHODS[name]()
    start = np.array([[1.0, 0.7]])
    made = method.attempt(make(), Points(np.zeros(1), np.array([0.01]), start))
    np.testing.assert_allclose(made.error[0], exact(0.01, start[0]) - made.y[0], rtol=0.1)


@pytest.mark.parametrize("name", METHODS)
def test_jacobian(name):
    method, rhs = METHODS[name](), make()
    y = np.random.default_rng(0).standard_normal((5, 2))
    t, h, d = np.linspace(0, 1, 5), np.linspace(0.01, 0.5, 5), 1e-5
    value, complete = method.linearize(rhs, Points(t, h, y))
    columns = [
        (method.step(rhs, Points(t, h, y + d * e)) - method.step(rhs, Points(t, h, y - d * e)))
        / (2 * d)
        for e in np.eye(2)
    ]
    np.testing.assert_allclose(value, method.step(rhs, Points(t, h, y)))
    np.testing.assert_allclose(complete(), np.stack(columns, -1), atol=1e-8)


@pytest.mark.parametrize("name", METHODS)
def test_steps_are_independent(name):
    method, rhs = METHODS[name](), make()
    y = np.random.default_rng(0).standard_normal((4, 2))
    at = Points(np.zeros(4), np.full(4, 0.3), y)
    together = method.attempt(rhs, at)
    for i in range(4):
        alone = method.attempt(rhs, at.rows(slice(i, i + 1)))
        np.testing.assert_allclose(together.y[i], alone.y[0], rtol=1e-12)
        np.testing.assert_allclose(together.error[i], alone.error[0], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", ["Radau", "Trapezoid", "ImplicitEuler", "DEER"])
def test_stages_that_are_not_found_give_no_number(name):
    rhs = RightHandSide(lambda t, y: y**2, None, (0.0, 1.0), np.array([1.0]))
    at = Points(np.zeros(2), np.array([0.01, 1e3]), np.ones((2, 1)))
    with np.errstate(all="ignore"):
        y = METHODS[name]().step(rhs, at)
    assert np.isfinite(y[0, 0])
    assert np.isnan(y[1, 0])
