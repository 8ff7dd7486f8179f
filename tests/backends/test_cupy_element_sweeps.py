"""Jacobi sweeps of element steps on the CuPy backend, in small blocks, against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.emulation import reason_not_to_emulate

pytestmark = [pytest.mark.gpu] if reason_not_to_emulate() else []
cupy = pytest.importorskip("cupy", reason=reason_not_to_emulate() or "CuPy is not installed")
cuda_host = pytest.importorskip("cuda_host", reason="these tests set the emulation's scheduler")

import seqsolve  # noqa: E402
from seqsolve import element_step  # noqa: E402
from seqsolve.testing import _oracle  # noqa: E402
from seqsolve_cupy.element import sweeps, windows  # noqa: E402


def step(y_prev, x, params, y_out):
    y_out[0] = 0.6 * y_prev[0] - 0.3 * y_prev[1] + x[0]
    y_out[1] = math.sin(y_prev[0]) * 0.5 + x[1]


def squares(y_prev, x, params, y_out):
    y_out[0] = y_prev[0] * y_prev[0] + x[0]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(windows, "THREADS", 32)
    monkeypatch.setattr(sweeps, "THREADS", 32)


def both(function, x, y, **options):
    """Return states and outcome of the kernels and of loops."""
    cell = element_step(function, n_state=y.shape[2])
    device, host = cupy.asarray(y), y.copy()
    backend = seqsolve.get_backend("cupy")
    atol = cupy.full(y.shape[2], 1e-6)
    got = backend.sweep_windows(cell, cupy.asarray(x), device, rtol=0.0, atol=atol, **options)
    with np.errstate(all="ignore"):
        expected = _oracle.sweep_windows(
            lambda y_prev, rows, k: cell(y_prev, x[rows, k]), host, atol=1e-6, **options
        )
    return device.get(), got, host, expected


@pytest.mark.parametrize(
    ("n_steps", "n_batch", "window", "block_size"),
    [(150, 1, 150, 1), (150, 3, 70, 1), (150, 2, 150, 13), (97, 5, 40, 7), (64, 33, 64, 64)],
)
def test_sweeps_are_those_of_the_loop(n_steps, n_batch, window, block_size):
    rng = np.random.default_rng(n_steps + block_size)
    x = rng.uniform(-1, 1, (n_steps, n_batch, 2))
    y = rng.uniform(-1, 1, (n_steps + 1, n_batch, 2))
    for maxiter in (3, 200):
        with cuda_host.schedule(seed=maxiter, resident=3, shuffle=maxiter > 3):
            options = {"window": window, "block_size": block_size, "maxiter": maxiter}
            states, got, host, expected = both(step, x, y, **options)
        for name in ("converged", "stuck", "nit"):
            np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), name)
        np.testing.assert_allclose(states, host, 1e-12, 1e-12)
        width = expected.nit.max()
        np.testing.assert_allclose(got.trace[:, :width], expected.trace[:, :width], 1e-9, 1e-13)
        np.testing.assert_allclose(got.residual, expected.residual, 1e-9, 1e-13)


@pytest.mark.parametrize("block_size", [1, 9])
def test_a_sequence_that_leaves_the_range_ends_alone(block_size):
    x, y = np.zeros((60, 3, 1)), np.full((61, 3, 1), 0.3)
    y[0, :, 0] = [0.5, 3.0, 0.9]
    x[41, 2] = np.nan
    y[5, 0] = np.inf
    states, got, host, expected = both(squares, x, y, window=30, block_size=block_size, maxiter=90)
    assert got.converged.tolist() == expected.converged.tolist() == [60, 9, 41]
    assert got.stuck.tolist() == [False, True, True]
    np.testing.assert_allclose(states, host, 1e-12, 1e-12)


def test_the_public_solvers_use_them(monkeypatch):
    calls = []
    real = sweeps.sweep_windows
    monkeypatch.setattr(
        sweeps, "sweep_windows", lambda *args, **options: calls.append(1) or real(*args, **options)
    )
    x = np.random.default_rng(0).uniform(-1, 1, (50, 2, 2))
    h = seqsolve.triangular_map(element_step(step, n_state=2), x, np.zeros((2, 2)), backend="cupy")
    expected = seqsolve.sequential(element_step(step, n_state=2), x, np.zeros((2, 2))).y
    for solve in (seqsolve.jacobi, seqsolve.gs_jacobi, seqsolve.jacobi_gs):
        options = {} if solve is seqsolve.jacobi else {"block_size": 8}
        solution = solve(h, np.zeros(h.shape), **options)
        assert solution.success
        np.testing.assert_allclose(solution.y.get(), expected, 1e-10, 1e-10)
    assert len(calls) >= 3
