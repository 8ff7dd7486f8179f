"""Stages of implicit methods with one Jacobian for a step, against those by Newton's method."""

from __future__ import annotations

import numpy as np
import pytest

from seqsolve import solve_ivp
from seqsolve.ivp import METHODS, Points, RightHandSide
from seqsolve.ivp import _implicit as implicit
from seqsolve.ivp._implicit import ImplicitRungeKutta
from seqsolve.ivp._stage_equations import OneJacobian, spectrum, stage_matrix

N, M = 10, 6


class Defective(ImplicitRungeKutta):
    """Two stages with one eigenvalue and one eigenvector."""

    name, order, error_order = "Defective", 2, 2
    g = 1 - 0.5**0.5
    A = np.array([[g, 0], [1 - g, g]])
    c = np.array([g, 1.0])


SCHEMES = {k: m for k, m in METHODS.items() if issubclass(m, ImplicitRungeKutta)}


def rotating(t, y):
    """Stiff, not linear, of any dtype."""
    return np.stack([-(10.0 ** (k % 4)) * (y[k] - np.cos(y[k - 1])) for k in range(len(y))])


def equation(dtype, mass=None):
    return RightHandSide(rotating, None, (0, 1), np.ones(N, dtype), mass=mass)


def some_points(dtype):
    rng = np.random.default_rng(0)
    y = rng.standard_normal((M, N)).astype(dtype)
    return Points(np.zeros(M), np.geomspace(1e-4, 0.1, M), y + 0.1j if dtype is complex else y)


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("dtype", [float, complex])
def test_linear_systems_are_those_of_all_stages(name, dtype):
    rng, method, rhs = np.random.default_rng(1), SCHEMES[name](), equation(dtype)
    J = rng.standard_normal((M, N, N)).astype(dtype)
    h, s = rng.uniform(0.1, 1, M), len(method.c)
    right = rng.standard_normal((2, s, N)).astype(dtype)
    rows = np.array([4, 1])
    found = OneJacobian(rhs, spectrum(method.A, J.dtype), J, h).solve(right, rows)
    assert found.dtype == J.dtype
    M_all = stage_matrix(rhs, method.A, np.repeat(J[rows, None], s, axis=1), h[rows])
    exact = np.linalg.solve(M_all, right.reshape(2, s * N, 1)).reshape(right.shape)
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", [*SCHEMES, "Defective"])
@pytest.mark.parametrize("dtype", [float, complex])
def test_stages_are_those_of_newtons_method(name, dtype, monkeypatch):
    method = {**SCHEMES, "Defective": Defective}[name]()
    at = some_points(dtype)
    found = method.stages(equation(dtype), at)
    monkeypatch.setattr(implicit, "MANY", N + 1)
    exact = method.stages(equation(dtype), at)
    assert np.isfinite(exact).all()
    np.testing.assert_allclose(found, exact, rtol=1e-8, atol=1e-11)


def test_which_tableaux_are_diagonalisable():
    assert spectrum(Defective.A, np.dtype(float)) is None
    assert len(spectrum(METHODS["Radau"].A, np.dtype(float)).values) == 2
    assert len(spectrum(METHODS["Radau"].A, np.dtype(complex)).values) == 3


def test_with_a_mass_matrix(monkeypatch):
    mass = np.diag(np.arange(1.0, N + 1))
    mass[0, 1] = 0.5
    at, method = some_points(float), METHODS["Radau"]()
    found = method.stages(equation(float, mass), at)
    monkeypatch.setattr(implicit, "MANY", N + 1)
    exact = method.stages(equation(float, mass), at)
    np.testing.assert_allclose(found, exact, rtol=1e-8, atol=1e-11)


def test_steps_that_are_too_long_do_not_disturb_others():
    rhs = RightHandSide(lambda t, y: y**2, None, (0, 1), np.ones(N))
    at = Points(np.zeros(3), np.array([0.01, 1e3, 0.02]), np.ones((3, N)))
    with np.errstate(all="ignore"):
        y = METHODS["Radau"]().step(rhs, at)
    np.testing.assert_allclose(y[[0, 2]], np.outer(1 / (1 - at.h[[0, 2]]), np.ones(N)), rtol=1e-9)
    assert np.isnan(y[1]).all()


def test_fewer_jacobians():
    y0 = np.linspace(0.5, 1, N)[:, None]
    result = solve_ivp(rotating, (0, 1), y0, "Radau", rtol=1e-6)
    assert result.success.all()
    assert result.njev < 2 * result.n_sequential
