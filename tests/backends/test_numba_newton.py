"""Fused Newton on CPU threads: its own first guess, and what iterations make of it."""

from __future__ import annotations

from types import FunctionType

import numpy as np
import pytest

import seqsolve
from seqsolve import Status, element_step
from seqsolve_numba import NumbaBackend, newton
from seqsolve_numba.translate import Translator

BACKEND = NumbaBackend()

#: Enough steps for a guess by the pieces of one thread, in any number of windows.
N_STEPS = 6_000


def leaky_step(y_prev, x, params, y_out):
    (keep,) = params
    for i in range(len(y_prev)):
        total = 0.5 * y_prev[i] + x[i]
        y_out[i] = keep * y_prev[i] + (1.0 - keep) * total / (1.0 + abs(total))


def leaky_jac(y_prev, x, params, jac_out):
    (keep,) = params
    for i in range(len(y_prev)):
        total = 0.5 * y_prev[i] + x[i]
        slope = 1.0 / (1.0 + abs(total))
        jac_out[i] = keep + (1.0 - keep) * 0.5 * slope * slope


def leaky(keep):
    """Return a step with a memory of some ``1 / (1 - keep)`` steps."""
    params = {"keep": np.array(keep)}
    return element_step(leaky_step, leaky_jac, n_state=2, params=params, jac_structure="diagonal")


def drive(n_steps=N_STEPS, batch=()):
    rng = np.random.default_rng(n_steps)
    return 3 * rng.standard_normal((n_steps, *batch, 2)), rng.standard_normal((*batch, 2))


def solve(cell, x, y0, **options):
    return seqsolve.deer(cell, None, x, y0, backend=BACKEND, **options)


def check(cell, x, y0, solution):
    """Evaluate the residual that is reported, with the step as an array step."""
    previous = np.concatenate([y0[None], solution.y[:-1]])
    r = np.abs(solution.y - cell(previous, x))
    assert solution.success
    assert (r <= 1e-12 + 1e-12 * np.abs(solution.y) + 1e-15).all()
    np.testing.assert_allclose(solution.residual, r.max(axis=(0, -1)), 0, 1e-15)


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("keep", [0.0, 0.99, 0.9999])
def test_what_is_returned_meets_the_tolerance(keep, threads, monkeypatch):
    monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
    for n_steps in (100, N_STEPS, 20_011):
        x, y0 = drive(n_steps)
        for window in (7, 1000, 30_000):
            solution = solve(leaky(keep), x, y0, window=window)
            check(leaky(keep), x, y0, solution)
            assert [r.start for r in solution.history] == list(range(0, n_steps, window))


def test_iterations_are_for_what_the_guess_misses(monkeypatch):
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    x, y0 = drive()
    assert solve(leaky(0.0), x, y0, window=500).nit == 0
    long_memory = solve(leaky(0.9999), x, y0, window=500)
    assert 0 < long_memory.nit <= 5 * len(long_memory.history)
    given = solve(leaky(0.0), x, y0, window=500, initial_guess=np.zeros_like(x))
    assert given.nit > 0


def test_a_batch_is_guessed_as_before():
    x, y0 = drive(N_STEPS, (2,))
    solution = solve(leaky(0.5), x, y0, window=1000)
    check(leaky(0.5), x, y0, solution)
    assert solution.nit > 0


def holding_step(y_prev, x, params, y_out):
    y_out[0] = y_prev[0] if x[1] > 0.0 else 0.4 * y_prev[0] + x[0]


def holding_jac(y_prev, x, params, jac_out):
    jac_out[0] = 1.0 if x[1] > 0.0 else 0.4


@pytest.mark.parametrize("hold", [(300, 400), (700, 1600), (0, N_STEPS)])
def test_a_stretch_that_does_not_forget_is_iterated(hold):
    cell = element_step(holding_step, holding_jac, n_state=1, jac_structure="diagonal")
    x, _ = drive()
    x[:, 1] = -1
    x[slice(*hold), 1] = 1
    exact = seqsolve.sequential(cell, x, np.ones(1), backend="numpy").y
    for window in (64, N_STEPS):
        solution = solve(cell, x, np.ones(1), window=window, on_failure="raise")
        np.testing.assert_allclose(solution.y, exact, 1e-11, 1e-11)


def test_a_guess_that_is_not_finite_is_none():
    """The states of a growing recurrence overflow in the guess of most windows."""

    def step(y_prev, x, params, y_out):
        y_out[0] = y_prev[0] * (1.0 + y_prev[0] * x[0])

    def jac(y_prev, x, params, jac_out):
        jac_out[0] = 1.0 + 2.0 * y_prev[0] * x[0]

    cell = element_step(step, jac, n_state=1, jac_structure="diagonal")
    x = np.zeros((N_STEPS, 1))
    x[3000:3050] = 1.0
    options = {"window": 500, "on_failure": "return"}
    solution = solve(cell, x, np.ones(1), **options)
    assert solution.status is Status.NON_FINITE
    stepped = seqsolve.sequential(cell, x, np.ones(1), backend="numpy")
    solved = int(solution.converged_steps)
    assert 3000 < solved == stepped.converged_steps
    np.testing.assert_allclose(solution.y[:solved], stepped.y[:solved], 1e-9)


@pytest.mark.parametrize("says", ["all", "none"])
def test_a_check_of_the_guess_that_passes_everything_shows(says, monkeypatch):
    def solved_before(special):
        zero = special.number(0)

        def solved(x, params, y, k, first, size, joints, rtol, atol):
            return (size if says == "all" else 0), zero

        return newton.inlined(solved)

    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    monkeypatch.setattr(newton, "_solved_before", solved_before)
    monkeypatch.setattr(Translator, "content", None)
    cell = element_step(
        FunctionType(leaky_step.__code__, globals()),
        FunctionType(leaky_jac.__code__, globals()),
        n_state=2,
        params={"keep": np.array(0.9999)},
        jac_structure="diagonal",
    )
    x, y0 = drive()
    solution = solve(cell, x, y0, window=500)
    if says == "none":
        check(leaky(0.9999), x, y0, solution)
    else:
        with pytest.raises(AssertionError):
            check(leaky(0.9999), x, y0, solution)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extremes_are_those_of_numpy(dtype):
    from numpy import maximum

    def step(y_prev, x, params, y_out):
        y_out[0] = np.minimum(x[0], x[1])
        y_out[1] = maximum(x[0], x[1])
        y_out[2] = np.minimum(np.maximum(x[0], -1.0), 2)
        y_out[3] = np.maximum(x[0], 1) + 0.0 * np.tanh(y_prev[0])

    values = np.array([np.nan, -np.inf, -3.0, -1.0, 0.0, 0.5, 2.0, 1e30, np.inf], dtype)
    x = np.stack(np.meshgrid(values, values), axis=-1).reshape(1, -1, 2)
    y = np.zeros((2, x.shape[1], 4), dtype)
    BACKEND.march(element_step(step, n_state=4), x, y)
    a, b = x[0].T
    expected = (
        np.minimum(a, b),
        np.maximum(a, b),
        np.minimum(np.maximum(a, -1), 2),
        np.maximum(a, 1),
    )
    for i, values in enumerate(expected):
        np.testing.assert_array_equal(y[1, :, i], values)
