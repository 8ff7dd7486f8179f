"""DEER's exponential method, and the matrix functions in it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp as scipys
from scipy.linalg import expm
from support.odes import lotka_volterra, van_der_pol

from seqsolve import solve_ivp
from seqsolve.ivp import METHODS, Points, RightHandSide
from seqsolve.ivp._phi import phi, phi1_derivative


def exact_phi(Z):
    """The functions from the exponential of a larger matrix, by SciPy."""
    n = len(Z)
    big = np.zeros((3 * n, 3 * n))
    big[:n, :n] = Z
    big[:n, n : 2 * n] = big[n : 2 * n, 2 * n :] = np.eye(n)
    e = expm(big)
    return e[:n, :n], e[:n, n : 2 * n], e[:n, 2 * n :]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_functions_of_matrices(n):
    rng = np.random.default_rng(n)
    sizes = np.array([0, 1e-8, 0.1, 0.5, 1.0, 3.0, 20.0])
    Z = rng.standard_normal((7, n, n)) * sizes[:, None, None]
    for Zi, *functions in zip(Z, *phi(Z), strict=True):
        for value, exact in zip(functions, exact_phi(Zi), strict=True):
            np.testing.assert_allclose(value, exact, atol=1e-12 * np.abs(exact).max())


def test_functions_of_large_negative_and_unusable_numbers():
    z = np.array([-1e-3, -1.0, -50.0, -1e6, -1e12])
    e, one, two = (f[:, 0, 0] for f in phi(z[:, None, None]))
    np.testing.assert_allclose(e, np.exp(z), rtol=1e-10)
    np.testing.assert_allclose(one, np.expm1(z) / z, rtol=1e-13)
    np.testing.assert_allclose(two[1:], ((np.expm1(z) / z - 1) / z)[1:], rtol=1e-13)
    for bad in (np.nan, np.inf, 1e300):
        assert np.isnan(phi(np.full((1, 1, 1), bad)).one).all()
    assert not np.isfinite(phi(np.full((1, 1, 1), 1e4)).exp).any()


def test_the_derivative_of_phi1():
    rng = np.random.default_rng(0)
    Z, E = rng.standard_normal((2, 4, 3, 3))
    eps = 1e-6
    difference = (phi(Z + eps * E).one - phi(Z - eps * E).one) / (2 * eps)
    np.testing.assert_allclose(phi1_derivative(Z, E), difference, atol=1e-8)


def test_linear_equations_are_solved_exactly():
    rng = np.random.default_rng(1)
    A, b = rng.standard_normal((3, 3)) - 20 * np.diag([0, 1, 100]), rng.standard_normal(3)
    rhs = RightHandSide(
        lambda t, y: np.tensordot(A, y, 1) + (b if y.ndim == 1 else b[:, None]), A, (0, 1),
        np.ones(3),
    )  # fmt: skip
    y = METHODS["DEER"]().step(rhs, Points(np.zeros(1), np.ones(1), np.ones((1, 3))))
    fixed = -np.linalg.solve(A, b)
    np.testing.assert_allclose(y[0], fixed + expm(A) @ (1 - fixed), rtol=1e-10)


@pytest.mark.parametrize(
    ("fun", "end", "y0"),
    [
        (lambda t, y: lotka_volterra(t, y, 1.5, 1, 3, 1), 5.0, [10.0, 5.0]),
        (van_der_pol(5.0), 10.0, [2.0, 0.0]),
        (van_der_pol(1000.0), 100.0, [2.0, 0.0]),
        (lambda t, y: -1e5 * (y - np.cos(t)), 2.0, [0.0]),
    ],
)
def test_where_the_published_solver_diverges_and_on_stiff_problems(fun, end, y0):
    result = solve_ivp(fun, (0, end), y0, "DEER", rtol=1e-3, atol=1e-5)
    exact = scipys(fun, (0, end), y0, "LSODA", rtol=1e-8, atol=1e-10)
    assert result.success
    size = np.abs(exact.y).max(axis=1)
    error = np.abs(result.y[:, -1] - exact.y[:, -1]) / size
    assert error.max() < result.t.size * 1e-3


def test_a_step_that_is_too_long_is_refused():
    rhs = RightHandSide(lambda t, y: y**2, None, (0.0, 1.0), np.array([1.0]))
    at = Points(np.zeros(2), np.array([0.01, 1e3]), np.ones((2, 1)))
    with np.errstate(all="ignore"):
        y = METHODS["DEER"]().step(rhs, at)
    np.testing.assert_allclose(y[0], 1 / 0.99, rtol=1e-6)
    assert np.isnan(y[1])
