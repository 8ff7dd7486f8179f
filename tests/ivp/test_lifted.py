"""Iterations on all states and stages at once, against the methods' own steps."""

from __future__ import annotations

import numpy as np
import pytest
from support.odes import pendulum, robertson

from seqsolve import solve_ivp
from seqsolve.ivp import METHODS, DenseOutput, Method, Points, RightHandSide
from seqsolve.ivp._explicit import ExplicitRungeKutta
from seqsolve.ivp._lifted import Iterate, Unlifted, lifted


class Borrowed(Method):
    """A method that gives only its step."""

    name, order, error_order = "Borrowed", 4, 4

    def step(self, rhs, at):
        return METHODS["RK4"]().step(rhs, at)

    def linearize(self, rhs, at):
        return METHODS["RK4"]().linearize(rhs, at)

    def recorded(self, rhs, at):
        return METHODS["RK4"]().recorded(rhs, at)


SCHEMES = {**METHODS, "Borrowed": Borrowed}
MESH = np.array([0, 0.1, 0.3, 0.35, 0.7, 0.9, 1.0])
Y0 = np.array([1.0, 0.5])


def rhs_of(fun, jac=None, y0=Y0, mass=None):
    return RightHandSide(fun, jac, (0.0, 1.0), y0, mass=mass)


def constant(equations, mesh=MESH, y0=Y0):
    Y = np.broadcast_to(y0, (len(equations.c), mesh.size - 1, y0.size)).copy()
    return Iterate(mesh, y0, Y, equations.new)


def steps(method, rhs, mesh=MESH, y0=Y0):
    states = [y0]
    for t, h in zip(mesh[:-1], np.diff(mesh), strict=True):
        states.append(method.step(rhs, Points(np.array([t]), np.array([h]), states[-1][None]))[0])
    return np.array(states)


def solved(method, rhs, iterations=8, mesh=MESH, y0=Y0):
    equations = lifted(method)
    iterate = constant(equations, mesh, y0)
    for _ in range(iterations):
        update = equations.update(rhs, iterate)
        iterate = update.iterate
    return update


@pytest.mark.parametrize("name", SCHEMES)
def test_the_limit_is_the_methods_recurrence(name):
    method, rhs = SCHEMES[name](), rhs_of(pendulum)
    update = solved(method, rhs)
    np.testing.assert_allclose(update.iterate.y, steps(method, rhs), rtol=1e-12)
    assert np.abs(update.change).max() < 1e-12
    assert np.abs(update.defect).max() < 1e-12
    assert np.abs(update.moved).max() < 1e-12


@pytest.mark.parametrize("name", SCHEMES)
def test_errors_and_interpolants_are_those_of_single_steps(name):
    method, rhs = SCHEMES[name](), rhs_of(pendulum)
    update = solved(method, rhs)
    made = method.attempt(rhs, update.iterate.at)
    np.testing.assert_allclose(update.made.y, made.y, rtol=1e-12)
    np.testing.assert_allclose(update.made.error, made.error, rtol=1e-6, atol=1e-11)
    np.testing.assert_allclose(update.made.coefficients, made.coefficients, atol=1e-8)


@pytest.mark.parametrize("name", SCHEMES)
def test_iterations_converge_with_order_two(name):
    method, rhs, equations = SCHEMES[name](), rhs_of(pendulum), lifted(SCHEMES[name]())
    exact = steps(method, rhs)
    iterate, errors = constant(equations), []
    for _ in range(4):
        iterate = equations.update(rhs, iterate).iterate
        errors.append(np.abs(iterate.y - exact).max())
    assert errors[1] < errors[0] ** 1.5
    assert errors[2] < max(errors[1] ** 1.5, 1e-13)
    assert errors[3] < 1e-11


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"DEER"}))
@pytest.mark.parametrize(("jac", "calls"), [(None, 1), (lambda t, y: [[0, 1], [-2, 0]], 2)])
def test_a_linear_equation_takes_one_iteration_of_one_call(name, jac, calls):
    method, rhs = METHODS[name](), rhs_of(lambda t, y: [y[1], -2 * y[0]], jac)
    before = rhs.depth
    update = solved(method, rhs, iterations=1)
    assert rhs.depth - before == calls
    np.testing.assert_allclose(update.iterate.y, steps(method, rhs), rtol=1e-6)


def test_a_sample_is_taken_at_the_stages():
    trajectory = DenseOutput(np.array([0.0, 1.0]), np.array([[[1.0, 2.0]], [[3.0, -1.0]]]))
    equations = lifted(METHODS["RK45"]())
    iterate = equations.sampled(MESH, Y0, trajectory)
    times = MESH[:-1] + equations.c[:, None] * np.diff(MESH)
    np.testing.assert_allclose(iterate.Y[..., 0], 1 + 3 * times)
    np.testing.assert_array_equal(iterate.y[0], Y0)
    np.testing.assert_allclose(iterate.y[1:, 1], 2 - MESH[1:])


def test_tableaux_of_integers():
    """Heun's method: stable for steps up to 2 over the spectral radius."""

    class Heun(ExplicitRungeKutta):
        name, order, error_order = "Heun", 2, 2
        A, b, c = np.array([[0, 0], [1, 0]]), np.array([0.5, 0.5]), np.array([0, 1])

    assert lifted(Heun()).stability == pytest.approx(2, abs=0.02)
    result = solve_ivp(lambda t, y: -y, (0, 1), [1.0], Heun, rtol=1e-4)
    np.testing.assert_allclose(result.y[0, -1], np.exp(-1), rtol=1e-3)


def test_complex_states():
    method, y0 = METHODS["RK45"](), np.array([1.0 + 0.5j])
    rhs = rhs_of(lambda t, y: 1j * y - y**2, y0=y0)
    update = solved(method, rhs, y0=y0)
    np.testing.assert_allclose(update.iterate.y, steps(method, rhs, y0=y0), rtol=1e-11)


def test_a_singular_mass_matrix():
    """Robertson's problem with its conservation law in place of the last equation."""

    def dae(t, y):
        a, b, _ = robertson(t, y)
        return [a, b, y[0] + y[1] + y[2] - 1]

    y0, mesh = np.array([1.0, 0, 0]), np.concatenate([[0], np.geomspace(1e-4, 10, 40)])
    mass = np.diag([1.0, 1.0, 0.0])
    y = solved(METHODS["Radau"](), rhs_of(dae, y0=y0, mass=mass), 20, mesh, y0).iterate.y
    exact = solve_ivp(robertson, (0, 10), y0, "Radau", t_eval=mesh, rtol=1e-9, atol=1e-13).y.T
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(y, exact, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize(("name", "size"), [("RK45", 3.306), ("RK4", 2.785), ("DOP853", 6.4)])
def test_stability_intervals(name, size):
    """The step may take a decay as far as that, and no further."""
    method, equations = METHODS[name](), lifted(METHODS[name]())
    assert equations.stability == pytest.approx(size, abs=0.02)
    for factor, grows in ((0.98, False), (1.02, True)):
        rhs = rhs_of(lambda t, y: -y, y0=np.ones(1))
        h = np.array([factor * equations.stability])
        y = method.step(rhs, Points(np.zeros(1), h, np.ones((1, 1))))
        assert (np.abs(y[0, 0]) > 1) is np.bool_(grows)


@pytest.mark.parametrize("name", ["Radau", "ImplicitEuler", "Trapezoid"])
def test_implicit_methods_are_stable_at_any_step(name):
    assert lifted(METHODS[name]()).stability == np.inf


def test_a_method_that_gives_only_its_step():
    assert isinstance(lifted(Borrowed()), Unlifted)
    ours = solve_ivp(pendulum, (0, 10), [1, 0], Borrowed, rtol=1e-8, atol=1e-10)
    exact = solve_ivp(pendulum, (0, 10), [1, 0], "DOP853", rtol=1e-12, atol=1e-13)
    assert ours.success
    assert ours.n_sequential == 0
    np.testing.assert_allclose(ours.y[:, -1], exact.y[:, -1], atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_a_step_that_blows_up_does_not_harm_those_before(name):
    """The last step jumps over the pole of y' = y^2."""
    mesh, y0 = np.append(np.linspace(0, 0.5, 9), 100.0), np.ones(1)
    rhs = rhs_of(lambda t, y: y**2, y0=y0)
    equations = lifted(METHODS[name]())
    iterate = constant(equations, mesh, y0)
    with np.errstate(all="ignore"):
        for _ in range(10):
            iterate = equations.update(rhs, iterate).iterate
    good = steps(METHODS[name](), rhs, mesh[:-1], y0)
    np.testing.assert_allclose(iterate.y[:-1], good, rtol=1e-8)
