"""How sweeps end: windows that fail, sequences that leave, and what the user is told."""

from __future__ import annotations

import numpy as np
import pytest
from support.steps import loop

import seqsolve
from seqsolve import ConvergenceWarning, Status

SOLVERS = {
    "jacobi": seqsolve.jacobi,
    "gs_jacobi": lambda h, guess, **kw: seqsolve.gs_jacobi(h, guess, block_size=10, **kw),
    "jacobi_gs": lambda h, guess, **kw: seqsolve.jacobi_gs(h, guess, block_size=3, **kw),
    "windows": lambda h, guess, **kw: seqsolve.jacobi(h, guess, window=10, **kw),
    "blocks in windows": lambda h, guess, **kw: seqsolve.jacobi_gs(
        h, guess, block_size=3, window=10, **kw
    ),
}


def growth(gains, n_steps=40):
    """Return ``y[t] = gain y[t-1]**2``, from 1: it leaves the range of numbers, or vanishes."""
    x = np.broadcast_to(np.array(gains)[:, None], (n_steps, len(gains), 1))
    return seqsolve.triangular_map(lambda y, x: x * y * y, x, np.ones((len(gains), 1)))


def logistic_map(n_steps):
    return seqsolve.triangular_map(lambda y, x: 4 * y * (1 - y), None, [0.3], n_steps=n_steps)


def told(solution):
    """Return everything that is said of a trajectory."""
    return (
        solution.status,
        solution.message,
        solution.nit,
        solution.nfev,
        solution.residual.tolist(),
        solution.converged_steps.tolist(),
        solution.history,
    )


@pytest.mark.parametrize(("window", "alone"), [(20, 2), (50, 1)])
def test_the_window_that_runs_out_of_sweeps_is_the_last(window, alone):
    h = logistic_map(50)
    solution = seqsolve.jacobi(h, np.zeros(h.shape), window=window, maxiter=9, on_failure="return")
    assert solution.status is Status.MAXITER
    assert [(r.start, r.stop, r.nit) for r in solution.history] == [(0, window, 9)]
    assert solution.converged_steps == 9
    assert solution.nfev == 2 + 9 + alone


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("on_failure", ["return", "raise", "sequential"])
def test_behaviours_do_not_matter_where_nothing_fails(solver, on_failure):
    f = lambda y, x: 0.5 * np.cos(y) + x  # noqa: E731
    x = np.linspace(-1, 1, 40)[:, None]
    h = seqsolve.triangular_map(f, x, [0.0])
    solution = SOLVERS[solver](h, np.zeros(h.shape), on_failure=on_failure)
    assert told(solution) == told(SOLVERS[solver](h, np.zeros(h.shape)))
    assert {r.status for r in solution.history} == {Status.CONVERGED}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("gains", [[0.5, 50.0], [50.0, 90.0]])
def test_stepping_cannot_save_what_is_infinite(solver, gains):
    h = growth(gains)
    returned = SOLVERS[solver](h, np.zeros(h.shape), on_failure="return")
    assert returned.status is Status.NON_FINITE
    with pytest.warns(ConvergenceWarning, match="returns infinity or NaN"):
        stepped = SOLVERS[solver](h, np.zeros(h.shape), on_failure="sequential")
    assert told(stepped) == told(returned)


@pytest.mark.parametrize("solver", SOLVERS)
def test_nothing_is_swept_once_every_sequence_is_infinite(solver):
    h, states = growth([50.0, 90.0]), []
    solution = SOLVERS[solver](h, np.zeros(h.shape), on_failure="return", callback=states.append)
    exact = loop(lambda y, x: np.array([[50.0], [90.0]]) * y * y, None, np.ones((2, 1)), 40)
    n_finite = np.isfinite(exact[..., 0]).sum(axis=0)
    assert (n_finite < 10).all()
    np.testing.assert_array_equal(solution.converged_steps, n_finite)
    assert all(record.nit > 0 for record in solution.history)
    assert solution.history[-1].start <= n_finite.max()
    assert max(s.converged_steps for s in states) <= n_finite.max()
    assert states[-1].n_running == 0


def test_a_callback_that_stops_is_not_overruled_by_stepping():
    def callback(state):
        raise StopIteration

    h = logistic_map(50)
    solution = seqsolve.jacobi(h, np.zeros(h.shape), on_failure="sequential", callback=callback)
    assert solution.status is Status.STOPPED
    assert solution.nit == 1


@pytest.mark.parametrize(("size", "accepted"), [(1e-12, True), (1e-6, False)])
def test_maps_may_round_differently_for_more_positions(size, accepted):
    """As products of matrices do, whose order of operations depends on their shape."""

    def h(s, rows):
        before = np.concatenate([np.ones((1, 2)), s[:-1]])[rows]
        return 0.5 * before + size * len(before)

    guess = np.zeros((20, 2))
    if accepted:
        assert seqsolve.jacobi(h, guess, rtol=0, atol=1e-9).success
    else:
        with pytest.raises(ValueError, match="`h` must evaluate every position on its own"):
            seqsolve.jacobi(h, guess)


def test_a_recurrence_needs_no_trial_of_the_order_in_which_it_reads():
    h = logistic_map(20)
    assert seqsolve.jacobi(h, np.zeros(h.shape)).nfev == 2 + 20 + 4


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("maxiter", [5, None])
def test_solutions_of_one_map_count_their_own_evaluations(backend, maxiter):
    def step(y_prev, x, params, y_out):
        y_out[0] = 0.5 * y_prev[0] + x[0]

    if not seqsolve.backend_status(backend).available:
        pytest.skip(seqsolve.backend_status(backend).reason)
    cell = seqsolve.element_step(step, n_state=1)
    h = seqsolve.triangular_map(cell, np.ones((30, 1)), [0.3], backend=backend)
    first, second = (
        seqsolve.jacobi(h, np.zeros(h.shape), maxiter=maxiter, on_failure="return")
        for _ in range(2)
    )
    assert first.nfev == second.nfev <= second.nit + 2
    assert first.success == second.success == (maxiter is None)
