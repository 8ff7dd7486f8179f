"""Banded Jacobians: the same results as with dense ones, without arrays of their size."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp as scipys
from scipy.sparse import csc_array, csr_matrix, diags_array

from seqsolve import solve_ivp
from seqsolve.ivp import RightHandSide, _bands, vjp
from seqsolve.ivp._banded_systems import BandedStages, Factors
from seqsolve.ivp._bands import Bands
from seqsolve.ivp._columns import Columns
from seqsolve.ivp._stage_equations import OneJacobian, solve_stages, spectrum, stage_matrix
from seqsolve.ivp.radau import Radau

N, M = 12, 24
X = np.linspace(0, 1, N + 2)[1:-1]
TRIDIAGONAL = diags_array([np.ones(N), np.ones(N - 1), np.ones(N - 1)], offsets=[0, 1, -1])


def reaction(t, u, rate=3.0):
    """Diffusion, and a reaction that is not linear; states depend on their neighbours."""
    padded = np.concatenate([0 * u[:1], u, 0 * u[:1]])
    return 0.05 * (padded[2:] - 2 * u + padded[:-2]) * (N + 1) ** 2 + rate * u * (1 - u)


def reaction_jac(t, u, rate=3.0):
    c = 0.05 * (N + 1) ** 2
    diagonal = -2 * c + rate * (1 - 2 * u)
    return diags_array([diagonal, np.full(N - 1, c), np.full(N - 1, c)], offsets=[0, 1, -1])


def some_pattern(n, density, seed):
    rng = np.random.default_rng(seed)
    near = abs(np.subtract.outer(np.arange(n), np.arange(n))) <= 2
    shuffle = rng.permutation(n)
    return (near & (rng.random((n, n)) < density) | np.eye(n, dtype=bool))[np.ix_(shuffle, shuffle)]


@given(st.integers(1, 12), st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_bands_are_matrices(n, density, seed):
    pattern = some_pattern(n, density, seed)
    rng, bands = np.random.default_rng(seed), Bands(csc_array(pattern))
    matrices = np.where(pattern, rng.standard_normal((3, n, n)), 0)
    entries, v = bands.gathered(matrices), rng.standard_normal((2, 3, n))
    assert entries.shape == (3, *bands.shape) == (3, n, 2 * bands.width + 1)
    np.testing.assert_array_equal(bands.dense(entries), matrices)
    np.testing.assert_array_equal(bands.scattered(csr_matrix(matrices[1])), entries[1])
    np.testing.assert_array_equal(bands.dense(bands.identity), np.eye(n))
    for transpose, M in ((False, matrices), (True, matrices.swapaxes(1, 2))):
        exact = (M @ v[..., None])[..., 0]
        found = bands.times(entries, v, transpose=transpose)
        np.testing.assert_allclose(found, exact, rtol=1e-12, atol=1e-12)
    columns, h = Columns(n, pattern), rng.uniform(0.5, 1, (3, n))
    change = rng.standard_normal((3, len(columns.directions), n))
    np.testing.assert_array_equal(
        bands.dense(columns.jacobian(change, h, bands)), columns.jacobian(change, h)
    )


def test_states_in_any_order_have_few_diagonals():
    shuffle = np.random.default_rng(0).permutation(N)
    assert Bands(csc_array(TRIDIAGONAL.toarray()[np.ix_(shuffle, shuffle)])).width == 1
    both = np.kron(np.ones((2, 2)), TRIDIAGONAL.toarray())  # two fields, one after the other
    assert Bands(csc_array(both)).width <= 3


def equation(dtype, mass):
    pattern = csc_array(some_pattern(M, 0.8, 3))
    rhs = RightHandSide(lambda t, y: -y, None, (0, 1), np.ones(M, dtype), mass=mass)
    rhs._pattern = pattern
    return rhs, rhs.banded(), pattern.toarray()


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("dtype", [float, complex])
@pytest.mark.parametrize("mass", [None, np.diag(np.arange(M) % 3.0)])
def test_linear_systems_are_those_of_dense_jacobians(dtype, mass):
    rng, A, h = np.random.default_rng(0), Radau.A, np.array([0.3, -0.1, 1.0, 0.2])
    dense, banded, pattern = equation(dtype, mass)
    J = np.where(pattern, rng.standard_normal((4, 3, M, M)), 0) - np.eye(M)
    J = J * (1 + 0.5j) if dtype is complex else J
    right, B = rng.standard_normal((4, 3, M)).astype(dtype), banded.bands.gathered(J)
    for transpose in (False, True):
        exact = solve_stages(dense, A, J, h, right, transpose=transpose)
        found = solve_stages(banded, A, B, h, right, transpose=transpose)
        np.testing.assert_allclose(found, exact, rtol=1e-8, atol=1e-10)
    assert banded.nlu == dense.nlu
    systems = BandedStages(banded, banded.bands, A, B, h)
    moved, own = systems.sweep(right, 2)
    whole, before = stage_matrix(dense, A, J, h), np.zeros(M, dtype)
    for k in range(4):
        begins = np.tile(dense.weighed(before), 3)
        exact = np.linalg.solve(whole[k], right[k].ravel() + begins).reshape(3, M)
        np.testing.assert_allclose(moved[k], exact, rtol=1e-7, atol=1e-9)
        alone = np.linalg.solve(whole[k], right[k].ravel()).reshape(3, M)
        np.testing.assert_allclose(own[k], alone, rtol=1e-8, atol=1e-10)
        before = exact[2]
    basis, rows = spectrum(A, np.dtype(dtype)), np.array([3, 1])
    found = OneJacobian(banded, basis, B[:, 0], h).solve(right[rows], rows)
    exact = OneJacobian(dense, basis, J[:, 0], h).solve(right[rows], rows)
    np.testing.assert_allclose(found, exact, rtol=1e-8, atol=1e-10)


def test_a_singular_matrix_gives_nan():
    x = Factors(np.zeros((5, 4)), 1).solve(np.ones((2, 5)))
    assert x.shape == (2, 5)
    assert np.isnan(x).all()


CASES = {
    "Radau": {},
    "Trapezoid": {"method": "Trapezoid", "rtol": 1e-3},
    "ImplicitEuler": {"method": "ImplicitEuler", "rtol": 1e-2},
    "backwards": {"t_span": (0.01, 0)},
    "complex": {"y0": X * (1 - X) + 0.1j * X},
    "mass": {"mass": 1 + X},
    "algebraic": {"mass": np.where(np.arange(N) == N - 1, 0, 1), "algebraic": True},
    "points": {"jac": lambda t, u: reaction_jac(t, u).toarray()},
    "sparse": {"jac": reaction_jac, "jac_sparsity": None},
    "constant": {"jac": reaction_jac(0, X), "jac_sparsity": None},
}


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_results_and_gradients_are_those_of_dense_jacobians(case, batch, monkeypatch):
    options = {
        "fun": reaction, "t_span": (0, 0.2), "y0": X * (1 - X), "method": "Radau",
        "jac_sparsity": TRIDIAGONAL, "rtol": 1e-4, "atol": 1e-6,
        "steps": "auto" if batch else "together",
    } | CASES[case]  # fmt: skip
    if options.pop("algebraic", False):

        def fun(t, u):
            f = reaction(t, u)
            return np.concatenate([f[:-1], u[-1:] - u[-2:-1] / 2])

        options["fun"] = fun
        options["y0"] = np.append(options["y0"][:-1], options["y0"][-2] / 2)
    if batch:
        options["y0"] = np.stack([options["y0"], 0.5 * options["y0"]], axis=1)
    ends = options["t_span"]
    options["t_eval"] = [ends[0] + 0.3 * (ends[1] - ends[0]), ends[1]]
    results, gradients = [], []
    for fewest in (np.inf, 0):
        monkeypatch.setattr(_bands, "_FEWEST", fewest)
        result = solve_ivp(**options)
        assert np.all(result.success)
        g = np.cos(np.arange(result.y.size)).reshape(result.y.shape)
        results.append(result)
        gradients.append(vjp(result, g).y0)
    dense, banded = results
    assert dense.trajectory.rhs.bands is None
    assert banded.trajectory.rhs.bands.width == 1
    assert banded.trajectory.t.size == dense.trajectory.t.size
    assert banded.depth == dense.depth
    np.testing.assert_allclose(banded.y, dense.y, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-6, atol=1e-8)


@pytest.fixture
def always(monkeypatch):
    """Banded Jacobians, however few states there are."""
    monkeypatch.setattr(_bands, "_FEWEST", 0)


@pytest.mark.usefixtures("always")
def test_gradients_with_respect_to_arguments():
    options = {"jac_sparsity": TRIDIAGONAL, "t_eval": [0.1, 0.5], "rtol": 1e-8, "atol": 1e-10}
    result = solve_ivp(reaction, (0, 0.5), X * (1 - X), "Radau", args=(3.0,), **options)
    assert result.trajectory.rhs.bands is not None
    gradient = vjp(result, np.ones_like(result.y)).args[0]
    low, high = (
        scipys(reaction, (0, 0.5), X * (1 - X), "Radau", [0.1, 0.5], args=(r,), rtol=1e-10,
               atol=1e-12).y.sum()
        for r in (2.999, 3.001)
    )  # fmt: skip
    np.testing.assert_allclose(gradient, (high - low) / 0.002, rtol=1e-5)


def test_many_states_take_little_memory():
    """Less than one dense Jacobian, for the solution and for its gradient."""
    n = 3000

    def heat(t, u):
        padded = np.concatenate([0 * u[:1], u, 0 * u[:1]])
        return padded[2:] - 2 * u + padded[:-2]

    places = {"offsets": [0, 1, -1], "shape": (n, n)}
    options = {"jac_sparsity": diags_array([1.0, 1.0, 1.0], **places), "rtol": 1e-2}
    u0 = np.sin(np.arange(n) / 30)
    tracemalloc.start()
    for start, steps in ((u0, "together"), (u0, "one by one"), (u0[:, None], "auto")):
        result = solve_ivp(heat, (0, 10), start, "Radau", t_eval=[10], steps=steps, **options)
        assert np.all(result.success)
        y0_bar = vjp(result, np.ones_like(result.y)).y0
        np.testing.assert_allclose(y0_bar[n // 2], 1, rtol=1e-6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * n**2


@pytest.mark.usefixtures("always")
def test_a_jacobian_outside_its_pattern():
    def jac(t, u):
        full = reaction_jac(t, u).toarray()
        if t > 0.1:
            full[0, 5] = 1.0
        return csc_array(full)

    with pytest.raises(ValueError, match=r"`jac` must be zero outside `jac_sparsity`.*row 0, col"):
        solve_ivp(reaction, (0, 0.5), X * (1 - X), "Radau", jac=jac)
