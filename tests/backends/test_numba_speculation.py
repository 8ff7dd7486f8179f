"""Stepping in pieces: exact wherever it says so, whatever the recurrence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.steps import fixed

import seqsolve
from seqsolve_numba import NumbaBackend, speculation

BACKEND = NumbaBackend()

#: Enough steps for four pieces with run-ups of 128.
N_STEPS = 4 * 1024 + 37


class Recurrence:
    """A step for the solver to advance, which counts the positions that it evaluates."""

    def __init__(self, step):
        self.step = step
        self.evaluations = 0

    def advance(self, x, y):
        for t in range(len(y) - 1):
            y[t + 1] = self.step(y[t], x[t])
        self.evaluations += (len(y) - 1) * y.shape[1]

    def solve(self, x, y0, n_pieces=4):
        """Return how many steps are solved, and the trajectory."""
        y = np.full((len(x) + 1, 1, 1), np.nan)
        y[0] = y0
        with np.errstate(all="ignore"):
            return speculation.solve(self.advance, x, y, n_pieces), y


def oracle(step, x, y0):
    y = np.empty((len(x) + 1, 1, 1))
    y[0] = y0
    with np.errstate(all="ignore"):
        for t in range(len(x)):
            y[t + 1] = step(y[t], x[t])
    return y


def close(states, later):
    """Return whether the later states are exact to about the square of the difference."""
    return abs(later - states).max() <= 1e-7


def drive(seed=0, n_steps=N_STEPS):
    return np.random.default_rng(seed).standard_normal((n_steps, 1, 1))


def forgets(y, x):
    return 0.4 * y + x


@fixed
@given(
    n_steps=st.integers(0, 9000),
    n_pieces=st.integers(1, 9),
    seed=st.integers(0, 99),
    y0=st.floats(-1e6, 1e6),
)
def test_a_forgetful_sequence_is_solved_bit_for_bit(n_steps, n_pieces, seed, y0):
    x = drive(seed, n_steps)
    done, y = Recurrence(forgets).solve(x, y0, n_pieces)
    assert done in (0, *range(n_steps - 3 * n_pieces, n_steps + 1))
    assert (done > 0) == ((n_steps // n_pieces - 1) | 1 >= 256)
    np.testing.assert_array_equal(y[: done + 1], oracle(forgets, x, y0)[: done + 1])


@pytest.mark.parametrize(
    "step",
    [
        lambda y, x: y + x,
        lambda y, x: 3.9 * y * (1 - y) + 0 * x,
        lambda y, x: 0.9999 * y + x,
        lambda y, x: y * np.nan,
        lambda y, x: 2 * y + x,
    ],
    ids=["sum", "chaos", "long memory", "NaN", "growth"],
)
def test_what_does_not_forget_costs_little(step):
    recurrence = Recurrence(step)
    done, y = recurrence.solve(drive(), 0.3)
    assert done == 0
    assert recurrence.evaluations <= 4 * (32 + 64 + 128)
    assert np.isnan(y[1:]).all()


@pytest.mark.parametrize(("factor", "run_ups"), [(0.2, 96), (0.4, 224), (0.7, 480), (0.85, 992)])
def test_run_ups_are_as_long_as_it_takes_to_forget(factor, run_ups):
    recurrence, x = Recurrence(lambda y, x: factor * y + x), drive()
    done, y = recurrence.solve(x, 0.3)
    assert done == 4 * 1033
    assert recurrence.evaluations == 4 * (run_ups + 1033)
    np.testing.assert_array_equal(y[: done + 1], oracle(recurrence.step, x, 0.3)[: done + 1])


@pytest.mark.parametrize(
    ("hold", "pieces"), [((900, 1100), 1), ((1100, 2100), 2), ((2000, 2300), 0), ((3900, 4133), 4)]
)
def test_a_stretch_that_does_not_forget_ends_what_is_solved(hold, pieces):
    """Run-ups within a stretch that holds the state agree, and are wrong."""
    x = drive()
    x[hold[0] : hold[1]] = np.nan

    def holds(y, x):
        return np.where(np.isnan(x), y, 0.4 * y + x)

    done, y = Recurrence(holds).solve(x, 0.3)
    np.testing.assert_array_equal(y[: done + 1], oracle(holds, x, 0.3)[: done + 1])
    assert done == pieces * 1033


def test_the_last_state_is_that_of_the_first_piece_that_is_right():
    def jumps(y, x):
        """Forget, but for a mark that is carried from step 1500 on."""
        mark = np.floor(y / 1000)
        return 0.4 * (y - 1000 * mark) + x % 1 + 1000 * (mark + (x > 5))

    x = np.abs(drive()) % 1
    x[1500] = 5.5
    done, y = Recurrence(jumps).solve(x, 0.3)
    assert 1500 < done < N_STEPS - 1024
    np.testing.assert_array_equal(y[: done + 1], oracle(jumps, x, 0.3)[: done + 1])


@pytest.mark.parametrize("threads", ["1", "3"])
def test_compiled_sequences_are_those_of_the_oracle(threads, monkeypatch):
    monkeypatch.setenv("NUMBA_NUM_THREADS", threads)

    def step(y_prev, x, params, y_out):
        y_out[0] = math.atan(0.5 * y_prev[0] + x[0])

    x = np.random.default_rng(1).standard_normal((60_000, 1))
    cell = seqsolve.element_step(step, n_state=1)
    y = seqsolve.sequential(cell, x, np.ones(1), backend=BACKEND).y
    previous = np.concatenate([np.ones((1, 1)), y[:-1]])
    np.testing.assert_allclose(y, np.arctan(0.5 * previous + x), 1e-15, 1e-15)


@fixed
@given(
    n_steps=st.integers(0, 9000),
    n_pieces=st.integers(1, 9),
    seed=st.integers(0, 99),
    step=st.sampled_from([forgets, lambda y, x: y + x, lambda y, x: 3.9 * y * (1 - y) + 0 * x]),
)
def test_a_guess_has_residuals_at_its_joints_alone(n_steps, n_pieces, seed, step):
    x, y = drive(seed, n_steps), np.full((n_steps + 1, 1, 1), np.nan)
    y[0] = 0.3
    joints = speculation.guess(Recurrence(step).advance, x, y, [n_pieces], close)
    size = (n_steps // n_pieces - 1) | 1
    assert joints.size == (n_pieces if size >= 256 else 0)
    if joints.size:
        off = np.flatnonzero(y[1:] != step(y[:-1], x))
        assert set(off) <= set(joints)
        assert (np.diff(joints) == size).all()
        assert step is not forgets or abs(y[1:] - step(y[:-1], x)).max() < 1e-12


@pytest.mark.parametrize(("factor", "n_pieces"), [(0.4, 16), (0.8, 8), (0.9, 4), (0.9999, 2)])
def test_a_guess_has_as_many_pieces_as_its_memory_admits(factor, n_pieces):
    y = np.full((N_STEPS + 1, 1, 1), 0.3)
    recurrence = Recurrence(lambda y, x: factor * y + x)
    joints = speculation.guess(recurrence.advance, drive(), y, [16, 8, 4, 2], close)
    assert joints.size == n_pieces


def test_a_guess_has_long_run_ups_where_none_agree():
    step = Recurrence(lambda y, x: 0.99 * y + x)
    y = np.full((N_STEPS + 1, 1, 1), 0.3)
    joints = speculation.guess(step.advance, drive(), y, [4], lambda a, b: False)
    residual = abs(y[1:] - step.step(y[:-1], drive()))[joints]
    assert 0 < residual.max() < 100 * 0.99 ** (1033 / 2)


def test_nothing_is_known_of_a_guess_that_is_not_finite():
    y = np.full((N_STEPS + 1, 1, 1), 0.3)
    with np.errstate(all="ignore"):
        joints = speculation.guess(
            Recurrence(lambda y, x: 2 * y + x).advance, drive(), y, [4], close
        )
    assert joints.size == 0
