"""Sizes of steps: the first, the next, and what is rejected on the way."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import RK45

from seqsolve.ivp import METHODS, Attempt, Method, Points, RightHandSide
from seqsolve.ivp._control import Control
from seqsolve.ivp._first_step import first_steps
from seqsolve.ivp._march import joined, march

TINY = np.finfo(float).tiny


def control_of(fun, y0, span=(0.0, 1.0), method=None, mass=None, **change):
    y0 = np.asarray(y0, float)
    rhs = RightHandSide(fun, None, span, y0, mass=mass)
    control = Control(
        rhs, method or METHODS["RK45"](), np.array(1e-3), np.array(1e-6), np.inf, float(span[1]),
        1.0 if span[1] >= span[0] else -1.0,
    )  # fmt: skip
    return replace(control, **change)


def first(control, t=0.0, y=(1.0, 2.0)):
    y = np.array([y])
    with np.errstate(all="ignore"):
        return float(first_steps(control, t, y, control.rhs(np.array([t]), y))[0])


# The first step.

MASSES = {
    "diagonal": np.diag([2.0, 5.0]),
    "full": np.array([[2.0, 1.0], [0.0, 3.0]]),
    "singular": np.diag([2.0, 0.0]),
}


def growth(t, y):
    return np.stack([3 * y[0] + y[1] + 0 * t, np.cos(t) - 7 * y[1]])


@pytest.mark.parametrize("name", MASSES)
def test_the_first_step_with_a_mass_is_that_of_the_equation_solved_for_the_derivatives(name):
    """In the directions that have one."""
    inverse = np.linalg.pinv(MASSES[name])
    with_mass = control_of(growth, [1, 2], method=METHODS["Radau"](), mass=MASSES[name])
    solved = control_of(lambda t, y: inverse @ growth(t, y), [1, 2], method=METHODS["Radau"]())
    assert first(with_mass) == pytest.approx(first(solved), rel=1e-12)
    without = control_of(growth, [1, 2], method=METHODS["Radau"]())
    assert first(with_mass) != pytest.approx(first(without), rel=1e-2)


@pytest.mark.parametrize("span", [(2.0, 1e3), (2.0, -1e3), (2.0, 2.0 + 1e-5)])
def test_the_first_step_is_that_of_scipy(span):
    """States and derivatives of any size, one, both or none of them negligible."""
    sizes = [0.0, 1e-13, 2e-11, 1e-10, 1e-9, 1e-5, 1.0, 1e3]
    for a, b, c in itertools.product(sizes, sizes, (0.0, 1e-3, 10.0)):
        y0 = np.array([a, a / 2])

        def fun(t, y, b=b, c=c):
            return np.stack([b + c * np.sin(t) + 0 * y[0], -b * y[1] + c * (t - 2)])

        theirs = RK45(fun, span[0], y0, span[1], max_step=50.0).h_abs
        assert first(control_of(fun, y0, span, max_step=50.0), span[0], y0) == pytest.approx(
            theirs, rel=1e-9
        )


@pytest.mark.parametrize(
    ("fun", "y", "expected"),
    [
        (lambda t, y: 0 * y, [1.0, 2.0], 1e-6),
        (lambda t, y: 0 * y, [0.0, 0.0], 1e-6),
        (lambda t, y: np.nan * y, [1.0, 2.0], 1e-6),
        (lambda t, y: np.where(t > 0, np.inf, y), [1.0, 2.0], 1e-6),
        (lambda t, y: 1e300 * y, [1.0, 2.0], 1e-6),
    ],
)
def test_first_steps_where_derivatives_say_nothing(fun, y, expected):
    assert first(control_of(fun, y), y=y) == expected
    assert first(control_of(fun, y, span=(0, 1e-9)), y=y) <= 1e-9
    assert first(control_of(fun, y, span=(0, 0)), y=y) == 0


def test_first_steps_are_limited_and_go_backwards():
    assert first(control_of(lambda t, y: 1e-3 * y, [1, 2], max_step=1e-4)) == 1e-4
    assert first(control_of(lambda t, y: 1e-3 * y, [1, 2], span=(0, 1e-5))) == 1e-5
    seen = []

    def fun(t, y):
        seen.append(np.min(t))
        return -y

    control = control_of(fun, [1, 2], span=(0, -2))
    seen.clear()
    assert first(control) > 0
    assert min(seen) < 0


def test_each_trajectory_has_a_first_step_of_its_own():
    control = control_of(lambda t, y: np.stack([-y[0], -50 * y[1]]), [1.0, 1.0])
    y = np.array([[1.0, 1.0], [1.0, 2.0], [1e-3, 5.0]])
    f = control.rhs(np.zeros(3), y)
    together = first_steps(control, 0.0, y, f)
    alone = [first_steps(control, 0.0, y[i : i + 1], f[i : i + 1])[0] for i in range(3)]
    assert_allclose(together, alone, rtol=1e-14)
    assert np.unique(together).size == 3


# Errors, and what follows from them.


def made(y, error):
    y = np.asarray(y, float)
    return Attempt(y, np.asarray(error, float), np.stack([y, y]))


def test_errors_are_in_units_of_the_tolerance_and_never_missing():
    control = control_of(lambda t, y: -y, [1, 2])
    at = Points(np.zeros(4), np.ones(4), np.array([[1.0, 2.0]] * 4))
    y = np.array([[3.0, 1.0], [1.0, np.nan], [1.0, np.inf], [1.0, 1.0]])
    error = np.array([[3e-3, 0], [0, 0], [0, 0], [0, np.nan]])
    expected = np.sqrt((3e-3 / 3.001e-3) ** 2 / 2)
    assert_allclose(control.errors(at, made(y, error)), [expected, np.inf, np.inf, np.inf])
    assert_allclose(control.sizes(error, at, made(y, error))[[0, 3]], [expected, np.inf])


def test_scales_are_not_zero():
    control = control_of(lambda t, y: -y, [1, 2], atol=np.array(0.0))
    assert_array_equal(control.scale(np.array([0.0, 2.0])), [TINY, 2e-3])


def test_the_next_sizes():
    """Orders 5 and 4: the fifth root, with a margin, within bounds, no growth after a rejection."""
    control = control_of(lambda t, y: -y, [1, 2])
    with np.errstate(divide="ignore"):
        sizes = control.next_sizes(
            np.full(8, 2.0), np.array([1.0, 0.5**5, 0.0, 2.0**5, 1e9, np.inf, 0.0, 0.95**5]),
            np.array([0, 0, 0, 0, 0, 0, 1, 1], bool),
        )  # fmt: skip
    expected = [1.8, 3.6, 20, 0.9, 0.4, 0.4, 2, 2 * 0.9 / 0.95]
    assert_allclose(sizes, expected, rtol=1e-12)


def test_the_smallest_steps():
    control = control_of(lambda t, y: -y, [1, 2])
    assert control.smallest_step(np.array(1.0)) == 10 * np.spacing(1.0)
    back = replace(control, direction=-1.0)
    assert back.smallest_step(np.array(1.0)) == 5 * np.spacing(1.0)


# One step after the other.


class Recorded(Method):
    """``y' = 1``, with errors ``(h / largest) ** 2``, and none for steps beyond `defined`."""

    name, order, error_order, degree = "recorded", 1, 1, 1

    def __init__(self, largest=1.0, defined=np.inf):
        self.largest, self.defined, self.tried, self.given = largest, defined, [], []

    def attempt(self, rhs, at, *, f=None, dense=True):
        h = float(at.h[0])
        self.tried.append((float(at.t[0]), h))
        self.given.append(None if f is None else float(f[0, 0]))
        error = (h / self.largest) ** 2 if abs(h) <= self.defined else np.nan
        y = at.y + h
        return Attempt(y, np.full(y.shape, error), np.stack([at.y, y - at.y]), at.t[:, None] + 10)

    def step(self, rhs, at):
        raise AssertionError

    linearize = recorded = step


def marched(method, h, span=(0.0, 1.0), options=None, **change):
    change |= {"atol": np.array(1.0), "rtol": np.array(0.0)}
    control = control_of(lambda t, y: 1 + 0 * y, [0.0], span, method, **change)
    with np.errstate(all="ignore"):
        return march(control, span[0], np.zeros(1), h, **(options or {}))


@pytest.mark.parametrize("sign", [1, -1])
def test_steps_shrink_until_they_are_accepted_and_grow_later(sign):
    method = Recorded(largest=100.0, defined=0.05)
    piece = marched(method, 1.0, (0.0, sign * 0.1))
    # 1 is cut to 0.1, a fifth of which is accepted, and repeated; then it grows up to the end.
    tried = [(0, 0.1), (0, 0.02), (0.02, 0.02), (0.04, 0.06), (0.04, 0.012), (0.052, 0.012)]
    tried += [(0.064, 0.036)]
    assert_allclose(method.tried, sign * np.array(tried), rtol=1e-12, atol=1e-15)
    assert_allclose(piece.t, sign * np.array([0, 0.02, 0.04, 0.052, 0.064, 0.1]), rtol=1e-12)
    assert_allclose(piece.y[:, 0], piece.t, rtol=1e-12)
    assert_allclose(piece.errors, (np.diff(piece.t) / 100) ** 2)
    assert piece.coefficients.shape == (2, 5, 1)
    assert piece.complete
    assert piece.t[-1] == sign * 0.1
    assert piece.next_step == pytest.approx(0.36)


def test_sizes_follow_the_errors():
    method = Recorded(largest=0.1)
    piece = marched(method, 0.05)
    # The error asks for 0.1; a margin leaves 0.09, which errors of 0.81 keep.
    sizes = np.diff(piece.t)
    assert_allclose(sizes[:10], [0.05, *[0.09] * 9])
    assert len(method.tried) == len(sizes)
    assert piece.t[-1] == 1
    # Too large by 10: a fifth, then what the error asks for; after that it does not grow.
    method = Recorded(largest=0.01)
    piece = marched(method, 0.1, options={"n_steps": 2})
    assert_allclose([h for _, h in method.tried], [0.1, 0.02, 0.009, 0.009])
    assert piece.next_step == pytest.approx(0.009)


def test_derivatives_are_handed_on():
    method = Recorded()
    marched(method, 0.25, max_step=0.25)
    assert method.given == [None, 10, 10.25, 10.5]


def test_where_it_ends():
    assert marched(Recorded(), 0.1, options={"n_steps": 3}).t.size == 4
    piece = marched(Recorded(), 0.1, options={"stop": 0.35})
    assert piece.t[-1] == 0.35
    assert piece.complete
    piece = marched(Recorded(), 0.1, (0.0, 0.0))
    assert (piece.t.tolist(), piece.errors.size, piece.coefficients.shape) == ([0], 0, (2, 0, 1))
    limited = marched(Recorded(), 5.0, max_step=0.3)
    assert_allclose(np.diff(limited.t), [0.3, 0.3, 0.3, 0.1])


def test_steps_that_shrink_to_nothing():
    method = Recorded(defined=0.0)
    piece = marched(method, 0.1, (1.0, 2.0))
    assert not piece.complete
    assert piece.t.tolist() == [1]
    sizes = np.array([h for _, h in method.tried])
    assert_allclose(sizes[1:6] / sizes[:5], 0.2, rtol=1e-3)
    assert sizes[-1] >= 10 * np.spacing(1.0) * 0.9
    assert piece.next_step < 10 * np.spacing(1.0)
    # One that is too small from the beginning is made larger.
    method = Recorded()
    marched(method, 1e-300, (1.0, 2.0), options={"n_steps": 1})
    assert_allclose(method.tried, [(1, 10 * np.spacing(1.0))])


def test_pieces_are_cut_and_joined():
    whole = marched(Recorded(), 0.125, max_step=0.125)
    head = whole.head(4)
    assert_array_equal(head.t, whole.t[:5])
    assert_array_equal(head.y, whole.y[:5])
    assert_array_equal(head.coefficients, whole.coefficients[:, :4])
    assert_array_equal(head.errors, whole.errors[:4])
    assert head.next_step == 0.125
    first_part = marched(Recorded(), 0.125, options={"stop": 0.5}, max_step=0.125)
    last = replace(first_part, t=first_part.t + 0.5, next_step=7.0, complete=False)
    both = joined([first_part, last])
    assert_array_equal(both.t, whole.t)
    assert both.y.shape == (9, 1)
    assert both.coefficients.shape == (2, 8, 1)
    assert both.errors.size == 8
    assert (both.next_step, both.complete) == (7.0, False)
