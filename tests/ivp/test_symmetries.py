"""Steps do not depend on when time begins, where it goes, or on the units of time and state."""

from __future__ import annotations

import numpy as np
import pytest
from support.odes import lotka_volterra

from seqsolve import solve_ivp
from seqsolve.ivp import METHODS

#: Of one trajectory, and of a batch of two.
SHAPES = [(2,), (2, 2)]
TOLERANCES = {"rtol": 1e-4, "atol": np.array([1e-5, 1e-4])}


def of_every_method(test):
    marks = pytest.mark.parametrize("method", METHODS), pytest.mark.parametrize("shape", SHAPES)
    return marks[0](marks[1](test))


def solve(method, shape, *, fun=lotka_volterra, begin=0.0, length=1.0, unit=1.0, **options):
    """Return times from the beginning, and states, of all steps and trajectories."""
    y0 = np.linspace(2, 3, np.prod(shape)).reshape(shape) * unit
    result = solve_ivp(fun, (begin, begin + length), y0, method, **{**TOLERANCES, **options})
    assert np.all(result.success)
    return result.trajectory.t - begin, result.trajectory.y, result.y[:, -1]


@of_every_method
@pytest.mark.parametrize("begin", [10.0, -0.5])
def test_when_time_begins(begin, method, shape):
    t, y, end = solve(method, shape)
    shifted = solve(method, shape, begin=begin)
    np.testing.assert_allclose(shifted[0], t, rtol=0, atol=1e-4)
    np.testing.assert_allclose(shifted[1], y, rtol=1e-4)
    np.testing.assert_allclose(shifted[2], end, rtol=1e-4)


@of_every_method
def test_where_time_goes(method, shape):
    t, y, end = solve(method, shape)

    def mirrored(t, y):
        return [-f for f in lotka_volterra(t, y)]

    back = solve(method, shape, fun=mirrored, length=-1.0)
    np.testing.assert_array_equal(-back[0], t)
    np.testing.assert_array_equal(back[1], y)
    np.testing.assert_array_equal(back[2], end)


@of_every_method
def test_the_unit_of_time(method, shape):
    """If the first step is given: the one that is chosen depends on the unit."""
    unit = 2.0**-3
    t, y, end = solve(method, shape, first_step=0.02)

    def slower(t, y):
        return [f / unit for f in lotka_volterra(t, y)]

    other = solve(method, shape, fun=slower, length=unit, first_step=0.02 * unit)
    # Rounding changes Jacobians by differences in the eighth digit.
    np.testing.assert_allclose(other[0], t * unit, rtol=1e-6)
    np.testing.assert_allclose(other[1], y, rtol=1e-6)
    np.testing.assert_allclose(other[2], end, rtol=1e-6)


@of_every_method
def test_the_unit_of_the_state(method, shape):
    """A power of two rounds nothing."""
    unit = 2.0**5
    t, y, end = solve(method, shape)

    def larger(t, y):
        return [unit * f for f in lotka_volterra(t, y / unit)]

    other = solve(method, shape, fun=larger, unit=unit, atol=TOLERANCES["atol"] * unit)
    np.testing.assert_array_equal(other[0], t)
    np.testing.assert_array_equal(other[1], y * unit)
    np.testing.assert_array_equal(other[2], end * unit)
