"""Gradients of solve_ivp against complex steps through the whole solver, its mesh included."""

from __future__ import annotations

import numpy as np
import pytest

import seqsolve

H = 1e-30  # moves no step size and no decision of the solver


def lotka_volterra(t, z, a, b, c, d):
    x, y = z
    return [a * x - b * x * y, d * x * y - c * y]


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize(
    "method", ["RK45", "DOP853", "RK4", "Radau", "Trapezoid", "ImplicitEuler", "DEER"]
)
def test_gradients_are_derivatives_of_what_is_returned(method, batch):
    rng = np.random.default_rng(0)
    rates, y0 = np.array([1.5, 1.0, 3.0, 1.0]), rng.uniform(1, 2, (2, *batch))
    options = {"t_eval": np.linspace(0, 3, 7), "method": method, "rtol": 1e-4, "atol": 1e-6}
    result = seqsolve.solve_ivp(lotka_volterra, (0, 3), y0, args=tuple(rates), **options)
    w = rng.standard_normal(result.y.shape)
    gradient = seqsolve.ivp.vjp(result, w)

    rates_dot, y0_dot = rng.standard_normal(4), rng.standard_normal(y0.shape)
    moved = seqsolve.solve_ivp(
        *(lotka_volterra, (0, 3), y0 + 1j * H * y0_dot),
        args=tuple(rates + 1j * H * rates_dot),
        **options,
    )
    derivative = (w * moved.y.imag).sum() / H
    pulled_back = np.dot(gradient.args, rates_dot) + (gradient.y0 * y0_dot).sum()
    np.testing.assert_allclose(pulled_back, derivative, rtol=1e-7)
