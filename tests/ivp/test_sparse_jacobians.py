"""`jac_sparsity`: fewer evaluations, the same Jacobians."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp as scipys
from scipy.sparse import diags_array

from seqsolve import solve_ivp
from seqsolve.ivp import RightHandSide, vjp
from seqsolve.ivp._columns import Columns

N = 24
TRIDIAGONAL = diags_array([np.ones(N), np.ones(N - 1), np.ones(N - 1)], offsets=[0, 1, -1])


def burgers(t, u, viscosity=0.02):
    """Burgers' equation on a grid: states are coupled to their neighbours."""
    padded = np.concatenate([0 * u[:1], u, 0 * u[:1]])
    left, right, h = padded[:-2], padded[2:], 1 / (N + 1)
    return viscosity * (left - 2 * u + right) / h**2 - u * (right - left) / (2 * h)


U0 = np.sin(2 * np.pi * np.linspace(0, 1, N + 2)[1:-1])


@given(st.integers(1, 12), st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_linear_map_is_recovered(n, density, seed):
    rng = np.random.default_rng(seed)
    pattern = rng.random((n, n)) < density
    A, y = np.where(pattern, rng.standard_normal((n, n)), 0), rng.standard_normal((3, n))
    columns = Columns(n, pattern)
    assert len(columns.directions) <= n
    moved = columns.displaced(y, np.full(y.shape, 0.5))
    found = columns.jacobian(moved @ A.T - (y @ A.T)[:, None], columns.own(moved) - y)
    np.testing.assert_allclose(found, np.broadcast_to(A, found.shape), atol=1e-13)


def test_a_banded_jacobian_takes_as_many_directions_as_diagonals():
    assert len(Columns(N, TRIDIAGONAL.toarray() != 0).directions) == 3
    assert len(Columns(N).directions) == N


@pytest.mark.parametrize("central", [False, True])
def test_jacobians_are_those_without(central):
    def rhs(pattern):
        return RightHandSide(burgers, None, (0, 1), U0, pattern=pattern)

    t, y = np.zeros(2), np.stack([U0, U0**2])
    dense = rhs(None).jacobian(t, y, central=central)
    sparse = rhs(TRIDIAGONAL.toarray() != 0).jacobian(t, y, central=central)
    np.testing.assert_allclose(sparse, dense, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["RK45", "Radau"])
@pytest.mark.parametrize("shape", [(N,), (N, 2)])
def test_the_same_solution_for_fewer_evaluations(method, shape):
    y0 = np.broadcast_to(U0.reshape(N, *(1,) * (len(shape) - 1)), shape)
    options = {"rtol": 1e-6, "atol": 1e-8, "t_eval": [0.05, 0.1]}
    options["steps"] = "together" if len(shape) == 1 else "auto"
    dense = solve_ivp(burgers, (0, 0.1), y0, method, **options)
    sparse = solve_ivp(burgers, (0, 0.1), y0, method, jac_sparsity=TRIDIAGONAL, **options)
    theirs = scipys(burgers, (0, 0.1), U0, "Radau", [0.05, 0.1], rtol=1e-9, atol=1e-11).y
    np.testing.assert_allclose(sparse.y.T, theirs.T + 0 * sparse.y.T, atol=1e-5)
    np.testing.assert_allclose(sparse.y, dense.y, atol=1e-6)
    if method == "Radau" or len(shape) == 1:
        assert dense.nfev - sparse.nfev > 0.9 * (N - 3) * dense.njev


def test_gradients():
    g = np.ones((N, 1))
    dense, sparse = (
        vjp(solve_ivp(burgers, (0, 0.1), U0, t_eval=[0.1], jac_sparsity=S), g).y0
        for S in (None, TRIDIAGONAL)
    )
    np.testing.assert_allclose(sparse, dense, rtol=1e-4, atol=1e-6)


def test_a_pattern_that_is_wrong_or_too_small():
    with pytest.raises(ValueError, match=r"`jac_sparsity` must have shape \(24, 24\)"):
        solve_ivp(burgers, (0, 1), U0, jac_sparsity=np.eye(3))
    with pytest.raises(ValueError, match="`jac_sparsity` must be nonzero wherever"):
        solve_ivp(burgers, (0, 1), U0, jac_sparsity=np.eye(N))
    result = solve_ivp(lambda t, y: -y, (0, 1), [1.0, 2.0], jac_sparsity=np.eye(2))
    np.testing.assert_allclose(result.y[:, -1], np.exp(-1) * np.array([1, 2]), rtol=1e-3)


def test_with_a_jacobian_nothing_is_differenced():
    result = solve_ivp(
        lambda t, y: -y, (0, 1), [1.0, 2.0], "Radau", jac=-np.eye(2), jac_sparsity=np.eye(2)
    )
    assert result.success
