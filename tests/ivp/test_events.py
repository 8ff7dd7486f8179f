"""When functions of the trajectory cross zero."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp as scipys
from support.odes import harmonic, pendulum

from seqsolve import solve_ivp

TIGHT = {"rtol": 1e-11, "atol": 1e-13}


def event(function, terminal=None, direction=None):
    if terminal is not None:
        function.terminal = terminal
    if direction is not None:
        function.direction = direction
    return function


@pytest.mark.parametrize("method", ["RK45", "DOP853", "Radau"])
def test_times_are_accurate(method):
    result = solve_ivp(harmonic, (0, 10), [1, 0], method, events=lambda t, y: y[0], **TIGHT)
    np.testing.assert_allclose(
        result.t_events[0], np.pi * np.array([0.5, 1.5, 2.5]), rtol=0, atol=1e-8
    )
    np.testing.assert_allclose(result.y_events[0], [[0, -1], [0, 1], [0, -1]], atol=1e-8)


@pytest.mark.parametrize(("direction", "expected"), [(1, [1.5]), (-1, [0.5, 2.5])])
def test_direction(direction, expected):
    crossing = event(lambda t, y: y[0], direction=direction)
    result = solve_ivp(harmonic, (0, 10), [1, 0], events=[crossing], **TIGHT)
    np.testing.assert_allclose(result.t_events[0], np.pi * np.array(expected), atol=1e-8)


@pytest.mark.parametrize("rtol", [1e-3, 1e-9])
@pytest.mark.parametrize(("terminal", "last"), [(True, 0.5), (1, 0.5), (2, 1.5), (3, 2.5)])
def test_terminal(terminal, last, rtol):
    crossing = event(lambda t, y: y[0], terminal=terminal)
    t_eval = np.linspace(0, 100, 401)
    options = {"events": crossing, "rtol": rtol, "atol": rtol * 1e-3, "dense_output": True}
    result = solve_ivp(harmonic, (0, 100), [1, 0], **options)
    assert result.status == 1
    assert result.success
    assert result.t[-1] == result.t_events[0][-1] == result.sol.t_max
    assert result.t[-1] == pytest.approx(last * np.pi, rel=10 * rtol)
    np.testing.assert_allclose(result.y[:, -1], result.y_events[0][-1], atol=1e-12)
    np.testing.assert_allclose(result.sol(result.t), result.y, atol=1e-12)
    result = solve_ivp(harmonic, (0, 100), [1, 0], t_eval=t_eval, **options)
    np.testing.assert_array_equal(result.t, t_eval[t_eval <= result.t_events[0][-1]])


def test_backwards():
    crossing = event(lambda t, y: y[0], terminal=True)
    result = solve_ivp(harmonic, (0, -10), [1, 0], events=crossing, **TIGHT)
    assert result.t[-1] == pytest.approx(-np.pi / 2, abs=1e-8)
    assert (np.diff(result.t) < 0).all()


def test_several_events_as_in_scipy():
    events = [
        lambda t, y: y[0],
        lambda t, y: y[1],
        event(lambda t, y: t - 7, terminal=True),
        lambda t, y: t - 8,
    ]
    ours = solve_ivp(pendulum, (0, 20), [1, 0.3], events=events, **TIGHT)
    theirs = scipys(pendulum, (0, 20), [1, 0.3], "DOP853", events=events, **TIGHT)
    assert ours.status == theirs.status == 1
    for a, b in zip(ours.t_events, theirs.t_events, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8)
    for a, b in zip(ours.y_events, theirs.y_events, strict=True):
        assert np.shape(a)[:1] == np.shape(b)[:1]


def test_no_event_happens():
    result = solve_ivp(harmonic, (0, 1), [1, 0], events=lambda t, y: y[0] + 5)
    assert result.t_events[0].shape == (0,)
    assert result.y_events[0].shape == (0, 2)
    assert result.status == 0


def test_events_take_args():
    def fun(t, y, k):
        return -k * y

    def crossing(t, y, k):
        return y[0] - k

    result = solve_ivp(fun, (0, 10), [1.0], args=(0.5,), events=crossing, **TIGHT)
    np.testing.assert_allclose(result.t_events[0], [2 * np.log(2)], atol=1e-8)


def test_an_endless_interval():
    crossing = event(lambda t, y: y[0] - 1e-3, terminal=True)
    result = solve_ivp(lambda t, y: -y, (0, np.inf), [1.0], events=crossing, **TIGHT)
    assert result.t[-1] == pytest.approx(np.log(1000), abs=1e-8)


@pytest.mark.parametrize("shape", [(2,), (2, 2)])
@pytest.mark.parametrize("value", [lambda y: y[:1], lambda y: [y[0]], lambda y: 0 * y[0]])
def test_functions_that_return_one_number_in_an_array(shape, value):
    """As SciPy, which takes arrays of size one, and 0 for events that end nothing."""

    def crossing(t, y):
        return value(np.asarray(y) - 0.5)

    result = solve_ivp(harmonic, (0, 2), np.ones(shape), events=event(crossing, 0))
    times = result.t_events[0] if len(shape) == 1 else result.t_events[0][1]
    assert times.size
    assert np.all(result.status == 0)


@pytest.mark.parametrize("terminal", [-1, 1.5, np.nan, np.inf, "yes", [1]])
def test_a_bad_number_of_occurrences(terminal):
    with pytest.raises(ValueError, match="terminal` must be a boolean or a positive integer"):
        solve_ivp(harmonic, (0, 1), [1, 0], events=event(lambda t, y: y[0], terminal))


@pytest.mark.parametrize("direction", [np.nan, "up"])
def test_a_direction_that_is_none(direction):
    with pytest.raises(ValueError, match=r"`events\[0\].direction` must be a number; got"):
        solve_ivp(harmonic, (0, 1), [1, 0], events=event(lambda t, y: y[0], None, direction))


@pytest.mark.parametrize("y0", [[1.0, 0.0], [[1.0, 0.5], [0.0, 0.5]]])
def test_events_that_write_to_their_arguments(y0):
    def untidy(t, y):
        t *= 2
        y *= 3
        return y[0]

    tidy = solve_ivp(harmonic, (0, 5), y0, events=lambda t, y: y[0])
    result = solve_ivp(harmonic, (0, 5), y0, events=untidy)
    np.testing.assert_array_equal(result.y, tidy.y)
    ours, theirs = (np.ravel(r.t_events[0]) for r in (result, tidy))
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)
