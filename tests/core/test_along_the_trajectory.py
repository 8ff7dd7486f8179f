"""Along a solved trajectory: bounds of the error, and Lyapunov exponents."""

from __future__ import annotations

import numpy as np
import pytest
from support.steps import logistic, loop, random_recurrence, solve

import seqsolve

BEHAVIOURS = ["return", "warn", "raise", "sequential"]


# Error bounds


@pytest.mark.parametrize("structure", ["diagonal", "block_diagonal", "dense"])
@pytest.mark.parametrize("batch", [(), (2, 3)])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("window", [1000, 30])
def test_error_bound(structure, batch, tolerance, window):
    r = random_recurrence(structure, np.random.default_rng(4), 200, batch, gain=0.9)
    solution = seqsolve.deer(
        r.f,
        lambda y, x: 0.7 * r.jac(y, x),
        r.x,
        r.y0,
        window=window,
        maxiter=1000,
        rtol=tolerance,
        atol=tolerance,
    )
    exact = loop(r.f, r.x, r.y0)
    error = abs(solution.y - exact)
    # the Jacobian of the bound is the given one; solve anew for the exact one
    guess = solution.y
    judged = seqsolve.deer(
        r.f, r.jac, r.x, r.y0, initial_guess=guess, rtol=tolerance, atol=tolerance, window=window
    )
    assert judged.nit == 0
    bound = judged.error_bound()
    assert bound.shape == exact.shape
    assert error.max() > 0
    assert (error <= bound * (1 + 10 * tolerance) + 1e-12).all()
    assert bound.max() <= 100 * tolerance


def test_error_bound_of_a_linear_recurrence_is_attained():
    f = lambda y, x: 0.5 * y + x  # noqa: E731
    y0, x = np.zeros(1), np.ones((30, 1))
    exact = loop(f, x, y0)
    guess = exact + 1e-3 * (1 - 0.5 ** np.arange(1, 31))[:, None]
    solution = seqsolve.deer(f, "cs", x, y0, initial_guess=guess, atol=1e-3)
    assert solution.nit == 0
    np.testing.assert_allclose(solution.error_bound(), guess - exact, rtol=1e-9)


def test_error_bound_without_steps():
    solution = seqsolve.deer(lambda y, x: y, "cs", None, [[1.0]], n_steps=0)
    assert solution.error_bound().shape == (0, 1, 1)


def test_error_bound_is_real_for_complex_states():
    r = random_recurrence("dense", np.random.default_rng(5), 60, (2,), 3, "complex64")
    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0, window=30)
    bound = solution.error_bound()
    assert bound.dtype == "float32"
    assert bound.max() < 1e-4


# Lyapunov exponents


def exponent(f, y0, n_steps, **options):
    return seqsolve.lyapunov_exponent(solve(f, y0, n_steps, **options))


def test_exponent_of_the_logistic_map():
    solution = seqsolve.sequential(logistic, None, [0.3], n_steps=20_000)
    assert abs(seqsolve.lyapunov_exponent(solution) - np.log(2)) < 2e-3


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("factor", [0.5, -0.9, 1.0, 1.5, 1e-3, 1e-30, 1e30], ids=lambda a: f"{a:g}")
def test_exponent_of_a_factor(factor, dtype):
    """At the fixed point zero, so that the trajectory stays where it is."""
    factor = np.dtype(dtype).type(factor)
    value = exponent(lambda y, x: factor * y, np.zeros(1, dtype), 100, jac=lambda y, x: y + factor)
    np.testing.assert_allclose(value, np.log(abs(factor)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("window", [1, 20, None])
def test_exponent_of_a_matrix(window):
    """A rotation with decay, and a faster decay beside it; non-normal."""
    R = 0.95 * np.array(
        [[np.cos(0.3), -np.sin(0.3), 1.0], [np.sin(0.3), np.cos(0.3), 0], [0, 0, 0.5]]
    )
    value = exponent(lambda y, x: y @ R.T, np.zeros(3), 4000, jac="cs", window=window)
    np.testing.assert_allclose(value, np.log(0.95), atol=2e-3)


@pytest.mark.parametrize("n_steps", [1, 2, 16, 17, 100])
@pytest.mark.parametrize("window", [1, 7, None])
def test_exponent_is_the_mean_over_all_steps(n_steps, window):
    factors = np.random.default_rng(7).uniform(0.1, 3, (n_steps, 2, 1))
    solution = seqsolve.deer(
        lambda y, x: x * y, lambda y, x: x + 0 * y, factors, np.zeros((2, 1)), window=window
    )
    expected = np.log(factors).mean(axis=(0, 2))
    np.testing.assert_allclose(seqsolve.lyapunov_exponent(solution), expected, rtol=1e-12)


def test_exponents_of_a_batch():
    factors = np.array([[0.2, 0.5, 1.0], [1.1, 0.0, 0.9]])

    def f(y, x):
        return y * x

    x = np.broadcast_to(factors[..., None], (500, 2, 3, 1))
    solution = seqsolve.deer(f, "cs", x, np.zeros((2, 3, 1)), jac_structure="diagonal")
    value = seqsolve.lyapunov_exponent(solution)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(value, np.log(factors), atol=1e-12)


def test_exponent_uses_the_solved_steps_only():
    failed = solve(logistic, [0.3], 2000, window=2000)
    assert 0 < failed.converged_steps < 200
    assert abs(seqsolve.lyapunov_exponent(failed) - np.log(2)) < 0.1
    mixed = solve(
        lambda y, x: np.where(abs(y) < 10, 0.5 * y, np.nan), [[1.0], [100.0]], 50, window=50
    )
    assert list(mixed.converged_steps) == [50, 0]
    value = seqsolve.lyapunov_exponent(mixed)
    np.testing.assert_allclose(value[0], np.log(0.5))
    assert np.isnan(value[1])


def test_exponent_without_steps():
    assert np.isnan(exponent(lambda y, x: y, [1.0], 0))


@pytest.mark.parametrize("structure", ["diagonal", "block_diagonal", "dense"])
def test_exponent_is_that_of_the_products_of_the_jacobians(structure):
    r = random_recurrence(structure, np.random.default_rng(6), 400, (2,), gain=0.9)
    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0)
    y_prev = np.concatenate([r.y0[None], solution.y[:-1]])
    dense = seqsolve.deer(r.f, "cs", r.x, r.y0)
    J = np.zeros((400, 2, 4, 4))
    for j in range(4):
        z = y_prev.astype(complex)
        z[..., j] += 1e-30j
        J[..., j] = r.f(z, r.x).imag / 1e-30
    expected = []
    for s in range(2):
        v, total = np.ones(4), 0.0
        for t in range(400):
            v = J[t, s] @ v
            total += np.log(np.linalg.norm(v))
            v /= np.linalg.norm(v)
        expected.append(total / 400)
    for found in (solution, dense):
        # the first vector is another, which matters for a while
        np.testing.assert_allclose(seqsolve.lyapunov_exponent(found), expected, atol=0.02)
