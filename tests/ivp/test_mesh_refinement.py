"""What becomes of a mesh, given its errors; steps that were not solved."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.odes import lotka_volterra

from seqsolve.ivp import METHODS, Points, RightHandSide, _implicit, deer
from seqsolve.ivp._mesh import _SAFETY, equidistributed, fitted, refined, split

ORDER = 5
CONTROL = SimpleNamespace(factor=lambda error: error ** (-1 / ORDER), max_step=np.inf)
MANY = 10**6

properties = settings(max_examples=60)

directions = st.sampled_from([1.0, -1.0])
sizes = st.lists(st.floats(0.01, 1), min_size=1, max_size=30)
errors = st.floats(1e-3, 1e4)


@properties
@given(m=st.integers(1, 50), error=errors, sign=directions)
def test_errors_that_are_alike_ask_for_a_uniform_mesh(m, error, sign):
    """Fine enough for the errors to come down, and hardly finer."""
    t = 3 + sign * np.linspace(0, 2, m + 1)
    new = equidistributed(CONTROL, t, np.full(m, error), MANY)
    assert (new[0], new[-1]) == (t[0], t[-1])
    np.testing.assert_allclose(np.diff(new), sign * 2 / (len(new) - 1), rtol=1e-9)
    factor = np.clip(_SAFETY * error ** (-1 / ORDER), 1 / 64, 4)
    assert len(new) - 1 == max(1, np.ceil(m / factor * (1 - 1e-12)))


@properties
@given(sizes=sizes, error=errors, most=st.integers(1, 40), sign=directions)
def test_where_more_steps_are_needed_than_allowed_the_first_are_made(sizes, error, most, sign):
    t = sign * np.concatenate([[0], np.cumsum(sizes)])
    errors = np.full(len(sizes), error)
    for refine in (equidistributed, fitted, refined):
        whole = refine(CONTROL, t, errors, MANY)
        part = refine(CONTROL, t, errors, most)
        n = min(most, len(whole) - 1)
        np.testing.assert_allclose(part, whole[: n + 1], rtol=1e-12, atol=1e-14)
        assert (sign * np.diff(whole) > 0).all()


@properties
@given(sizes=sizes, error=errors, limit=st.floats(0.05, 2), sign=directions)
def test_steps_may_be_limited(sizes, error, limit, sign):
    t = sign * np.concatenate([[0], np.cumsum(sizes)])
    errors = np.full(len(sizes), error)
    control = SimpleNamespace(factor=CONTROL.factor, max_step=limit)
    for new in (
        equidistributed(control, t, errors, MANY),
        equidistributed(CONTROL, t, errors, MANY, np.full(len(sizes), limit)),
    ):
        assert np.abs(np.diff(new)).max() <= limit * (1 + 1e-9)
    assert np.abs(np.diff(fitted(CONTROL, t, errors, MANY, limit))).max() <= 1.2 * limit * (
        1 + 1e-9
    )


@properties
@given(sizes=sizes, sign=directions, data=st.data())
def test_steps_that_fail_are_split_and_the_others_stay(sizes, sign, data):
    t = sign * np.concatenate([[0], np.cumsum(sizes)])
    errors = np.array(
        data.draw(st.lists(st.sampled_from([0.5, 1.0, 1.5, 1e3]), min_size=len(sizes),
                           max_size=len(sizes)))
    )  # fmt: skip
    new = fitted(CONTROL, t, errors, MANY)
    parts = np.diff(np.searchsorted(sign * new, sign * t - 1e-12))
    assert (parts[errors <= 1] == 1).all()
    assert (parts[errors > 1] >= 2).all()
    assert (errors / parts**ORDER <= 1).all()
    np.testing.assert_array_equal(new, split(t, parts, MANY))
    few = 0 < (errors > 1).mean() <= 0.1
    expected = new if few else equidistributed(CONTROL, t, errors, MANY)
    np.testing.assert_array_equal(refined(CONTROL, t, errors, MANY), expected)


def test_an_estimate_that_is_small_by_accident_makes_no_large_step():
    t, errors = np.linspace(0, 1, 12), np.ones(11)
    plain = equidistributed(CONTROL, t, errors, MANY)
    errors[5] = 1e-9
    new = equidistributed(CONTROL, t, errors, MANY)
    assert np.diff(new).max() < 1.1 * np.diff(plain).max()


@pytest.mark.parametrize("method", ["DEER", "Radau", "Trapezoid", "ImplicitEuler"])
def test_steps_that_are_not_solved_are_not_a_number(method, monkeypatch):
    y = np.array([[2.0, 1.0], [3.0, 0.5]])
    at = Points(np.zeros(2), np.full(2, 0.1), y)
    scheme, rhs = METHODS[method](), RightHandSide(lotka_volterra, None, (0, 1), y[0])
    assert np.isfinite(scheme.step(rhs, at)).all()
    for module in (deer, _implicit):
        monkeypatch.setattr(module, "MAXITER", 1)
    assert np.isnan(scheme.step(rhs, at)).all()
