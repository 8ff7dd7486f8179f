"""Events of the same step, and those of one trajectory in a batch."""

from __future__ import annotations

import math

import numpy as np
import pytest

from seqsolve import solve_ivp
from seqsolve.ivp import Batched


def along(t, y):
    return 1 + 0 * y


def crossing(level, terminal=False):
    """Return an event where the state is at a level."""

    def event(t, y, *args):
        return y[0] - level

    event.terminal = terminal
    return event


def each(found, shape):
    """Return what was found, trajectory by trajectory."""
    return [found] if len(shape) == 1 else list(found)


@pytest.mark.parametrize("shape", [(1,), (1, 2)])
@pytest.mark.parametrize("span", [(0, 1), (-1, 0), (0, -1), (1, 0)])
@pytest.mark.parametrize("end", [0.3, 0.7])
def test_events_of_one_step_happen_in_the_order_of_time(end, span, shape):
    """What lies behind the terminal one is not recorded, however they are listed."""
    levels = [span[0] + share * (span[1] - span[0]) for share in (0.9, 0.5, end, 0.1)]
    events = [crossing(level, terminal=i == 2) for i, level in enumerate(levels)]
    y0 = np.full(shape, float(span[0]))
    result = solve_ivp(along, span, y0, events=events, first_step=1.0, rtol=1.0)
    assert np.all(result.status == 1)
    for k, happens in enumerate((False, end > 0.5, True, True)):
        expected = [levels[k]] * happens
        for times in each(result.t_events[k], shape):
            np.testing.assert_allclose(times, expected, rtol=0, atol=1e-12)
        for states in each(result.y_events[k], shape):
            np.testing.assert_allclose(states, np.reshape(expected, (-1, 1)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_trajectories", [1, 2, 5])
def test_events_that_do_not_broadcast(n_trajectories):
    """They are called with one state after the other, of a single trajectory too."""
    seen = set()

    def level(t, y):
        seen.add(np.shape(y))
        return math.sin(y[0]) if np.ndim(t) == 0 else float("x")

    y0 = np.linspace(-2, -1, n_trajectories)[None]
    result = solve_ivp(along, (0, 3), y0, events=level)
    np.testing.assert_allclose(np.concatenate(result.t_events[0]), -y0[0], rtol=1e-9)
    assert (1,) in seen


@pytest.mark.parametrize("span", [(0, 3), (3, 0)])
def test_the_interval_of_a_batch(span):
    y0 = np.array([[1.0, 2.0]])
    sol = solve_ivp(lambda t, y: -y, span, y0, dense_output=True).sol
    assert (sol.t_min, sol.t_max) == (0, 3)
    assert np.isfinite(sol([0, 1, 2, 3])).all()
    assert np.isnan(sol([-0.1, 3.1])).all()


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("rates", [[1.0], [1.0, 2.0, 4.0]])
def test_the_interval_ends_where_the_last_trajectory_does(direction, rates):
    """As for one trajectory, and in SciPy: at the event, not at the end of the step."""
    level = crossing(0.5, terminal=True)
    y0 = np.zeros((1, len(rates)))
    result = solve_ivp(
        lambda t, y, rate: direction * rate + 0 * y, (0, 3 * direction), y0, events=level,
        args=(Batched(np.array(rates)),), dense_output=True,
    )  # fmt: skip
    last = direction * 0.5
    assert [t[0] for t in result.t_events[0]] == pytest.approx(last / np.array(rates))
    sol = result.sol
    assert (sol.t_min, sol.t_max) == tuple(sorted([0.0, result.t_events[0][0][0]]))
    assert np.isfinite(sol(0.99 * last)[0, 0])
    assert np.isnan(sol(1.01 * last)).all()


def test_events_must_be_functions():
    with pytest.raises(TypeError, match=r"`events\[1\]` must be callable; got 3"):
        solve_ivp(along, (0, 1), [0.0], events=[crossing(0.5), 3])
