"""`solve_ivp` as SciPy's: its documentation's examples, its arguments, its exceptions."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest
from scipy.integrate import solve_ivp as scipys
from support.odes import harmonic, lotka_volterra, pendulum

from seqsolve import ivp, solve_ivp
from seqsolve.ivp import METHODS

TIGHT = {"rtol": 1e-8, "atol": 1e-10}


def same(ours, theirs, rtol=1e-3):
    np.testing.assert_allclose(ours.y[:, -1], theirs.y[:, -1], rtol=rtol)
    assert ours.status == theirs.status
    assert ours.success == theirs.success
    assert type(ours.t_events) is type(theirs.t_events)


# SciPy's documentation.


def test_scipys_exponential_decay():
    def exponential_decay(t, y):
        return -0.5 * y

    sol = solve_ivp(exponential_decay, [0, 10], [2, 4, 8])
    np.testing.assert_allclose(sol.y[:, -1], np.exp(-5) * np.array([2, 4, 8]), rtol=1e-3)
    assert sol.status == scipys(exponential_decay, [0, 10], [2, 4, 8]).status
    assert sol.t[0] == 0
    assert sol.t[-1] == 10
    sol = solve_ivp(exponential_decay, [0, 10], [2, 4, 8], t_eval=[0, 1, 2, 4, 10])
    np.testing.assert_array_equal(sol.t, [0, 1, 2, 4, 10])
    exact = np.outer([2, 4, 8], np.exp(-0.5 * sol.t))
    np.testing.assert_allclose(sol.y, exact, rtol=5e-3)


def test_scipys_cannon():
    def upward_cannon(t, y):
        return [y[1], -0.5]

    def hit_ground(t, y):
        return y[0]

    hit_ground.terminal = True
    hit_ground.direction = -1
    sol = solve_ivp(upward_cannon, [0, 100], [0, 10], events=hit_ground)
    np.testing.assert_allclose(sol.t_events[0], [40], rtol=1e-12)
    assert sol.t[-1] == sol.t_events[0][0]
    assert sol.status == 1

    def apex(t, y):
        return y[1]

    sol = solve_ivp(upward_cannon, [0, 100], [0, 10], events=(hit_ground, apex), dense_output=True)
    np.testing.assert_allclose(sol.t_events[0], [40])
    np.testing.assert_allclose(sol.t_events[1], [20])
    np.testing.assert_allclose(sol.sol(sol.t_events[1][0]), [100, 0], atol=1e-10)
    np.testing.assert_allclose(sol.y_events[0], [[0, -10]], atol=1e-10)
    np.testing.assert_allclose(sol.y_events[1], [[100, 0]], atol=1e-10)


def test_scipys_lotka_volterra():
    def lotkavolterra(t, z, a, b, c, d):
        x, y = z
        return [a * x - b * x * y, -c * y + d * x * y]

    sol = solve_ivp(lotkavolterra, [0, 15], [10, 5], args=(1.5, 1, 3, 1), dense_output=True)
    z = sol.sol(np.linspace(0, 15, 300))
    assert z.shape == (2, 300)
    theirs = scipys(lotkavolterra, [0, 15], [10, 5], args=(1.5, 1, 3, 1), **TIGHT)
    ours = solve_ivp(lotkavolterra, [0, 15], [10, 5], args=(1.5, 1, 3, 1), **TIGHT)
    same(ours, theirs, rtol=1e-5)


def test_scipys_complex_matrix():
    A = np.array([[-0.25 + 0.14j, 0, 0.33 + 0.44j], [0.25 + 0.58j, -0.2 + 0.14j, 0],
                  [0, 0.2 + 0.4j, -0.1 + 0.97j]])  # fmt: skip

    def deriv_vec(t, y):
        return A @ y

    y0 = np.array([10 + 0j, 20 + 0j, 30 + 0j])
    t_eval = np.linspace(0, 25, 101)
    for method in ("RK45", "DOP853", "Radau"):
        result = solve_ivp(deriv_vec, [0, 25], y0, method, t_eval=t_eval, **TIGHT)
        theirs = scipys(deriv_vec, [0, 25], y0, t_eval=t_eval, rtol=1e-10, atol=1e-12)
        assert result.y.dtype == complex
        np.testing.assert_allclose(result.y, theirs.y, rtol=1e-6, atol=1e-5)


# How the function may be written.


@pytest.mark.parametrize(
    "fun",
    [
        lambda t, y: [y[1], -np.sin(y[0])],
        lambda t, y: np.array([y[1], -np.sin(y[0])]),
        lambda t, y: (y[1], -np.sin(y[0])),
        lambda t, y: [y[1], -math.sin(y[0])],
        lambda t, y: np.array([float(y[1]), -math.sin(y[0])]),
        lambda t, y: [y[1], -np.sin(y[0]) if y[0] < 1e9 else 0.0],
        lambda t, y: [[y[1]], [-np.sin(y[0])]],
    ],
)
def test_functions_written_in_any_way(fun):
    ours = solve_ivp(fun, (0, 5), [1, 0], **TIGHT)
    np.testing.assert_allclose(ours.y[:, -1], scipys(pendulum, (0, 5), [1, 0], **TIGHT).y[:, -1],
                               rtol=1e-6)  # fmt: skip


def test_a_function_that_mixes_points_is_called_point_by_point():
    def fun(t, y):
        assert np.ndim(t) == 0 or y.shape[1] <= 3
        return -y / np.sqrt(1 + (y**2).sum())

    ours = solve_ivp(fun, (0, 5), [1.0, 2.0, 0.5], **TIGHT)
    np.testing.assert_allclose(
        ours.y[:, -1], scipys(fun, (0, 5), [1.0, 2.0, 0.5], **TIGHT).y[:, -1], rtol=1e-6
    )


def test_functions_of_time_see_many_times():
    shapes = set()

    def fun(t, y):
        shapes.add((np.shape(t), np.shape(y)))
        return [np.cos(t) + 0 * y[0]]

    result = solve_ivp(fun, (0, 5), [0.0], **TIGHT)
    np.testing.assert_allclose(result.y[0], np.sin(result.t), atol=1e-7)
    assert max(t[0] for t, _ in shapes if t) > 16
    assert all(y == (1, *t) for t, y in shapes)


def test_counts():
    calls, points = [], []

    def fun(t, y):
        calls.append(1)
        points.append(np.size(t))
        return [y[1], -y[0]]

    result = solve_ivp(fun, (0, 20), [1.0, 0.0], **TIGHT)
    assert result.depth == len(calls)
    assert result.nfev == sum(points)
    assert result.njev > 0
    assert result.nlu > 0


@pytest.mark.parametrize("shape", [(2,), (2, 3)])
@pytest.mark.parametrize("method", ["RK45", "Radau"])
def test_counts_with_a_jacobian(method, shape):
    calls, points = [], []

    def fun(t, y):
        calls.append("fun")
        points.append(np.size(t))
        return [y[1], -y[0]]

    def jac(t, y):
        calls.append("jac")
        return [[0, 1], [-1, 0]]

    result = solve_ivp(fun, (0, 5), np.ones(shape), method, jac=jac)
    assert result.depth == len(calls)
    assert result.nfev == sum(points)


@pytest.mark.parametrize(
    "jac",
    [
        None,
        lambda t, y: [[0, 1], [-np.cos(y[0]), 0]],
        lambda t, y: np.array([[0, 1], [-math.cos(y[0]), 0]]),
        lambda t, y: np.array([[0 * t, 1 + 0 * t], [-np.cos(y[0]), 0 * t]]),
        [[0, 1], [-0.9, 0]],
    ],
)
@pytest.mark.parametrize("method", ["RK45", "Radau"])
def test_jacobians(jac, method):
    result = solve_ivp(pendulum, (0, 5), [0.5, 0], method, jac=jac, **TIGHT)
    theirs = scipys(pendulum, (0, 5), [0.5, 0], **TIGHT)
    np.testing.assert_allclose(result.y[:, -1], theirs.y[:, -1], rtol=1e-6)


def test_args_reach_the_jacobian():
    def jac(t, y, k):
        return [[0, 1], [-k, 0]]

    result = solve_ivp(
        lambda t, y, k: [y[1], -k * y[0]], (0, 2), [1, 0], "Radau", args=(4.0,), jac=jac, **TIGHT
    )
    np.testing.assert_allclose(result.y[0, -1], np.cos(4), rtol=1e-6)


@pytest.mark.parametrize("shape", [(2,), (2, 3)])
@pytest.mark.parametrize("method", ["RK45", "Radau"])
@pytest.mark.parametrize("again", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
def test_results_can_be_copied_and_pickled(again, method, shape):
    result = solve_ivp(pendulum, (0, 3), np.ones(shape), method, dense_output=True)
    other = again(result)
    np.testing.assert_array_equal(other.y, result.y)
    np.testing.assert_array_equal(other.sol(1.5), result.sol(1.5))
    w = np.ones_like(result.y)
    np.testing.assert_array_equal(ivp.vjp(other, w).y0, ivp.vjp(result, w).y0)


# Output.


@pytest.mark.parametrize("method", ["RK45", "DOP853", "Radau"])
def test_backwards(method):
    ours = solve_ivp(lotka_volterra, (5, 0), [10, 5], method, dense_output=True, **TIGHT)
    theirs = scipys(lotka_volterra, (5, 0), [10, 5], "DOP853", dense_output=True, **TIGHT)
    assert (np.diff(ours.t) < 0).all()
    t = np.linspace(0, 5, 20)
    np.testing.assert_allclose(ours.sol(t), theirs.sol(t), rtol=1e-4)
    t = np.linspace(5, 0, 7)
    eval_ = solve_ivp(lotka_volterra, (5, 0), [10, 5], method, t_eval=t, **TIGHT)
    np.testing.assert_allclose(eval_.y, ours.sol(t), rtol=1e-12)


def test_dense_output_meets_the_mesh():
    result = solve_ivp(pendulum, (0, 20), [1, 0], dense_output=True, **TIGHT)
    np.testing.assert_allclose(result.sol(result.t), result.y, rtol=1e-12, atol=1e-13)
    assert result.sol(1.0).shape == (2,)
    assert result.sol([1.0, 2.0]).shape == (2, 2)
    assert (result.sol.t_min, result.sol.t_max) == (0, 20)
    middle = (result.t[1:] + result.t[:-1]) / 2
    theirs = scipys(pendulum, (0, 20), [1, 0], "DOP853", middle, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(result.sol(middle), theirs.y, atol=1e-6)
    with pytest.raises(ValueError, match="1-D"):
        result.sol(np.zeros((2, 2)))


def test_no_interval():
    result = solve_ivp(pendulum, (3, 3), [1, 0], dense_output=True)
    assert result.success
    assert result.t.tolist() == [3]
    np.testing.assert_array_equal(result.y, [[1], [0]])
    np.testing.assert_array_equal(result.sol(3.0), [1, 0])


def test_steps_are_limited():
    result = solve_ivp(pendulum, (0, 5), [1, 0], max_step=0.01, **TIGHT)
    assert np.diff(result.t).max() <= 0.01 * (1 + 1e-9)


@pytest.mark.parametrize("first_step", [0.1, 1.0])
def test_a_last_step_of_almost_no_length_does_not_shrink_the_others(first_step):
    """Twenty steps of 0.1 end at 2 but for a rounding error."""
    result = solve_ivp(pendulum, (0, 2), [1, 0], first_step=first_step, max_step=0.1)
    assert np.diff(result.t).max() <= 0.1 * (1 + 1e-9)
    assert result.t.size <= 23


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_states_that_stay_zero_without_an_absolute_tolerance(method, shape):
    y0 = np.array([1.0, 0.0]).reshape(shape)
    result = solve_ivp(lambda t, y: -y, (0, 2), y0, method, atol=0)
    assert np.all(result.success)
    assert result.y[0, -1] == pytest.approx(np.exp(-2), rel=0.1)
    np.testing.assert_array_equal(result.y[1], 0)


def test_the_first_step_is_the_first_to_be_tried():
    calls = []

    def fun(t, y):
        calls.append(np.atleast_1d(t))
        return pendulum(t, y)

    assert solve_ivp(fun, (0, 5), [1, 0], first_step=1e-3).success
    probes = 3
    assert 1e-3 in calls[probes]
    assert calls[probes].min() == 0


def test_tolerances_for_every_component():
    result = solve_ivp(
        lambda t, y: [y[1], -y[0]], (0, 10), [1, 0], rtol=[1e-8, 1e-8], atol=[1e-10, 1e-9]
    )
    np.testing.assert_allclose(result.y[0], np.cos(result.t), atol=1e-6)


def test_the_result_is_frozen_and_says_what_it_is():
    result = solve_ivp(pendulum, (0, 1), [1, 0])
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.t = None
    assert "status=0" in repr(result)
    assert result.sol is None
    assert result.t_events is result.y_events is None


def test_methods_may_be_classes_and_instances():
    RK45 = ivp.METHODS["RK45"]
    a, b, c = (solve_ivp(pendulum, (0, 1), [1, 0], m) for m in ("RK45", RK45, RK45()))
    np.testing.assert_array_equal(a.y, b.y)
    np.testing.assert_array_equal(a.y, c.y)


# Failures.


@pytest.mark.parametrize("rtol", [1e-3, 1e-8])
def test_a_solution_that_blows_up(rtol):
    ours = solve_ivp(lambda t, y: y**2, (0, 2), [1.0], rtol=rtol)
    theirs = scipys(lambda t, y: y**2, (0, 2), [1.0], rtol=rtol)
    assert ours.status == theirs.status == -1
    assert not ours.success
    assert "step size" in ours.message
    assert ours.t[-1] == pytest.approx(1, rel=5e-2)


@pytest.mark.filterwarnings("ignore::seqsolve.ConvergenceWarning")
@pytest.mark.parametrize("method", ["RK45", "DOP853", "Radau"])
def test_a_solution_that_reaches_the_edge_of_what_the_function_is_defined_for(method):
    """``y = (1 - t / 2) ** 2`` up to 2, where differences displace the state below zero."""
    result = solve_ivp(lambda t, y: -np.sqrt(y), (0, 3), [1.0], method)
    assert result.status == -1
    assert result.t[-1] == pytest.approx(2, rel=1e-3)
    np.testing.assert_allclose(result.y[0], (1 - result.t / 2) ** 2, atol=2e-3)


@pytest.mark.parametrize("method", ["RK45", "Radau"])
@pytest.mark.parametrize("rtol", [1e-3, 1e-8])
def test_nan(method, rtol):
    result = solve_ivp(lambda t, y: y * np.nan, (0, 2), [1.0], method, rtol=rtol)
    assert result.status == -1
    np.testing.assert_array_equal(result.t, [0])


@pytest.mark.filterwarnings("ignore::seqsolve.ConvergenceWarning")
def test_nan_from_some_time_on():
    def fun(t, y):
        return np.where(np.asarray(t) > 1, np.nan, -y)

    result = solve_ivp(fun, (0, 2), [1.0], **TIGHT)
    assert result.status == -1
    assert 0.9 < result.t[-1] <= 1
    np.testing.assert_allclose(result.y[0], np.exp(-result.t), rtol=1e-6)


def bad(**change):
    arguments = {"fun": harmonic, "t_span": (0, 1), "y0": [1.0, 0.0], **change}
    return arguments


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"y0": 1.0}, "`y0` must be 1-dimensional"),
        ({"y0": [np.nan, 0]}, "`y0` must be finite"),
        ({"method": "Euler"}, "`method` must be one of"),
        ({"t_eval": [[0.1]]}, "`t_eval` must be 1-dimensional"),
        ({"t_eval": [0.5, 2]}, "`t_eval` must lie within"),
        ({"t_eval": [-0.5, 0.5]}, "`t_eval` must lie within"),
        ({"t_eval": [0.5, 0.2]}, "`t_eval` must increase"),
        ({"t_span": (1, 0), "t_eval": [0.2, 0.5]}, "`t_eval` must decrease"),
        ({"t_span": (0, 1, 2)}, "`t_span` must be two"),
        ({"t_span": 1.0}, "`t_span` must be two"),
        ({"max_step": 0}, "`max_step` must be positive"),
        ({"max_step": -1}, "`max_step` must be positive"),
        ({"first_step": 0}, "`first_step` must be positive"),
        ({"first_step": -0.1}, "`first_step` must be positive"),
        ({"first_step": 2}, "`first_step` must be at most"),
        ({"atol": -1e-6}, "`atol` must be finite and at least 0"),
        ({"atol": [1e-6] * 3}, "`atol` must be a number or have shape"),
        ({"fun": lambda t, y: [y[0], y[1], y[0]]}, "`fun` must return 2"),
        ({"args": 1.0, "fun": lambda t, y, a: y}, "`args` must be a tuple"),
        ({"method": "Radau", "jac": np.eye(3)}, "`jac` must have shape"),
        ({"method": "Radau", "jac": lambda t, y: np.eye(3)}, "`jac` must have shape"),
    ],
)
def test_bad_input_raises_as_in_scipy(change, match):
    arguments = bad(**change)
    with pytest.raises((TypeError, ValueError)) as theirs:
        scipys(**arguments)
    with pytest.raises(type(theirs.value), match=match):
        solve_ivp(**arguments)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"fun": lambda t, y: y[:1]}, ValueError, "`fun` must return 2"),
        ({"fun": None}, TypeError, "`fun` must be callable"),
        ({"fun": lambda t, y: 1j * y}, TypeError, "complex `y0`"),
        ({"rtol": -1.0}, ValueError, "`rtol` must be finite"),
        ({"rtol": [1e-3] * 3}, ValueError, "`rtol` must be a number or have shape"),
        ({"events": 3}, TypeError, "`events` must be"),
        ({"y0": ["a", "b"]}, TypeError, "`y0` must be an array of numbers"),
        ({"y0": ["1", "2"]}, TypeError, "`y0` must be an array of numbers"),
        ({"y0": np.array(["2020"], "M8[s]")}, TypeError, "`y0` must be an array of numbers"),
        ({"y0": np.ma.masked_array([1, 0], [0, 1])}, ValueError, "`y0` must not be masked"),
        ({"y0": []}, ValueError, "not empty"),
        ({"fun": lambda t, y: None}, TypeError, "`fun` must give numbers; got None"),
        ({"fun": lambda t, y: ["a", "b"]}, TypeError, "`fun` must give numbers"),
        ({"fun": lambda t, y: np.ma.masked_less(y, 1)}, ValueError, "what `fun` returns"),
        ({"method": "Radau", "jac": "a"}, TypeError, "`jac` must give numbers"),
        ({"rtol": "a"}, ValueError, "`rtol` must be numbers; got 'a'"),
        ({"atol": None}, ValueError, "`atol` must be finite"),
        ({"t_eval": [0.1, "a"]}, ValueError, "`t_eval` must be numbers"),
        ({"events": lambda t, y: y}, TypeError, r"`events\[0\]` must return a real number"),
        ({"events": lambda t, y: None}, TypeError, r"`events\[0\]` must return a real number"),
        ({"events": lambda t, y: 1j * y[0]}, TypeError, r"`events\[0\]` must return a real number"),
        ({"t_span": (np.nan, 1)}, ValueError, "`t_span` must begin"),
        ({"t_span": (0, np.inf)}, ValueError, "`t_span` must end with a finite number where no"),
        ({"t_span": (0, -np.inf), "events": pendulum}, ValueError, "where no event is terminal"),
        (
            {"first_step": np.inf},
            ValueError,
            "`first_step` .* and finite; got inf",
        ),
        ({"first_step": "a"}, TypeError, "`first_step` must be a number"),
    ],
)
def test_bad_input(change, error, match):
    with pytest.raises(error, match=match):
        solve_ivp(**bad(**change))


def test_exceptions_of_the_function_pass_through():
    def fun(t, y):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        solve_ivp(fun, (0, 1), [1.0])

    def later(t, y):
        if np.any(np.asarray(t) > 0.5):
            raise RuntimeError("later")
        return -y

    for options in ({}, TIGHT):
        with pytest.raises(RuntimeError, match="later"):
            solve_ivp(later, (0, 1), [1.0], **options)


def test_a_tolerance_below_rounding_warns():
    with pytest.warns(UserWarning, match="`rtol` must be at least"):
        result = solve_ivp(lambda t, y: -y, (0, 0.1), [1.0], "DOP853", rtol=1e-20)
    np.testing.assert_allclose(result.y[0], np.exp(-result.t), rtol=1e-12)


def test_inputs_are_not_written_to():
    y0, t_eval = np.array([1.0, 0.0]), np.linspace(0, 1, 5)
    y0.flags.writeable = t_eval.flags.writeable = False
    solve_ivp(harmonic, (0, 1), y0, t_eval=t_eval)
