"""Where the trajectory goes, and what a solution and a callback are told."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest
from support.steps import (
    STRUCTURES,
    Counted,
    assert_solves,
    loop,
    random_recurrence,
    residual,
)

import seqsolve
from seqsolve import Hutchinson, Status

# Memory


def test_no_jacobian_of_the_whole_sequence():
    n_steps, n = 200_000, 8
    r = random_recurrence("dense", np.random.default_rng(22), n_steps, (), n)
    seqsolve.deer(r.f, r.jac, r.x[:100], r.y0)
    trajectory, jacobian = n_steps * n * 8, n_steps * n * n * 8
    tracemalloc.start()
    try:
        solution = seqsolve.deer(r.f, r.jac, r.x, r.y0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert solution.success
    assert len(solution.history) > 1
    assert trajectory <= peak < trajectory + jacobian / 8


# out=


@pytest.mark.parametrize("window", [1, 7, None])
@pytest.mark.parametrize(
    "make",
    [
        lambda shape: np.empty(shape),
        lambda shape: np.empty(shape, order="F"),
        lambda shape: np.empty((2 * shape[0], *shape[1:]))[::2],
        lambda shape: np.empty(shape)[::-1],
        lambda shape: np.empty(shape, dtype=complex),
    ],
    ids=["C", "F", "strided", "reversed", "complex"],
)
def test_out_receives_the_trajectory(make, window):
    r = random_recurrence("dense", np.random.default_rng(23), 40, (2, 3))
    out = make((40, 2, 3, 4))
    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0, out=out, window=window)
    assert solution.y is out
    np.testing.assert_allclose(out, loop(r.f, r.x, r.y0), atol=1e-11)
    if window == 1:
        out[...] = 0
        assert seqsolve.sequential(r.f, r.x, r.y0, out=out).y is out
        np.testing.assert_allclose(out, loop(r.f, r.x, r.y0), atol=1e-14)


def test_memory_mapped_input_and_output(tmp_path):
    r = random_recurrence("diagonal", np.random.default_rng(24), 1000, (), 2)
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", r.x.dtype, r.x.shape)
    x[:] = r.x
    out = np.lib.format.open_memmap(tmp_path / "y.npy", "w+", "float64", (1000, 2))
    solution = seqsolve.deer(r.f, r.jac, x, r.y0, out=out, window=64)
    assert solution.y is out
    out.flush()
    expected = loop(r.f, r.x, r.y0)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, atol=1e-11)


def test_out_may_be_the_guess():
    r = random_recurrence("dense", np.random.default_rng(25), 40)
    expected = loop(r.f, r.x, r.y0)
    buffer = np.zeros_like(r.x)
    seqsolve.deer(r.f, r.jac, r.x, r.y0, out=buffer, initial_guess=buffer, window=8)
    np.testing.assert_allclose(buffer, expected, atol=1e-11)


# What is reported


@pytest.mark.parametrize("on_iteration", [1, 2, 4])
def test_callback_stops_the_solver(on_iteration):
    r = random_recurrence("dense", np.random.default_rng(26), 60, (2,), gain=0.95)
    states = []

    def callback(state):
        states.append(state)
        if len(states) == on_iteration:
            raise StopIteration

    jac = lambda y, x: 0.2 * r.jac(y, x)  # noqa: E731
    solution = seqsolve.deer(r.f, jac, r.x, r.y0, window=30, callback=callback)
    assert len(states) == on_iteration
    assert solution.status is Status.STOPPED
    assert not solution.success
    assert "initial_guess=solution.y" in solution.message
    assert solution.nit == on_iteration
    expected = loop(r.f, r.x, r.y0)
    k = int(solution.converged_steps.min())
    assert on_iteration <= k < 60
    np.testing.assert_allclose(solution.y[:k], expected[:k], atol=1e-10)
    resumed = seqsolve.deer(r.f, r.jac, r.x, r.y0, window=30, initial_guess=solution.y)
    assert_solves(resumed, r.f, r.x, r.y0, slack=10)


@pytest.mark.parametrize("stop_at", [10, 20, 30])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_callback_stops_at_the_end_of_a_window(stop_at, batch):
    """The iteration that solves a window is no exception, but for the last window."""
    r = random_recurrence("dense", np.random.default_rng(26), 30, batch)

    def callback(state):
        if state.converged_steps == stop_at:
            raise StopIteration

    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0, window=10, callback=callback)
    assert (solution.converged_steps == stop_at).all()
    assert len(solution.history) == stop_at / 10
    assert solution.success == (stop_at == 30)
    assert solution.status is (Status.CONVERGED if stop_at == 30 else Status.STOPPED)
    assert np.isinf(solution.residual).all() == (stop_at < 30)


def test_states_that_the_callback_sees():
    r = random_recurrence("dense", np.random.default_rng(27), 60, (3,), gain=0.9)
    states = []
    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0, window=25, callback=states.append)
    assert len(states) == solution.nit
    for record in solution.history:
        mine = [s for s in states if (s.start, s.stop) == (record.start, record.stop)]
        assert [s.iteration for s in mine] == list(range(1, record.nit + 1))
        assert len(record.residuals) == record.nit + 1
        done = [s.converged_steps for s in mine]
        assert done == sorted(done)
        assert all(record.start <= d <= record.stop for d in done)
        assert all(0 <= s.n_running <= 3 for s in mine)
    assert states[-1].n_running == 0
    assert states[-1].converged_steps == 60


@pytest.mark.parametrize("window", [10, None])
def test_the_state_reports_the_residual_of_the_iterate(window):
    """The last state of a window knows that it is solved."""
    r = random_recurrence("dense", np.random.default_rng(27), 40, (), gain=0.9)
    states = []
    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0, window=window, callback=states.append)
    seen = [s.residual for s in states]
    told = [res for record in solution.history for res in record.residuals[1:]]
    assert seen == told


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_other_exceptions_of_the_callback_pass(error):
    r = random_recurrence("dense", np.random.default_rng(28), 20)

    def callback(state):
        raise error("mine")

    with pytest.raises(error, match="mine"):
        seqsolve.deer(r.f, r.jac, r.x, r.y0, callback=callback)


def test_progress_bar_goes_to_stderr(capsys):
    r = random_recurrence("dense", np.random.default_rng(29), 60)
    seqsolve.deer(r.f, r.jac, r.x, r.y0, window=20, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "100%" in captured.err
    assert "60.0/60.0" in captured.err
    seqsolve.deer(r.f, r.jac, r.x, r.y0, window=20)
    assert capsys.readouterr().err == ""


def test_progress_needs_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    r = random_recurrence("dense", np.random.default_rng(30), 10)
    with pytest.raises(ImportError, match=r"`progress=True` needs tqdm: pip install"):
        seqsolve.deer(r.f, r.jac, r.x, r.y0, progress=True)


@pytest.mark.parametrize("jac", ["callable", "cs", "2-point", "3-point", "hutchinson"])
@pytest.mark.parametrize("batch", [(), (4,)])
@pytest.mark.parametrize("window", [1, 16, 50])
def test_counts_and_history(jac, batch, window):
    r = random_recurrence("diagonal", np.random.default_rng(31), 50, batch, 2, gain=0.3)
    f, own = Counted(r.f), Counted(r.jac)
    source = {"callable": own, "hutchinson": Hutchinson()}.get(jac, jac)
    solution = seqsolve.deer(f, source, r.x, r.y0, window=window)
    assert solution.nfev == f.calls
    if jac == "callable":
        assert solution.njev == own.calls
    assert solution.nit == sum(record.nit for record in solution.history)
    starts = [record.start for record in solution.history]
    stops = [record.stop for record in solution.history]
    assert starts == [0, *stops[:-1]]
    assert stops[-1] == 50
    assert all(record.status is solution.status for record in solution.history)
    assert solution.status is (Status.SEQUENTIAL if window == 1 else Status.CONVERGED)
    assert solution.backend == "numpy"
    if window == 1:
        assert solution.nit == 50
        assert all(record.residuals == () for record in solution.history)
    f.calls = 0
    seqsolve.sequential(f, r.x, r.y0)
    assert seqsolve.sequential(r.f, r.x, r.y0).nfev == f.calls


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("batch", [(), (2, 3)])
@pytest.mark.parametrize(("window", "maxiter"), [(60, 3), (60, 100), (20, 100), (7, 100)])
def test_reported_residual_is_the_trajectorys(structure, batch, window, maxiter):
    r = random_recurrence(structure, np.random.default_rng(32), 60, batch, gain=0.9)
    quasi = lambda y, x: 0.5 * r.jac(y, x)  # noqa: E731
    solution = seqsolve.deer(
        r.f, quasi, r.x, r.y0, window=window, maxiter=maxiter, on_failure="return", rtol=1e-6
    )
    assert solution.success == (maxiter == 100)
    recomputed = residual(r.f, r.x, r.y0, solution.y).max(axis=(0, -1))
    np.testing.assert_allclose(solution.residual, recomputed, rtol=1e-6, atol=1e-15)
    if not batch:
        assert max(record.residuals[-1] for record in solution.history) == solution.residual


def test_residual_of_every_step_meets_the_tolerance():
    r = random_recurrence("dense", np.random.default_rng(33), 200, (3,), gain=0.95)
    rtol, atol = 1e-4, np.array([1e-3, 1e-4, 1e-5, 1e-6])
    solution = seqsolve.deer(
        r.f, r.jac, r.x, r.y0, rtol=rtol, atol=atol, jac_structure="diagonal", window=200
    )
    assert solution.success
    r_t = residual(r.f, r.x, r.y0, solution.y)
    assert (r_t <= (atol + rtol * abs(solution.y)) * (1 + 1e-12)).all()
    strict = seqsolve.deer(r.f, r.jac, r.x, r.y0, jac_structure="diagonal", window=200)
    assert solution.nit < strict.nit


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-12)])
def test_default_tolerances(dtype, tolerance):
    r = random_recurrence("dense", np.random.default_rng(34), 100, (), 4, dtype)
    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0, jac_structure="diagonal", window=100)
    r_t = residual(r.f, r.x, r.y0, solution.y)
    assert (r_t <= tolerance * (1 + abs(solution.y)) * 1.01).all()
