"""One trajectory step by step: chosen by the number of states, and the same result otherwise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.integrate import solve_ivp as scipys
from scipy.sparse import diags_array
from support.odes import PROBLEMS, lotka_volterra, pendulum

from seqsolve import solve_ivp
from seqsolve.ivp import METHODS, vjp

FORMS = ("together", "one by one")
LAST = {"RK45": 15, "RK23": 22, "DOP853": 10, "RK4": 11, "Radau": 22, "ImplicitEuler": 22}


def zero(t, y):
    return y[0]


def decay(t, y):
    return -y


@pytest.mark.parametrize("method", ["RK23", "RK45", "DOP853"])
@pytest.mark.parametrize("span", [(0, 15), (15, 0)])
def test_explicit_steps_are_those_of_scipy(method, span):
    options = {"method": method, "rtol": 1e-6, "atol": 1e-8}
    ours = solve_ivp(lotka_volterra, span, [3.0, 2.0], steps="one by one", **options)
    theirs = scipys(lotka_volterra, span, [3.0, 2.0], **options)
    np.testing.assert_allclose(ours.t, theirs.t, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(ours.y, theirs.y, rtol=1e-7)
    assert ours.n_sequential == theirs.t.size - 1
    assert theirs.nfev <= ours.depth <= 1.3 * theirs.nfev + 10


@pytest.mark.parametrize("method", METHODS)
def test_steps_are_those_of_a_batch_of_one(method):
    options = {"method": method, "rtol": 1e-4, "atol": 1e-6, "dense_output": True}
    alone = solve_ivp(pendulum, (0, 3), [1.0, 0.5], steps="one by one", **options)
    batch = solve_ivp(pendulum, (0, 3), [[1.0], [0.5]], **options)
    np.testing.assert_allclose(alone.t, batch.trajectory.t, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(alone.y.T, batch.trajectory.y, rtol=1e-8, atol=1e-10)
    t = np.linspace(0, 3, 20)
    np.testing.assert_allclose(alone.sol(t), batch.sol(t)[..., 0], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["kepler", "van_der_pol_5", "robertson"])
def test_results_are_alike(name):
    """Each field is of the same kind and shape, and the states are as accurate."""
    ode = PROBLEMS[name]
    method = "Radau" if ode.stiff else "RK45"
    t_eval = np.linspace(*ode.t_span, 30)
    options = {"method": method, "rtol": 1e-7, "atol": 1e-10, "t_eval": t_eval}
    options |= {"dense_output": True, "events": lambda t, y: y[0] - 0.3}
    both = [solve_ivp(ode.fun, ode.t_span, ode.y0, steps=s, **options) for s in FORMS]
    for field in dataclasses.fields(both[0]):
        a, b = (getattr(r, field.name) for r in both)
        assert type(a) is type(b), field.name
        if isinstance(a, np.ndarray):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
    size = np.abs(both[0].y).max(axis=1, keepdims=True)
    np.testing.assert_allclose(both[0].y / size, both[1].y / size, atol=1e-4)
    for found, expected in zip(both[0].t_events, both[1].t_events, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert both[0].depth < both[1].depth
    assert both[0].n_sequential == 0 < both[1].n_sequential


@pytest.mark.parametrize("steps", FORMS)
def test_events_end_it(steps):
    def level(t, y):
        return y[0] - 0.1

    level.terminal = True
    result = solve_ivp(
        decay,
        (0, np.inf),
        [1.0],
        events=level,
        rtol=1e-8,
        atol=1e-10,
        dense_output=True,
        steps=steps,
    )
    assert (result.status, result.success) == (1, True)
    assert result.t[-1] == result.sol.t_max == result.t_events[0][0]
    assert result.t[-1] == pytest.approx(np.log(10), rel=1e-7)


@pytest.mark.parametrize("steps", FORMS)
@pytest.mark.filterwarnings("ignore::seqsolve.ConvergenceWarning")
def test_failures_are_alike(steps):
    result = solve_ivp(lambda t, y: y**2, (0, 2), [1.0], steps=steps)
    assert (result.status, result.success) == (-1, False)
    assert result.t[-1] == pytest.approx(1, rel=5e-2)
    result = solve_ivp(lambda t, y: y * np.nan, (0, 2), [1.0], steps=steps, dense_output=True)
    assert (result.status, result.t.tolist(), result.y.tolist()) == (-1, [0], [[1]])


def test_options_of_steps():
    result = solve_ivp(pendulum, (0, 5), [1, 0], first_step=1e-3, max_step=0.1, steps="one by one")
    assert result.t[1] == 1e-3
    assert np.diff(result.t).max() <= 0.1 * (1 + 1e-9)
    assert solve_ivp(pendulum, (2, 2), [1, 0], steps="one by one").t.tolist() == [2]
    complex_ = solve_ivp(lambda t, y: 1j * y, (0, 2), [1 + 0j], steps="one by one", rtol=1e-8)
    assert complex_.y[0, -1] == pytest.approx(np.exp(2j), rel=1e-6)


@pytest.mark.parametrize("method", ["RK45", "DOP853", "Radau"])
def test_gradients(method):
    options = {"t_eval": [1.0, 2.0, 3.0], "rtol": 1e-7, "atol": 1e-9, "method": method}
    w = np.cos(np.arange(6.0)).reshape(2, 3)
    a, b = (vjp(solve_ivp(pendulum, (0, 3), [1.0, 0.5], steps=s, **options), w).y0 for s in FORMS)
    np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("method", LAST)
def test_the_number_of_states_decides(method):
    few, many = (
        solve_ivp(decay, (0, 0.1), np.ones(n), method) for n in (LAST[method], LAST[method] + 1)
    )
    assert few.n_sequential == 0
    assert many.n_sequential == many.t.size - 1
    forced = solve_ivp(decay, (0, 0.1), np.ones(LAST[method] + 1), method, steps="together")
    assert forced.n_sequential == 0


@pytest.mark.parametrize(("n", "together"), [(100, True), (101, False)])
def test_the_number_of_diagonals_decides(n, together):
    pattern = diags_array([np.ones(n - abs(k)) for k in range(-2, 3)], offsets=range(-2, 3))
    result = solve_ivp(decay, (0, 0.1), np.ones(n), "Radau", jac_sparsity=pattern)
    assert (result.n_sequential == 0) == together


def test_bad_input():
    with pytest.raises(ValueError, match="`steps` must be one of 'auto', 'together', 'one by one'"):
        solve_ivp(decay, (0, 1), [1.0], steps="sequential")
    with pytest.raises(ValueError, match="`steps` must not be 'together' for a batch"):
        solve_ivp(decay, (0, 1), [[1.0]], steps="together")
