"""The Jacobi family on recurrences and on systems that read far back."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backends import ON_GPU
from support.steps import TOLERANCE, fixed, loop, random_recurrence

import seqsolve
from seqsolve import ConvergenceError, ConvergenceWarning, Status

SOLVERS = {
    "jacobi": seqsolve.jacobi,
    "jacobi, windows": lambda h, guess, **kw: seqsolve.jacobi(h, guess, window=7, **kw),
    "gauss_seidel": seqsolve.gauss_seidel,
    "gs_jacobi": lambda h, guess, **kw: seqsolve.gs_jacobi(h, guess, block_size=5, **kw),
    "jacobi_gs": lambda h, guess, **kw: seqsolve.jacobi_gs(h, guess, block_size=5, **kw),
    "jacobi_gs, windows": lambda h, guess, **kw: seqsolve.jacobi_gs(
        h, guess, block_size=3, window=25, **kw
    ),
}
ITERATIVE = [name for name in SOLVERS if name != "gauss_seidel"]


class SkipConnections:
    """Every layer reads those 1, 2 and 5 before it; counts what is evaluated."""

    def __init__(self, n_steps, batch=(), n_state=2, dtype="float64", seed=0, gain=0.25):
        rng = np.random.default_rng(seed)
        self.shape = (n_steps, *batch, n_state)
        self.W = (gain * rng.uniform(-1, 1, (3, n_state, n_state))).astype(dtype)
        self.b = rng.uniform(-1, 1, (n_steps, *(1 for _ in batch), n_state)).astype(dtype)
        self.first = rng.uniform(-1, 1, (5, *batch, n_state)).astype(dtype)
        self.evaluated = []

    def __call__(self, s, rows):
        t = np.arange(self.shape[0])[rows]
        self.evaluated.append(t.size)
        padded = np.concatenate([self.first, s])
        return self.layer(padded[t + 4], padded[t + 3], padded[t], self.b[t])

    def layer(self, one, two, five, b):
        return np.tanh(one @ self.W[0] + two @ self.W[1] + five @ self.W[2] + b)

    def forward(self):
        """Return the plain feed-forward computation."""
        states = list(self.first)
        for b in self.b:
            states.append(self.layer(states[-1], states[-2], states[-5], b))
        return np.array(states[5:], dtype=self.first.dtype).reshape(self.shape)


def assert_solves(solution, expected):
    assert solution.success, solution.message
    assert solution.y.shape == expected.shape
    assert solution.y.dtype == expected.dtype
    tolerance = TOLERANCE[expected.dtype.name]
    np.testing.assert_allclose(solution.y, expected, rtol=tolerance, atol=tolerance)
    assert (solution.converged_steps == expected.shape[0]).all()
    assert solution.njev == 0


@fixed
@given(
    solver=st.sampled_from(sorted(SOLVERS)),
    n_steps=st.sampled_from([0, 1, 2, 5, 6, 30]),
    batch=st.sampled_from([(), (1,), (3,), (2, 3), (0,)]),
    dtype=st.sampled_from(["float32", "float64", "complex64", "complex128"]),
    seed=st.integers(0, 2**32),
)
def test_skip_connections(solver, n_steps, batch, dtype, seed):
    h = SkipConnections(n_steps, batch, 2, dtype, seed)
    guess = np.zeros(h.shape, dtype)
    solution = SOLVERS[solver](h, guess)
    assert_solves(solution, h.forward())
    assert not guess.any()
    if "gs," not in solver and solver != "jacobi_gs":
        assert solution.nit <= n_steps
    assert solution.nfev == len(h.evaluated)


@fixed
@given(
    solver=st.sampled_from(sorted(SOLVERS)),
    structure=st.sampled_from(["diagonal", "dense"]),
    n_steps=st.sampled_from([0, 1, 2, 30]),
    batch=st.sampled_from([(), (3,), (2, 3)]),
    dtype=st.sampled_from(["float32", "float64", "complex128"]),
    seed=st.integers(0, 2**32),
)
def test_recurrences(solver, structure, n_steps, batch, dtype, seed):
    r = random_recurrence(structure, np.random.default_rng(seed), n_steps, batch, 3, dtype)
    h = seqsolve.triangular_map(r.f, r.x, r.y0)
    assert h.shape == (n_steps, *batch, 3)
    solution = SOLVERS[solver](h, np.zeros(h.shape, dtype))
    assert_solves(solution, loop(r.f, r.x, r.y0))


@pytest.mark.parametrize("solver", SOLVERS)
def test_autonomous_maps(solver):
    h = seqsolve.triangular_map(lambda y, x: 0.5 * np.cos(y), None, [[0.1], [0.7]], n_steps=40)
    expected = loop(lambda y, x: 0.5 * np.cos(y), None, [[0.1], [0.7]], 40)
    assert_solves(SOLVERS[solver](h, np.zeros(h.shape)), expected)


@pytest.mark.parametrize("block_size", [1, 2, 3, 7, 29, 30, 31, 100])
@pytest.mark.parametrize("method", [seqsolve.gs_jacobi, seqsolve.jacobi_gs])
def test_blocks_of_any_size(method, block_size):
    h = SkipConnections(30)
    assert_solves(method(h, np.zeros(h.shape), block_size=block_size), h.forward())


@pytest.mark.parametrize("window", [1, 2, 7, 29, 30, 31, 100])
@pytest.mark.parametrize("block_size", [None, 4])
def test_windows_of_any_size(window, block_size):
    h = SkipConnections(30)
    options = {} if block_size is None else {"block_size": block_size}
    method = seqsolve.jacobi if block_size is None else seqsolve.jacobi_gs
    solution = method(h, np.zeros(h.shape), window=window, **options)
    assert_solves(solution, h.forward())
    assert [r.start for r in solution.history] == list(range(0, 30, window))


@pytest.mark.parametrize("solver", ITERATIVE)
def test_exact_guess_takes_one_sweep_a_window(solver):
    h = SkipConnections(30)
    solution = SOLVERS[solver](h, h.forward())
    assert_solves(solution, h.forward())
    assert all(record.nit <= 2 for record in solution.history)


def test_integer_guess_becomes_float64():
    h = seqsolve.triangular_map(lambda y, x: 0.5 * y, None, [1], n_steps=5)
    assert seqsolve.jacobi(h, np.zeros((5, 1), int)).y.dtype == "float64"


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_map_promotes_the_guess(solver):
    h = SkipConnections(20, dtype="float64")
    assert_solves(SOLVERS[solver](h, np.zeros(h.shape, "float32")), h.forward())


# Sweeps, and what they evaluate


def chaotic(n_steps, batch=()):
    return seqsolve.triangular_map(
        lambda y, x: 4 * y * (1 - y), None, np.full((*batch, 1), 0.3), n_steps=n_steps
    )


@pytest.mark.parametrize("n_steps", [1, 2, 33])
def test_never_more_sweeps_than_positions(n_steps):
    h = chaotic(n_steps)
    expected = loop(lambda y, x: 4 * y * (1 - y), None, [0.3], n_steps)
    solution = seqsolve.jacobi(h, np.full(h.shape, 0.5))
    np.testing.assert_array_equal(solution.y, expected)
    assert solution.success
    assert solution.nit <= n_steps
    solution = seqsolve.gs_jacobi(h, np.full(h.shape, 0.5), block_size=8)
    np.testing.assert_array_equal(solution.y, expected)
    assert all(record.nit <= 8 for record in solution.history)
    solution = seqsolve.jacobi_gs(h, np.full(h.shape, 0.5), block_size=8)
    np.testing.assert_array_equal(solution.y, expected)
    assert solution.nit <= -(-n_steps // 8) + 1


def test_positions_that_are_solved_are_not_evaluated_again():
    h = SkipConnections(60, gain=1.5)
    seqsolve.jacobi(h, np.zeros(h.shape))
    sweeps = h.evaluated[3:]
    assert sweeps[0] == 60
    assert all(b < a for a, b in pairwise(sweeps))


def test_gauss_seidel_evaluates_every_position_once():
    h = SkipConnections(40, (3,))
    solution = seqsolve.gauss_seidel(h, np.full(h.shape, np.nan))
    np.testing.assert_array_equal(solution.y, h.forward())
    assert h.evaluated[3:] == [1] * 40
    assert solution.nit == 40
    assert (solution.residual == 0).all()


def test_blocks_are_visited_with_a_stride():
    seen = []
    h = SkipConnections(24)

    def recorded(s, rows):
        seen.append(rows)
        return h(s, rows)

    seqsolve.jacobi_gs(recorded, np.zeros(h.shape), block_size=6)
    assert seen[3:9] == [slice(k, 24, 6) for k in range(6)]


def test_information_crosses_a_block_in_one_sweep():
    h = chaotic(64)
    by_position = seqsolve.jacobi(h, np.zeros(h.shape)).nit
    by_block = seqsolve.jacobi_gs(h, np.zeros(h.shape), block_size=8).nit
    assert by_block <= by_position / 4


def test_the_map_sees_states_that_are_exact():
    """Position t is final once everything before it is."""
    h = SkipConnections(30, gain=1.5)
    exact = h.forward()
    sweeps = []

    def watched(s, rows):
        sweeps.append((rows, s.copy()))
        return h(s, rows)

    seqsolve.jacobi(watched, np.zeros(h.shape))
    for rows, s in sweeps[2:]:
        start = rows.indices(30)[0]
        np.testing.assert_allclose(s[:start], exact[:start], atol=1e-10)


# Garbage and infinity


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_any_guess_is_good_enough(solver, value, batch):
    h = SkipConnections(30, batch)
    guess = np.full(h.shape, value)
    guess[::3] = 1
    assert_solves(SOLVERS[solver](h, guess), h.forward())


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("at", [0, 1, 13, 29])
def test_what_is_not_finite_is_never_a_success(solver, value, at):
    """Every sequence up to its own bad position; those without one to the end."""
    h = SkipConnections(30, (3,))
    h.b = np.repeat(h.b, 3, axis=1)
    h.b[at, 1] = np.nan if np.isnan(value) else 0
    exact = h.forward()

    def broken(s, rows):
        new = h(s, rows)
        if np.isinf(value):
            new[np.arange(30)[rows] == at, 1] = np.inf
        return new

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solution = SOLVERS[solver](broken, np.zeros(h.shape), on_failure="return")
    assert not solution.success
    assert solution.status is Status.NON_FINITE
    assert solution.residual[1] == np.inf
    assert solution.converged_steps[1] == at
    assert f"Steps from {at} of 30 (sequence 1)" in solution.message
    good = [0, 2]
    assert (solution.converged_steps[good] >= at).all()
    for s in range(3):
        k = solution.converged_steps[s]
        np.testing.assert_allclose(solution.y[:k, s], exact[:k, s], atol=1e-10)


@pytest.mark.parametrize("solver", ITERATIVE)
def test_sequences_beside_an_infinite_one_are_solved(solver):
    f = lambda y, x: x * y * y  # noqa: E731
    x = np.broadcast_to(np.array([[0.5], [50.0]]), (24, 2, 1))
    h = seqsolve.triangular_map(f, x, np.ones((2, 1)))
    solution = SOLVERS[solver](h, np.zeros(h.shape), on_failure="return")
    assert solution.converged_steps[0] == 24
    assert solution.residual[0] < 1e-12
    np.testing.assert_allclose(solution.y[:, 0], loop(f, x, np.ones((2, 1)))[:, 0], atol=1e-11)
    assert solution.residual[1] == np.inf
    assert not solution.success


def test_steps_before_an_infinite_one_are_verified():
    """Blocks that were solved together are not trusted because a later one ends the sweeps."""
    f = lambda y, x: x * y * (1 - y)  # noqa: E731
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n, block, at = (int(i) for i in rng.integers((20, 2, 6), (60, 9, 20)))
        x = np.full((n, 1), 3.9)
        guess = seqsolve.sequential(f, x, [0.3]).y + rng.uniform(-1e-4, 1e-4, (n, 1))
        x[at] = np.inf
        h = seqsolve.triangular_map(f, x, [0.3])
        options = {"rtol": 0.0, "atol": 1e-4, "block_size": block, "on_failure": "return"}
        solution = seqsolve.jacobi_gs(h, guess, **options)
        assert solution.status is Status.NON_FINITE
        assert solution.converged_steps == at
        y = np.concatenate([[[0.3]], solution.y[:at]])
        residual = np.abs(y[1:] - f(y[:-1], x[:at])).max()
        assert residual <= 1.01e-4


# Running out of sweeps


def test_maxiter():
    h = chaotic(50)
    exact = loop(lambda y, x: 4 * y * (1 - y), None, [0.3], 50)
    solution = seqsolve.jacobi(h, np.zeros(h.shape), maxiter=9, on_failure="return")
    assert solution.status is Status.MAXITER
    assert solution.nit == 9
    assert solution.converged_steps == 9
    np.testing.assert_array_equal(solution.y[:9], exact[:9])
    with pytest.warns(ConvergenceWarning, match="Steps from 9 of 50 on are not solved"):
        seqsolve.jacobi(h, np.zeros(h.shape), maxiter=9)
    with pytest.raises(ConvergenceError) as caught:
        seqsolve.jacobi(h, np.zeros(h.shape), maxiter=9, on_failure="raise")
    assert caught.value.solution.converged_steps == 9


@pytest.mark.parametrize("backend", sorted({"numpy", "numba"} - ON_GPU))
def test_the_default_is_enough_for_blocks_and_their_verification(backend):
    def step(y_prev, x, params, y_out):
        y_out[0] = x[0] * y_prev[0] * (1.0 - y_prev[0])

    if not seqsolve.backend_status(backend).available:
        pytest.skip(seqsolve.backend_status(backend).reason)
    cell = seqsolve.element_step(step, n_state=1)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        n, block = int(rng.integers(18, 60)), int(rng.integers(2, 4))
        x = np.full((n, 1), rng.uniform(3.5, 3.9))
        exact = seqsolve.sequential(cell, x, [0.3]).y
        guess = exact + rng.uniform(-1e-4, 1e-4, (n, 1))
        h = seqsolve.triangular_map(cell, x, [0.3], backend=backend)
        assert seqsolve.jacobi_gs(h, guess, block_size=block, rtol=0, atol=1e-4).success


@pytest.mark.parametrize("method", ["jacobi", "gs_jacobi", "jacobi_gs"])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_finishing_position_by_position(method, batch):
    h = chaotic(50, batch)
    exact = loop(lambda y, x: 4 * y * (1 - y), None, np.full((*batch, 1), 0.3), 50)
    options = {} if method == "jacobi" else {"block_size": 10}
    solution = getattr(seqsolve, method)(
        h, np.zeros(h.shape), maxiter=3, on_failure="sequential", **options
    )
    assert solution.success
    assert solution.status is Status.SEQUENTIAL
    np.testing.assert_array_equal(solution.y, exact)
    assert (solution.residual == 0).all()


@pytest.mark.parametrize("solver", ITERATIVE)
@pytest.mark.parametrize("size", [1e-1, 1e-3])
def test_tolerance_is_met_and_saves_sweeps(solver, size):
    h = SkipConnections(60, (2,), gain=0.3)
    atol = np.array([size, size / 10])
    loose = SOLVERS[solver](h, np.zeros(h.shape), rtol=size, atol=atol)
    strict = SOLVERS[solver](h, np.zeros(h.shape))
    assert loose.success
    assert loose.nit <= strict.nit
    assert loose.nit < strict.nit or size < 1e-2
    r = abs(h(loose.y, slice(0, 60)) - loose.y)
    assert (r <= (atol + size * abs(loose.y)) * (1 + 1e-9)).all()


@pytest.mark.parametrize("solver", ITERATIVE)
@pytest.mark.parametrize("tolerance", [1e-1, 1e-2])
def test_reported_residual_is_that_of_the_result(solver, tolerance):
    h = SkipConnections(60, (2, 2), gain=0.3)
    solution = SOLVERS[solver](h, np.zeros(h.shape), rtol=0, atol=tolerance)
    r = abs(h(solution.y, slice(0, 60)) - solution.y).max(axis=(0, -1))
    assert solution.residual.shape == (2, 2)
    assert (r <= solution.residual + 1e-15).all()
    assert (solution.residual <= tolerance).all()
    assert r.max() > 0 or tolerance < 0.1


# What is reported


@pytest.mark.parametrize("solver", SOLVERS)
def test_callback(solver):
    h = SkipConnections(30, (2,), gain=0.5)
    states = []
    solution = SOLVERS[solver](h, np.zeros(h.shape), callback=states.append)
    assert len(states) == solution.nit == sum(r.nit for r in solution.history)
    done = [s.converged_steps for s in states]
    assert done[-1] == 30
    assert all(s.start <= s.converged_steps <= s.stop for s in states)
    assert all(s.n_running in (0, 2) for s in states)
    assert all(len(r.residuals) == r.nit for r in solution.history)


@pytest.mark.parametrize("solver", SOLVERS)
def test_callback_stops_the_solver(solver):
    h = chaotic(60)

    def callback(state):
        if state.converged_steps >= 4:
            raise StopIteration

    solution = SOLVERS[solver](h, np.zeros(h.shape), callback=callback)
    assert solution.status is Status.STOPPED
    assert not solution.success
    k = int(solution.converged_steps)
    assert 4 <= k < 60
    exact = loop(lambda y, x: 4 * y * (1 - y), None, [0.3], 60)
    np.testing.assert_array_equal(solution.y[:k], exact[:k])


def test_progress(capsys):
    h = SkipConnections(30)
    seqsolve.jacobi(h, np.zeros(h.shape), window=10, progress=True)
    assert "30.0/30.0" in capsys.readouterr().err


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_out(solver, order):
    h = SkipConnections(30, (2,))
    out = np.empty(h.shape, order=order)
    solution = SOLVERS[solver](h, np.zeros(h.shape), out=out)
    assert solution.y is out
    np.testing.assert_allclose(out, h.forward(), atol=1e-11)


def test_a_general_system_has_no_recurrence():
    h = SkipConnections(10)
    solution = seqsolve.jacobi(h, np.zeros(h.shape))
    for ask in (
        solution.error_bound,
        lambda: seqsolve.lyapunov_exponent(solution),
        lambda: seqsolve.vjp(solution, np.zeros(h.shape)),
    ):
        with pytest.raises(ValueError, match=r"`solution` must come from a recurrence .* general"):
            ask()


def test_recurrences_have_exponents_and_bounds():
    h = seqsolve.triangular_map(lambda y, x: 0.5 * y + x, np.ones((60, 1)), [0.0])
    solution = seqsolve.jacobi(h, np.zeros(h.shape), atol=1e-3, rtol=0)
    np.testing.assert_allclose(seqsolve.lyapunov_exponent(solution), np.log(0.5))
    exact = loop(lambda y, x: 0.5 * y + x, np.ones((60, 1)), [0.0])
    assert (abs(solution.y - exact) <= solution.error_bound() + 1e-9).all()
