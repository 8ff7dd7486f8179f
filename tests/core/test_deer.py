"""Newton's method over windows gives what the loop gives, whatever the recurrence."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.steps import (
    BATCHES,
    COMPLEX,
    LINEAR_SOLVERS,
    REAL,
    STRUCTURES,
    TOLERANCE,
    assert_solves,
    fixed,
    loop,
    random_recurrence,
)

import seqsolve
from seqsolve import Hutchinson


@fixed
@given(data=st.data())
def test_equals_the_loop(data):
    structure = data.draw(st.sampled_from(STRUCTURES))
    dtype = data.draw(st.sampled_from(REAL + COMPLEX))
    n_steps = data.draw(st.sampled_from([0, 1, 2, 3, 7, 16, 37, 64]))
    r = random_recurrence(
        structure,
        np.random.default_rng(data.draw(st.integers(0, 2**32))),
        n_steps,
        data.draw(st.sampled_from(BATCHES)),
        data.draw(st.sampled_from([1, 2, 4, 6])),
        dtype,
    )
    windows = st.sampled_from([None, 1, 2, 3, 13, max(n_steps, 1), n_steps + 5])
    solution = seqsolve.deer(
        r.f,
        r.jac,
        r.x,
        r.y0,
        window=data.draw(windows),
        linear_solver=data.draw(st.sampled_from(LINEAR_SOLVERS)),
        damping=data.draw(st.sampled_from([0.0, 0.0, 0.3, 0.9])),
    )
    assert solution.y.dtype == dtype
    assert_solves(solution, r.f, r.x, r.y0)
    oracle = seqsolve.sequential(r.f, r.x, r.y0)
    np.testing.assert_allclose(solution.y, oracle.y, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("batch", [(), (2, 3)])
@pytest.mark.parametrize("window", [1, 7, 100])
def test_oracle_equals_the_loop_bit_for_bit(batch, window):
    r = random_recurrence("diagonal", np.random.default_rng(0), 100, batch)
    expected = loop(r.f, r.x, r.y0)
    np.testing.assert_array_equal(seqsolve.sequential(r.f, r.x, r.y0).y, expected)
    if window == 1:
        np.testing.assert_array_equal(seqsolve.deer(r.f, r.jac, r.x, r.y0, window=1).y, expected)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("n_steps", [0, 1, 2])
@pytest.mark.parametrize("window", [None, 1, 2])
def test_shortest_sequences(batch, n_steps, window):
    r = random_recurrence("dense", np.random.default_rng(14), n_steps, batch, 3)
    for jac in (r.jac, "cs", Hutchinson()):
        solution = seqsolve.deer(r.f, jac, r.x, r.y0, window=window)
        assert_solves(solution, r.f, r.x, r.y0)
        assert solution.history[-1:] == () or solution.history[-1].stop == n_steps


# The theory: after k iterations the first k steps are exact, whatever A


@fixed
@given(
    k=st.integers(1, 12),
    seed=st.integers(0, 2**32),
    size=st.sampled_from([0.0, 1.0, 10.0, 1e8, 1e300]),
    structure=st.sampled_from(STRUCTURES),
    batch=st.sampled_from([(), (2,)]),
    solver=st.sampled_from(["auto", "scan"]),
)
def test_first_k_steps_are_exact_after_k_iterations(k, seed, size, structure, batch, solver):
    rng = np.random.default_rng(seed)
    r = random_recurrence(structure, rng, 24, batch, 4)

    def wrong(y, x):
        return size * rng.uniform(-1, 1, r.jac(y, x).shape)

    solution = seqsolve.deer(
        r.f,
        wrong,
        r.x,
        r.y0,
        maxiter=k,
        window=24,
        on_failure="return",
        linear_solver=solver,
    )
    expected = loop(r.f, r.x, r.y0)
    np.testing.assert_allclose(solution.y[:k], expected[:k], rtol=1e-13, atol=1e-13)
    assert (solution.converged_steps >= k).all()
    for s in np.ndindex(*batch):
        prefix = (slice(int(solution.converged_steps[s])), *s)
        np.testing.assert_allclose(solution.y[prefix], expected[prefix], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("size", [0.0, 3.0, 1e300])
@pytest.mark.parametrize("window", [5, 40])
def test_wrong_jacobian_is_still_solved_in_as_many_iterations_as_steps(size, window):
    r = random_recurrence("dense", np.random.default_rng(20), 40, (2,))
    wrong = np.random.default_rng(0)
    solution = seqsolve.deer(
        r.f, lambda y, x: size * wrong.standard_normal((*y.shape, 4)), r.x, r.y0, window=window
    )
    assert_solves(solution, r.f, r.x, r.y0)
    assert all(record.nit <= record.stop - record.start for record in solution.history)


# Sequences stop one by one


class PerSequence:
    """A recurrence of sequences of their own gain; counts the points of each."""

    def __init__(self, gains):
        self.gains = np.asarray(gains, dtype=float)
        self.points = np.zeros(len(gains), dtype=int)

    def input(self, n_steps, sequences):
        rng = np.random.default_rng(21)
        noise = rng.standard_normal(n_steps)
        x = np.empty((n_steps, len(sequences), 3))
        x[:, :, 0], x[:, :, 1] = sequences, self.gains[sequences]
        x[:, :, 2] = noise[:, None]
        return x

    def __call__(self, y, x):
        ids = np.broadcast_to(x[..., 0], y.shape[:-1])
        self.points += np.bincount(ids.astype(int).ravel(), minlength=self.points.size)
        return np.sin(x[..., 1:2] * y + x[..., 2:])

    def jac(self, y, x):
        return x[..., 1:2] * np.cos(x[..., 1:2] * y + x[..., 2:])


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
def test_finished_sequences_cost_nothing_more(order):
    """In a batch, each sequence is evaluated about as often as alone."""
    gains, n_steps = [0.0, 0.3, 0.8, 1.8], 64
    alone, nits = [], []
    for i in range(4):
        step = PerSequence(gains)
        solution = seqsolve.deer(
            step, step.jac, step.input(n_steps, [i]), np.zeros((1, 1)), window=n_steps
        )
        assert solution.success
        alone.append(step.points[i])
        nits.append(solution.nit)
    assert nits[0] < nits[1] < nits[2] < nits[3]
    assert nits[3] > 3 * nits[1]

    step = PerSequence(gains)
    x = step.input(n_steps, order)
    solution = seqsolve.deer(step, step.jac, x, np.zeros((4, 1)), window=n_steps)
    points = step.points.copy()
    assert_solves(solution, step, x, np.zeros((4, 1)), slack=10)
    probe = 4
    for rank, i in enumerate(np.argsort(nits)):
        again = rank * n_steps  # those that go on are evaluated anew where others leave
        assert points[i] <= alone[i] + again + probe


def test_results_do_not_depend_on_the_company():
    gains = [0.0, 0.3, 0.8, 1.2, 0.5]
    step = PerSequence(gains)
    together = seqsolve.deer(
        step, step.jac, step.input(80, np.arange(5)), np.zeros((5, 1)), window=16
    )
    for i in range(5):
        alone = seqsolve.deer(step, step.jac, step.input(80, [i]), np.zeros((1, 1)), window=16)
        np.testing.assert_allclose(together.y[:, i], alone.y[:, 0], atol=1e-10)


def test_deeppcr_is_deer_with_cyclic_reduction():
    r = random_recurrence("dense", np.random.default_rng(35), 50, (2,))
    a = seqsolve.deeppcr(r.f, r.jac, r.x, r.y0, window=25)
    b = seqsolve.deer(r.f, r.jac, r.x, r.y0, window=25, linear_solver="cyclic_reduction")
    np.testing.assert_array_equal(a.y, b.y)
    assert a.nit == b.nit
    assert_solves(a, r.f, r.x, r.y0)


def test_repr_is_short_and_says_what_happened():
    r = random_recurrence("dense", np.random.default_rng(36), 50, (2,))
    text = repr(seqsolve.deer(r.f, r.jac, r.x, r.y0))
    assert "success=True" in text
    assert "(50, 2, 4)" in text
    assert len(text) < 300


def test_threads_may_solve_at_the_same_time():
    from concurrent.futures import ThreadPoolExecutor

    cases = [random_recurrence("dense", np.random.default_rng(i), 300, (), 4) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        solutions = list(pool.map(lambda r: seqsolve.deer(r.f, r.jac, r.x, r.y0), cases))
    for r, solution in zip(cases, solutions, strict=True):
        assert_solves(solution, r.f, r.x, r.y0)


def test_warnings_of_numpy_stay_quiet_under_error_filters():
    code = (
        "import warnings; warnings.simplefilter('error')\n"
        "import numpy as np, seqsolve\n"
        "f = lambda y, x: np.exp(-y) + x\n"
        "bad = np.full((90, 1), -800.0)\n"
        "s = seqsolve.deer(f, 'cs', np.ones((90, 1)), [5.0], initial_guess=bad)\n"
        "assert s.success, s\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
