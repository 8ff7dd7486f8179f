"""The Numba backend's fused Jacobi sweeps against the core's."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.steps import fixed

import seqsolve
from seqsolve import Status, element_step
from seqsolve.backend import JacobiSweeps
from seqsolve_numba import NumbaBackend

BACKEND = NumbaBackend()


def squash_step(y_prev, x, params, y_out):
    w, gain = params
    for i in range(len(y_prev)):
        total = x[i]
        for j in range(len(y_prev)):
            total += w[i, j] * y_prev[j]
        y_out[i] = gain * total / (1.0 + abs(total))


def make_cell(rng, n=3):
    w = rng.uniform(-0.5, 0.5, (n, n))
    return element_step(squash_step, n_state=n, params={"w": w, "gain": np.array(0.9)})


SOLVERS = {
    "jacobi": lambda h, g, b, w, **o: seqsolve.jacobi(h, g, **o),
    "jacobi, windows": lambda h, g, b, w, **o: seqsolve.jacobi(h, g, window=w, **o),
    "gs_jacobi": lambda h, g, b, w, **o: seqsolve.gs_jacobi(h, g, block_size=b, **o),
    "jacobi_gs": lambda h, g, b, w, **o: seqsolve.jacobi_gs(h, g, block_size=b, window=w, **o),
}


@fixed
@given(
    solver=st.sampled_from(sorted(SOLVERS)),
    n_steps=st.integers(0, 150),
    block=st.integers(1, 80),
    window=st.integers(1, 160),
    maxiter=st.sampled_from([None, 1, 3, 9]),
    seed=st.integers(0, 99),
)
def test_every_sequence_is_swept_as_the_core_sweeps_it_alone(
    solver, n_steps, block, window, maxiter, seed
):
    rng = np.random.default_rng(seed)
    cell = make_cell(rng)
    x, y0 = rng.standard_normal((n_steps, 3, 3)), rng.standard_normal((3, 3))
    guess = rng.standard_normal((n_steps, 3, 3))
    options = {"maxiter": maxiter, "on_failure": "return"}
    h = seqsolve.triangular_map(cell, x, y0, backend=BACKEND)
    fused = SOLVERS[solver](h, guess, block, window, **options)
    alone = []
    for k in range(3):
        h = seqsolve.triangular_map(cell, x[:, k], y0[k], backend="numpy")
        alone.append(SOLVERS[solver](h, guess[:, k], block, window, **options))
    for k, one in enumerate(alone):
        assert fused.converged_steps[k] == one.converged_steps
        solved = slice(0, int(one.converged_steps))
        np.testing.assert_allclose(fused.y[solved, k], one.y[solved], 1e-13, 1e-13)
        np.testing.assert_allclose(fused.residual[k], one.residual, 1e-3, 1e-14)
    assert fused.status == max(one.status for one in alone)
    if fused.success:
        together = zip(*(one.history for one in alone), strict=True)
        assert [w.nit for w in fused.history] == [max(w.nit for w in ws) for ws in together]


def test_what_runs_out_of_sweeps_is_stepped_through():
    rng = np.random.default_rng(0)
    cell = make_cell(rng)
    x, y0 = rng.standard_normal((200, 2, 3)), np.zeros((2, 3))
    h = seqsolve.triangular_map(cell, x, y0, backend=BACKEND)
    solution = seqsolve.jacobi(h, np.zeros(h.shape), maxiter=2, on_failure="sequential")
    assert solution.status is Status.SEQUENTIAL
    np.testing.assert_allclose(solution.y, seqsolve.sequential(cell, x, y0).y, 1e-12, 1e-12)


def test_what_leaves_the_range_is_no_success():
    def squares(y_prev, x, params, y_out):
        y_out[0] = 2.0 * y_prev[0] * y_prev[0]

    cell = element_step(squares, n_state=1)
    h = seqsolve.triangular_map(cell, None, [[0.1], [3.0]], n_steps=30, backend=BACKEND)
    for options in ({"block_size": 30}, {"block_size": 4}):
        for solver in (seqsolve.gs_jacobi, seqsolve.jacobi_gs):
            solution = solver(h, np.zeros(h.shape), on_failure="return", **options)
            assert solution.status is Status.NON_FINITE
            assert solution.converged_steps.tolist() == [30, 8]
            assert np.isfinite(solution.y[:8]).all()
            assert solution.residual[1] == np.inf


def test_callbacks_see_every_sweep():
    rng = np.random.default_rng(0)
    cell = make_cell(rng)
    h = seqsolve.triangular_map(cell, rng.standard_normal((40, 3)), np.zeros(3), backend=BACKEND)
    seen = []
    watched = seqsolve.jacobi(h, np.zeros(h.shape), callback=lambda s: seen.append(s.iteration))
    assert len(seen) == watched.nit == seqsolve.jacobi(h, np.zeros(h.shape)).nit


def test_gradients_and_a_wider_guess():
    rng = np.random.default_rng(0)
    cell = make_cell(rng)
    x = rng.standard_normal((40, 3))
    h = seqsolve.triangular_map(cell, x, np.zeros(3), backend=BACKEND)
    fused = seqsolve.jacobi(h, np.zeros(h.shape, "float32"))
    assert fused.y.dtype == np.float64
    exact = seqsolve.sequential(cell, x, np.zeros(3))
    ones = np.ones_like(exact.y)
    np.testing.assert_allclose(
        seqsolve.vjp(fused, ones).y0, seqsolve.vjp(exact, ones).y0, 1e-9, 1e-12
    )


def test_the_capability():
    assert isinstance(BACKEND, JacobiSweeps)
    assert not isinstance(seqsolve.get_backend("numpy"), JacobiSweeps)
