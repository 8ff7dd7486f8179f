"""The window that slides along, and what is made of the trajectory it finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.odes import PROBLEMS, error, harmonic, pendulum, reference

import seqsolve
from seqsolve.ivp import METHODS, DenseOutput, RightHandSide
from seqsolve.ivp._control import Control
from seqsolve.ivp._cruise import cruise, loosened
from seqsolve.ivp._mesh import parts_within, split
from seqsolve.ivp._refine import StepLimit, refine

MANY = 10_000


def control_of(fun, t_span, y0, method="RK45", rtol=1e-6, max_step=np.inf):
    start, end = t_span
    y0 = np.asarray(y0, float)
    return Control(
        RightHandSide(fun, None, t_span, y0), METHODS[method](), np.asarray(rtol),
        np.asarray(rtol * 1e-3), max_step, float(end), 1.0 if end >= start else -1.0,
    )  # fmt: skip


def crude_of(fun, t_span, y0, n_steps=MANY, **options):
    control = control_of(fun, t_span, y0, **options)
    y0 = np.asarray(y0, float)
    return control, cruise(loosened(control, y0), float(t_span[0]), y0, 0.01, n_steps)


@pytest.mark.parametrize("name", PROBLEMS)
def test_it_reaches_the_end_in_few_calls(name):
    ode = PROBLEMS[name]
    with np.errstate(all="ignore"):
        control, crude = crude_of(ode.fun, ode.t_span, ode.y0)
    assert crude.t[-1] == ode.t_span[1]
    assert (np.diff(crude.t) > 0).all()
    assert control.rhs.depth < 2 * len(crude.errors)
    if name not in ("kepler", "lorenz", "lotka_volterra", "oregonator", "van_der_pol_1000"):
        t, _ = reference(name)
        y = DenseOutput(crude.t, crude.coefficients).rows(t)
        assert error(name, y.T, 1e-4, 1e-7) < 100


def test_backwards():
    _, crude = crude_of(pendulum, (3, -3), [1.0, 0.0])
    assert crude.t[0] == 3
    assert crude.t[-1] == -3
    assert (np.diff(crude.t) < 0).all()


def test_it_stops_after_enough_steps():
    _, crude = crude_of(pendulum, (0, 1000), [1.0, 0.0], n_steps=50)
    assert 50 <= len(crude.errors) < 50 + 256
    assert crude.t[-1] < 1000
    assert crude.next_step == pytest.approx(crude.t[-1] - crude.t[-2])


def test_steps_are_limited():
    _, crude = crude_of(pendulum, (0, 5), [1.0, 0.0], max_step=0.02)
    assert np.diff(crude.t).max() <= 0.02 * (1 + 1e-12)


def test_no_progress_is_none():
    def broken(t, y):
        return np.nan * y

    with np.errstate(all="ignore"):
        assert crude_of(broken, (0, 1), [1.0])[1] is None


def test_it_ends_where_the_solution_does():
    """y' = y^2 from 1 goes to infinity at t = 1."""
    with np.errstate(all="ignore"):
        _, crude = crude_of(lambda t, y: y**2, (0, 2), [1.0], n_steps=300)
    assert 0.9 < crude.t[-1] < 1.01


def test_loosened_tolerances_are_never_tighter_than_asked():
    y = np.array([2.0, 0.0])
    for rtol, atol in ((1e-3, 1e-6), (1e-9, 1e-12), (1e-13, 1e-2), (1e-6, 0.0)):
        asked = replace(
            control_of(pendulum, (0, 1), y), rtol=np.asarray(rtol), atol=np.asarray(atol)
        )
        loose = loosened(asked, y)
        assert loose.rtol == max(rtol, 1e-4)
        assert loose.atol >= atol
        assert loose.atol <= max(atol, 1e-4 * 2)


@pytest.mark.parametrize("most", [20, 100])
def test_a_refined_stretch_has_at_most_so_many_steps(most):
    control, crude = crude_of(pendulum, (0, 20), [1.0, 0.0], rtol=1e-9)
    piece = refine(control, crude, 0.0, np.array([1.0, 0.0]), most)
    assert len(piece.errors) == most
    assert piece.errors.max() <= 1
    whole = refine(control, crude, 0.0, np.array([1.0, 0.0]), MANY)
    assert whole.t[-1] == 20
    at = np.array([piece.t[-1]])
    exact = DenseOutput(whole.t, whole.coefficients).rows(at)
    np.testing.assert_allclose(piece.y[-1:], exact, atol=1e-7)


def test_a_stretch_may_begin_on_the_way():
    control, crude = crude_of(harmonic, (0, 10), [1.0, 0.0])
    y = np.array([np.cos(4.3), -np.sin(4.3)])
    piece = refine(control, crude, 4.3, y, MANY)
    assert piece.t[0] == 4.3
    np.testing.assert_allclose(piece.y[-1], [np.cos(10), -np.sin(10)], atol=1e-5)


def test_a_crude_trajectory_of_another_problem_is_no_guess():
    """What comes back solves the problem that was asked, or nothing does."""
    control = control_of(lambda t, y: [y[1], -100 * y[0]], (0, 10), [1.0, 0.0])
    _, crude = crude_of(harmonic, (0, 10), [1.0, 0.0])
    piece = refine(control, crude, 0.0, np.array([1.0, 0.0]), MANY)
    if piece is not None:
        np.testing.assert_allclose(piece.y[:, 0], np.cos(10 * piece.t), atol=1e-3)


def test_explicit_steps_are_stable_along_the_trajectory():
    rate = 500.0
    control, crude = crude_of(lambda t, y: [-rate * (y[0] - np.cos(t)), -y[1]], (0, 2), [1.0, 1.0])
    limit, mesh = StepLimit(control, 3.3, crude), np.linspace(0, 2, 5)
    np.testing.assert_allclose(limit.largest(mesh), 0.8 * 3.3 / rate, rtol=0.01)
    fine = split(mesh, parts_within(mesh, limit.largest(mesh)), MANY)
    assert np.diff(fine).max() <= 3.3 / rate
    assert (parts_within(fine, limit.largest(fine)) == 1).all()
    assert (StepLimit(control, np.inf, crude).largest(mesh) == np.inf).all()


@pytest.mark.parametrize("method", ["RK45", "DOP853", "RK4"])
def test_a_mildly_stiff_problem_by_an_explicit_method(method):
    result = seqsolve.solve_ivp(
        lambda t, y: -500 * (y - np.cos(t)), (0, 2), [0.0], method, rtol=1e-6, atol=1e-9
    )
    assert result.success
    assert result.n_sequential == 0
    a = 500.0
    exact = (a * a * np.cos(2) + a * np.sin(2)) / (1 + a * a)
    assert result.y[0, -1] == pytest.approx(exact, abs=1e-6)
