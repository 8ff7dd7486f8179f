"""Meshes: errors alike, and the true ones too."""

from __future__ import annotations

import numpy as np
import pytest
from support.odes import PROBLEMS

from seqsolve import solve_ivp
from seqsolve.ivp import METHODS, Points, RightHandSide


@pytest.mark.parametrize("method", ["RK45", "DOP853", "RK4"])
@pytest.mark.parametrize("name", ["lotka_volterra", "van_der_pol_5", "kepler"])
def test_every_step_meets_the_tolerance_in_truth(name, method):
    """Also where an error estimate is small by accident."""
    ode, scheme, parts = PROBLEMS[name], METHODS[method](), 8
    result = solve_ivp(ode.fun, ode.t_span, ode.y0, method, rtol=1e-8, atol=1e-11)
    rhs = RightHandSide(ode.fun, None, ode.t_span, np.array(ode.y0))
    t, y = result.t, result.y.T
    h, exact = np.diff(t) / parts, y[:-1]
    for k in range(parts):
        exact = scheme.step(rhs, Points(t[:-1] + k * h, h, exact))
    error = np.abs(exact - y[1:]) / (1e-11 + 1e-8 * np.maximum(np.abs(y[1:]), np.abs(y[:-1])))
    size = np.sqrt((error**2).mean(axis=1))
    assert size.max() < 1.5
    assert np.quantile(size, 0.9) < 1


def test_the_number_of_steps_is_about_that_of_scipy():
    from scipy.integrate import solve_ivp as scipys

    ode = PROBLEMS["van_der_pol_5"]
    for method in ("RK45", "DOP853", "Radau"):
        ours = solve_ivp(ode.fun, ode.t_span, ode.y0, method, rtol=1e-7, atol=1e-10)
        theirs = scipys(ode.fun, ode.t_span, ode.y0, method, rtol=1e-7, atol=1e-10)
        assert 0.6 * theirs.t.size < ours.t.size < 1.7 * theirs.t.size
