"""What the user's functions may do: reuse their memory, write to what they are given."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp as scipys
from support.odes import harmonic, pendulum

from seqsolve import solve_ivp

TIGHT = {"rtol": 1e-8, "atol": 1e-10}


def test_functions_may_return_the_same_buffer_every_time():
    """Preallocated, as SciPy's users do; here each value is kept while others are computed."""
    buffer, matrix = np.empty(2), np.empty((2, 2))

    def fun(t, y):
        buffer[0], buffer[1] = float(y[1]), -math.sin(y[0])
        return buffer

    def jac(t, y):
        matrix[:] = [[0, 1], [-math.cos(y[0]), 0]]
        return matrix

    for method, shape in (("RK45", (2,)), ("Radau", (2,)), ("Radau", (2, 2))):
        y0 = np.ones(shape)
        theirs = scipys(pendulum, (0, 5), [1, 1], **TIGHT).y[:, -1]
        ours = solve_ivp(fun, (0, 5), y0, method, jac=jac, **TIGHT).y[:, -1]
        np.testing.assert_allclose(ours.T, theirs + 0 * ours.T, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1,), (1, 2)])
def test_functions_may_write_to_their_argument(shape):
    def fun(t, y):
        y *= -1
        return y

    result = solve_ivp(fun, (0, 1), np.ones(shape), **TIGHT)
    np.testing.assert_allclose(result.y[:, -1], np.exp(-1), rtol=1e-7)


@pytest.mark.parametrize("shape", [(1,), (1, 2)])
@pytest.mark.parametrize("method", ["RK45", "Radau"])
def test_functions_may_write_to_the_time_and_jacobians_to_both(method, shape):
    def fun(t, y):
        t -= 1
        return -t * y

    def jac(t, y):
        t -= 1
        y *= 0
        return [[-t]]

    result = solve_ivp(fun, (0, 2), np.ones(shape), method, jac=jac, **TIGHT)
    assert np.all(result.success)
    np.testing.assert_allclose(result.y[:, -1], 1, rtol=1e-6)


@pytest.mark.parametrize("shape", [(2,), (2, 2)])
@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("fun", lambda t, y: [y[0]], "`fun` must return 2 entries, at every time and state; got 1"),
        ("fun", lambda t, y: y[:, :1] if y.ndim > 1 else y, "`fun` must return arrays of shape"),
        ("jac", lambda t, y: [[0, 1], [2]], r"`jac` must return 2 entries, at .*; got 1"),
        ("jac", lambda t, y: np.eye(3), "`jac` must return arrays of shape"),
    ],
)
def test_functions_that_return_something_else_later(name, value, match, shape):
    """What they return at the initial state is as it must be."""

    def later(good):
        return lambda t, y: value(t, y) if np.max(t) > 0.5 else good(t, y)

    functions = {"fun": harmonic, "jac": lambda t, y: [[0, 1], [-1, 0]]}
    functions[name] = later(functions[name])
    with pytest.raises(ValueError, match=match):
        solve_ivp(t_span=(0, 5), y0=np.ones(shape), method="Radau", **functions)
