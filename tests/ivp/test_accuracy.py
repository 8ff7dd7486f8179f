"""Against SciPy, on standard problems: accuracy, and how much waits for what."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate
from support.odes import PROBLEMS, error, reference

import seqsolve

NONSTIFF = [name for name, ode in PROBLEMS.items() if not ode.stiff]
STIFF = [name for name, ode in PROBLEMS.items() if ode.stiff]

#: SciPy's calls for each of ours that waits for the one before, at least.
TIMES_AS_DEEP = {1e-3: 3, 1e-6: 5, 1e-10: 20}


def compare(name, method, rtol):
    """Solve by both, and require what is promised of accuracy and depth."""
    ode, atol = PROBLEMS[name], rtol * 1e-3
    t, options = reference(name)[0], {"rtol": rtol, "atol": atol}
    ours = seqsolve.solve_ivp(ode.fun, ode.t_span, ode.y0, method, t_eval=t, **options)
    theirs = integrate.solve_ivp(ode.fun, ode.t_span, ode.y0, method, **options)
    assert ours.success
    assert ours.n_sequential == 0
    assert TIMES_AS_DEEP[rtol] * ours.depth <= theirs.nfev
    our_error = error(name, ours.y, rtol, atol)
    if our_error > 10:
        theirs = integrate.solve_ivp(ode.fun, ode.t_span, ode.y0, method, t_eval=t, **options)
        their_error = error(name, theirs.y, rtol, atol)
        assert their_error > 10
        assert our_error < 3 * their_error


@pytest.mark.parametrize("name", NONSTIFF)
@pytest.mark.parametrize("method", ["RK45", "DOP853"])
@pytest.mark.parametrize("rtol", TIMES_AS_DEEP)
def test_explicit(name, method, rtol):
    compare(name, method, rtol)


@pytest.mark.parametrize("name", STIFF)
@pytest.mark.parametrize("rtol", TIMES_AS_DEEP)
def test_stiff(name, rtol):
    compare(name, "Radau", rtol)


@pytest.mark.parametrize("name", ["pendulum", "sir", "fitzhugh_nagumo"])
def test_radau_without_stiffness(name):
    compare(name, "Radau", 1e-6)


def test_references():
    """Against a formula, and against what is published of two problems."""
    t, y = reference("harmonic")
    np.testing.assert_allclose(y, [np.cos(t), -np.sin(t)], rtol=0, atol=2e-15)
    published = {
        "hires": [
            0.7371312573325668e-3, 0.1442485726316185e-3, 0.5888729740967575e-4,
            0.1175651343283149e-2, 0.2386356198831331e-2, 0.6238968252742796e-2,
            0.2849998395185769e-2, 0.2850001604814231e-2,
        ],
        "oregonator": [0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3],
    }  # fmt: skip
    for name, end in published.items():
        np.testing.assert_allclose(reference(name)[1][:, -1], end, rtol=1e-11)


@pytest.mark.parametrize(
    ("method", "rtol"), [("RK4", 1e-7), ("Trapezoid", 1e-5), ("ImplicitEuler", 1e-5)]
)
@pytest.mark.parametrize("name", ["sir", "pendulum"])
def test_low_orders_add_up_the_errors_of_their_steps(name, method, rtol):
    ode, t = PROBLEMS[name], reference(name)[0]
    options = {"rtol": rtol, "atol": rtol * 1e-3, "dense_output": True}
    ours = seqsolve.solve_ivp(ode.fun, ode.t_span, ode.y0, method, **options)
    assert error(name, ours.sol(t), rtol, rtol * 1e-3) <= 5 * ours.t.size


@pytest.mark.filterwarnings("ignore::seqsolve.ConvergenceWarning")
@pytest.mark.parametrize("method", ["Trapezoid", "ImplicitEuler"])
def test_low_orders_on_a_stiff_problem(method):
    ode, rtol = PROBLEMS["robertson"], 1e-4
    t = reference("robertson")[0]
    ours = seqsolve.solve_ivp(ode.fun, ode.t_span, ode.y0, method, t_eval=t, rtol=rtol, atol=1e-8)
    assert ours.success
    assert error("robertson", ours.y, rtol, 1e-8) <= 200


@pytest.mark.parametrize("name", ["harmonic", "pendulum", "brusselator", "fitzhugh_nagumo"])
def test_the_depth_hardly_grows_with_the_accuracy(name):
    ode = PROBLEMS[name]
    loose, tight = (
        seqsolve.solve_ivp(ode.fun, ode.t_span, ode.y0, rtol=r, atol=r) for r in (1e-6, 1e-11)
    )
    assert tight.depth < 1.5 * loose.depth


def test_loose_tolerances():
    ode = PROBLEMS["pendulum"]
    ours = seqsolve.solve_ivp(ode.fun, ode.t_span, ode.y0)
    scipys = integrate.solve_ivp(ode.fun, ode.t_span, ode.y0)
    assert ours.n_sequential == 0
    assert ours.depth < scipys.nfev / 5


@pytest.mark.parametrize(("limit", "value"), [("_cruise._SETTLED", 0), ("_refine.MAX_MESHES", 1)])
def test_a_problem_that_resists_is_stepped_through_with_a_warning(limit, value, monkeypatch):
    monkeypatch.setattr("seqsolve.ivp." + limit, value)
    ode = PROBLEMS["lorenz"]
    with pytest.warns(seqsolve.ConvergenceWarning, match="steps were made one by one"):
        result = seqsolve.solve_ivp(ode.fun, (0, 2), ode.y0, rtol=1e-7, atol=1e-7)
    assert result.success
    assert 0 < result.n_sequential <= result.t.size - 1
    exact = integrate.solve_ivp(ode.fun, (0, 2), ode.y0, "DOP853", rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(result.y[:, -1], exact.y[:, -1], rtol=1e-4)


def test_long_chaos_is_honest():
    ode = PROBLEMS["lorenz"]
    result = seqsolve.solve_ivp(ode.fun, (0, 40), ode.y0, rtol=1e-7, atol=1e-7)
    assert result.success
    for start in range(0, result.t.size - 1, 100):
        t, y = result.t[start : start + 2], result.y[:, start]
        step = integrate.solve_ivp(ode.fun, t, y, "DOP853", rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(result.y[:, start + 1], step.y[:, -1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["RK45", "Radau"])
def test_a_system_of_many_states(method, monkeypatch):
    monkeypatch.setattr("seqsolve.ivp._rhs._JACOBIAN_BYTES", 2**17)
    n = 12
    A = (np.eye(n, k=1) - 2 * np.eye(n) + np.eye(n, k=-1)) * 20.0
    y0 = np.sin(np.linspace(0, np.pi, n)) + 0.1 * np.cos(np.arange(n))
    options = {"jac": A, "rtol": 1e-7, "atol": 1e-9}
    ours = seqsolve.solve_ivp(lambda t, y: A @ y, (0, 0.5), y0, method, **options)
    values, vectors = np.linalg.eigh(A)
    exact = vectors @ (np.exp(0.5 * values) * (vectors.T @ y0))
    assert ours.n_sequential == 0
    np.testing.assert_allclose(ours.y[:, -1], exact, rtol=1e-6, atol=1e-7)
