"""Where parallel solving cannot work: honest statuses, bounded work, useful iterates."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from support.steps import Counted, logistic, loop, random_recurrence, residual, solve

import seqsolve
from seqsolve import ConvergenceError, ConvergenceWarning, Status

BEHAVIOURS = ["return", "warn", "raise", "sequential"]


def lorenz(y, x):
    u, v, w = y[..., 0], y[..., 1], y[..., 2]
    return y + 0.01 * np.stack([10 * (v - u), u * (28 - w) - v, u * v - 8 / 3 * w], axis=-1)


def nan_away_from_the_trajectory(y, x):
    return np.where(abs(y - 0.5) < 0.4, 0.5 * y + 0.25 + 0.1 * np.sin(9 * y), np.nan)


def nan_on_the_trajectory(y, x):
    return np.where(y > 3, np.nan, y + 0.1)


def inf_on_the_trajectory(y, x):
    return np.where(y > 3, np.inf, y + 0.1)


# Recurrences that are finite, but chaotic, stiff or steep

FINITE = {
    "logistic": (logistic, [0.3], 300),
    "lorenz": (lorenz, [1.0, 1.0, 1.0], 400),
    "collapse of y^2": (lambda y, x: y * y, [0.9], 300),
    "stiff exp(-y)": (lambda y, x: 3 * np.exp(-y), [0.0], 120),
    "two-cycle of 1/y": (lambda y, x: 1 / y, [0.5], 300),
    "infinite slope off the trajectory": (lambda y, x: 0.5 * np.sqrt(abs(y)), [0.7], 300),
    "infinite slope on the trajectory": (lambda y, x: np.sqrt(abs(y)), [0.0], 50),
    "NaN away from the trajectory": (nan_away_from_the_trajectory, [0.5], 300),
    "step": (lambda y, x: np.where(y > 0.5, y - 0.4, y + 0.3), [0.1], 200),
    "steep": (lambda y, x: np.tanh(1e6 * y), [1e-9], 200),
}


@pytest.mark.parametrize(("f", "y0", "n_steps"), FINITE.values(), ids=FINITE)
@pytest.mark.parametrize("window", [None, 16, 50, 1000])
@pytest.mark.parametrize("on_failure", ["return", "sequential"])
def test_never_a_wrong_success(f, y0, n_steps, window, on_failure):
    """What is called solved meets the tolerance; the rest is not called solved."""
    counted = Counted(f)
    solution = solve(counted, y0, n_steps, window=window, on_failure=on_failure)
    assert solution.success == (solution.status <= Status.SEQUENTIAL)
    k = int(solution.converged_steps)
    assert solution.success == (k == n_steps)
    assert solution.success or on_failure == "return"
    r = residual(f, None, y0, solution.y[:k])
    assert (r <= 1e-12 * (1 + abs(solution.y[:k]))).all()
    assert np.isfinite(solution.y).all()
    n_windows = -(-n_steps // min(window or n_steps, n_steps))
    evaluations = 1 + 2 * len(y0)  # one iteration
    assert counted.calls <= n_windows * 101 * evaluations + n_steps + 100
    assert solution.nit <= n_windows * 100 + n_steps


@pytest.mark.parametrize("window", [None, 300])
def test_chaos_is_finished_bit_for_bit_by_stepping(window):
    solution = solve(logistic, [0.3], 300, window=window, on_failure="sequential")
    assert solution.status is Status.SEQUENTIAL
    assert solution.success
    np.testing.assert_array_equal(solution.y, loop(logistic, None, [0.3], 300))
    assert solution.residual == 0
    assert solution.history[-1].residuals == ()


def test_lorenz_is_finished_from_the_solved_prefix():
    """Bit for bit what the loop gives from the last state that Newton's method reached."""
    failed = solve(lorenz, [1.0, 1.0, 1.0], 600, window=600)
    assert failed.status is Status.MAXITER
    k = int(failed.converged_steps)
    assert 0 < k < 600
    solution = solve(lorenz, [1.0, 1.0, 1.0], 600, window=600, on_failure="sequential")
    np.testing.assert_array_equal(solution.y[:k], failed.y[:k])
    np.testing.assert_array_equal(solution.y[k:], loop(lorenz, None, failed.y[k - 1], 600 - k))
    expected = residual(lorenz, None, [1.0, 1.0, 1.0], solution.y).max()
    np.testing.assert_allclose(solution.residual, expected, rtol=1e-9)


@pytest.mark.parametrize(("f", "y0"), [(logistic, [0.3]), (lorenz, [1.0, 1.0, 1.0])])
def test_the_message_says_that_it_does_not_pay_and_what_to_do(f, y0):
    with pytest.warns(ConvergenceWarning) as caught:
        solution = solve(f, y0, 600, window=600, on_failure="warn")
    message = str(caught[0].message)
    assert message == solution.message
    assert len(caught) == 1
    k = int(solution.converged_steps)
    assert f"Steps from {k} of 600 on are not solved" in message
    assert "The largest Lyapunov exponent is about +" in message
    assert "does not pay" in message
    assert "on_failure='sequential'" in message
    assert "seqsolve.sequential" in message


def test_success_near_chaos_says_that_it_does_not_pay():
    solution = solve(logistic, [0.3], 300, window=16)
    assert solution.success
    assert "+0.69 per step" in solution.message


def test_success_says_nothing_more():
    solution = solve(lambda y, x: 0.5 * np.cos(y), [0.3], 300)
    assert solution.message == "Every step meets the tolerance."


# Recurrences that leave the range of their dtype

INFINITE = {
    "y^2": (lambda y, x: y * y, [1.1]),
    "exp": (lambda y, x: np.exp(y), [0.0]),
    "1e30 y in float32": (lambda y, x: np.float32(1e30) * y, np.float32([1.0])),
    "logistic outside": (logistic, [1.3]),
    "NaN": (nan_on_the_trajectory, [0.0]),
    "infinity": (inf_on_the_trajectory, [0.0]),
    "at once": (lambda y, x: y / 0, [1.0]),
    "NaN at once": (lambda y, x: y * np.nan, [1.0]),
    "one of two states": (lambda y, x: y * [1e100, 0.5], [1.0, 1.0]),
}


def expected_warning(on_failure):
    """Even stepping cannot save these."""
    if on_failure == "return":
        return nullcontext()
    return pytest.warns(ConvergenceWarning, match="returns infinity or NaN")


@pytest.mark.parametrize(("f", "y0"), INFINITE.values(), ids=INFINITE)
@pytest.mark.parametrize("window", [1, 7, 64, None])
@pytest.mark.parametrize("on_failure", ["return", "sequential"])
def test_infinite_trajectories_are_never_a_success(f, y0, window, on_failure):
    exact = loop(f, None, y0, 200)
    n_finite = int(np.isfinite(exact).all(axis=-1).sum())
    counted = Counted(f)
    with expected_warning(on_failure):
        solution = solve(counted, y0, 200, window=window, on_failure=on_failure)
    assert not solution.success
    assert solution.status is Status.NON_FINITE
    assert solution.residual == np.inf
    assert solution.converged_steps == n_finite
    np.testing.assert_allclose(solution.y[:n_finite], exact[:n_finite], rtol=1e-9)
    assert "returns infinity or NaN" in solution.message
    assert f"Steps from {n_finite} of 200 on" in solution.message
    assert counted.calls <= 1000
    oracle = seqsolve.sequential(f, None, y0, n_steps=200)
    assert oracle.status is Status.NON_FINITE
    assert not oracle.success
    assert oracle.converged_steps == n_finite


@pytest.mark.parametrize("window", [None, 16])
def test_failing_sequences_leave_the_others_alone(window):
    """Infinite, chaotic, constant and contracting sequences in one batch."""
    gains = np.array([[8.0], [4.0], [0.0], [0.5]])

    def f(y, x):
        return x * y * (1 - y)

    x = np.broadcast_to(gains, (200, 4, 1))
    y0 = np.full((4, 1), 0.3)
    exact = loop(f, x, y0)
    solution = seqsolve.deer(
        f, "cs", x, y0, jac_structure="diagonal", window=window or 200, on_failure="return"
    )
    n_finite = int(np.isfinite(exact[:, 0, 0]).sum())
    assert n_finite < 20
    assert list(solution.converged_steps[[0, 2, 3]]) == [n_finite, 200, 200]
    np.testing.assert_allclose(solution.y[:, 2:], exact[:, 2:], atol=1e-11)
    assert not solution.success
    assert solution.status is Status.NON_FINITE
    assert solution.residual[0] == np.inf
    assert (solution.residual[2:] < 1e-12).all()
    assert "(sequence 0)" in solution.message
    n_failed = int((solution.converged_steps < 200).sum())
    assert f"not solved in {n_failed} of 4 sequences" in solution.message


def test_stepping_finishes_only_what_failed():
    gains = np.array([[4.0], [0.0]])

    def f(y, x):
        return x * y * (1 - y)

    x = np.broadcast_to(gains, (300, 2, 1))
    y0 = np.full((2, 1), 0.3)
    solution = seqsolve.deer(
        f, "cs", x, y0, jac_structure="diagonal", window=300, on_failure="sequential"
    )
    assert solution.success
    assert solution.status is Status.SEQUENTIAL
    np.testing.assert_array_equal(solution.y[:, 0], loop(f, x, y0)[:, 0])
    np.testing.assert_allclose(solution.y[:, 1], loop(f, x, y0)[:, 1], atol=1e-12)


def test_residuals_are_those_of_each_sequence_where_one_is_finished_by_stepping():
    gains = np.array([[0.9], [4.0], [0.5]])
    x = np.broadcast_to(gains, (200, 3, 1))
    y0 = np.full((3, 1), 0.3)
    f = lambda y, x: x * y * (1 - y)  # noqa: E731
    solution = seqsolve.deer(
        f, lambda y, x: 0.8 * x * (1 - 2 * y), x, y0, window=200, maxiter=40,
        rtol=0, atol=1e-4, on_failure="sequential",
    )  # fmt: skip
    assert solution.status is Status.SEQUENTIAL
    exact = residual(f, x, y0, solution.y).max(axis=(0, -1))
    assert len(set(exact)) == 3
    np.testing.assert_allclose(solution.residual, exact, rtol=1e-9)


# The four behaviours


@pytest.mark.parametrize("batch", [(), (2,)])
def test_return_is_silent(batch):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solution = solve(logistic, np.full((*batch, 1), 0.3), 300, window=300)
    assert solution.status is Status.MAXITER
    assert solution.nit == 100


def test_raise_carries_the_solution():
    with pytest.raises(ConvergenceError, match="Steps from 100 of 300 on") as caught:
        solve(logistic, [0.3], 300, window=300, on_failure="raise")
    solution = caught.value.solution
    assert str(caught.value) == solution.message
    assert solution.y.shape == (300, 1)
    np.testing.assert_array_equal(solution.y[:100], loop(logistic, None, [0.3], 100))


def test_warnings_are_the_default():
    with pytest.warns(ConvergenceWarning, match="iterations ran out"):
        seqsolve.deer(logistic, "cs", None, [0.3], n_steps=300, window=300)
    with pytest.warns(ConvergenceWarning, match="iterations ran out"):
        seqsolve.deeppcr(logistic, "cs", None, [0.3], n_steps=300, window=300)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_behaviours_do_not_matter_where_nothing_fails(behaviour):
    r = random_recurrence("dense", np.random.default_rng(0), 50)
    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0, on_failure=behaviour, window=25)
    assert solution.status is Status.CONVERGED


@pytest.mark.parametrize("maxiter", [1, 5, 17])
def test_maxiter_bounds_each_window(maxiter):
    solution = solve(logistic, [0.3], 90, window=30, maxiter=maxiter)
    assert solution.status is Status.MAXITER
    assert solution.nit == maxiter
    assert len(solution.history) == 1
    assert solution.converged_steps == maxiter
    assert solution.residual == np.inf  # what comes after the window was not tried


def test_a_window_of_maxiter_steps_always_converges():
    solution = solve(logistic, [0.3], 300, window=20, maxiter=20, on_failure="raise")
    assert solution.success


# Step functions that cannot meet the tolerance


def test_unattainable_tolerance_is_stalled():
    """The step is known to within its rounding errors only."""

    def noisy(seed):
        rng = np.random.default_rng(seed)
        return lambda y, x: 0.9 * y + 0.1 + 1e-9 * rng.uniform(-1, 1, y.shape)

    solution = solve(noisy(0), [0.5], 200, window=200, jac=lambda y, x: 0.9 + 0 * y)
    assert solution.status is Status.STALLED
    assert not solution.success
    assert "raise `atol` or `rtol`" in solution.message
    assert solve(noisy(0), [0.5], 200, window=200, atol=1e-7).success


def test_zero_tolerance_can_be_met_or_stalls():
    solution = solve(lambda y, x: 0.5 * y, [1.0], 100, rtol=0.0, atol=0.0)
    assert solution.success
    assert solution.residual == 0


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-9])
def test_random_steps_are_reported(size):
    rng = np.random.default_rng(0)

    def f(y, x):
        return 0.5 * y + size * rng.standard_normal(y.shape)

    if size > 1e-6:
        with pytest.raises(ValueError, match=r"`f` must treat every step .* on its own"):
            solve(f, [0.5], 100, jac=lambda y, x: 0.5 + 0 * y)
    else:
        counted = Counted(f)
        solution = solve(counted, [0.5], 100, jac=lambda y, x: 0.5 + 0 * y)
        assert solution.status is Status.STALLED
        assert counted.calls < 250


@pytest.mark.parametrize("level", [1e6, -1e6])
def test_residual_at_rounding_level_is_named(level):
    f = lambda y, x: level + 0.5 * np.sin(y)  # noqa: E731
    solution = solve(f, [1.0], 200, jac="cs", window=200, rtol=0, atol=1e-13)
    assert solution.status is Status.MAXITER
    assert "at the level of rounding errors: raise `atol` or `rtol`" in solution.message
    assert solve(f, [1.0], 200, jac="cs", window=200, rtol=0, atol=1e-9).success


def test_the_rounding_level_is_that_of_the_sequence_that_failed():
    r = np.full((80, 2, 1), [[4.0], [0.0]])
    solution = seqsolve.deer(
        lambda y, x: x * y * (1 - y),
        "cs",
        r,
        [[0.3], [0.3]],
        window=40,
        maxiter=10,
        on_failure="return",
    )
    assert solution.status is Status.MAXITER
    assert solution.converged_steps[0] < 40
    assert solution.converged_steps[1] == 80
    assert "rounding errors" not in solution.message


# The Jacobian


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308])
@pytest.mark.parametrize("structure", ["diagonal", "dense"])
def test_bad_values_in_the_jacobian(value, structure):
    """Infinite entries cost iterations, never correctness."""
    r = random_recurrence(structure, np.random.default_rng(1), 80, (2,))
    rng = np.random.default_rng(2)

    def jac(y, x):
        J = r.jac(y, x)
        return np.where(rng.random(J.shape) < 0.1, value, J)

    solution = seqsolve.deer(r.f, jac, r.x, r.y0, window=80)
    assert solution.success
    np.testing.assert_allclose(solution.y, loop(r.f, r.x, r.y0), atol=1e-11)


def test_everything_non_finite_in_the_jacobian():
    r = random_recurrence("dense", np.random.default_rng(3), 60)
    solution = seqsolve.deer(r.f, lambda y, x: np.full((*y.shape, 4), np.nan), r.x, r.y0, window=60)
    assert solution.success
    assert solution.nit <= 60
    np.testing.assert_allclose(solution.y, loop(r.f, r.x, r.y0), atol=1e-11)


@pytest.mark.parametrize("solver", ["deer", "deeppcr", "jacobi"])
def test_the_warning_points_at_the_call(solver):
    jac = lambda y, x: 4 - 8 * y  # noqa: E731
    h = seqsolve.triangular_map(logistic, None, [0.3], n_steps=500)
    with pytest.warns(ConvergenceWarning) as caught:
        SOLVERS[solver](jac, h)
    source = Path(caught[0].filename)
    assert source == Path(__file__)
    text = source.read_text(encoding="utf-8").splitlines()[caught[0].lineno - 1]
    assert f"seqsolve.{solver}(" in text


SOLVERS = {
    "deer": lambda jac, h: seqsolve.deer(logistic, jac, None, [0.3], n_steps=500),
    "deeppcr": lambda jac, h: seqsolve.deeppcr(logistic, jac, None, [0.3], n_steps=500),
    "jacobi": lambda jac, h: seqsolve.jacobi(h, np.zeros(h.shape), maxiter=3),
}


def test_warnings_of_gradients_point_at_the_call():
    failed = solve(logistic, [0.3], 600, window=600, on_failure="return")
    with pytest.warns(ConvergenceWarning) as caught:
        seqsolve.vjp(failed, np.ones_like(failed.y))
    assert caught[0].filename == __file__


def test_warnings_of_differential_equations_point_at_the_call():
    with pytest.warns(UserWarning, match="`rtol` must be at least") as caught:
        seqsolve.solve_ivp(lambda t, y: -y, (0, 0.1), [1.0], rtol=1e-18)
    assert caught[0].filename == __file__


def test_a_sequence_that_fails_where_the_callback_stops_has_no_residual():
    """It was to be stepped through, and is not."""

    def stop(state):
        raise StopIteration

    def f(y, x):
        return np.where(y > 3, np.inf, y + x)

    solution = seqsolve.deer(
        f,
        lambda y, x: np.ones_like(y),
        np.ones((12, 2, 1)),
        np.array([[10.0], [-100.0]]),
        window=12,
        callback=stop,
        on_failure="sequential",
    )
    assert solution.status is Status.STOPPED
    assert solution.residual[0] == np.inf
