"""What a gradient looks at before it is made: that the recurrence and its Jacobian are right."""

from __future__ import annotations

import numpy as np
import pytest
from support.steps import random_recurrence

import seqsolve
from seqsolve.step import ArrayStep, StepCotangents


def change_weights(weights, x, y):
    weights *= 1.5


def change_input(weights, x, y):
    x += 0.25


def change_trajectory(weights, x, y):
    y -= y.mean(axis=0)


@pytest.mark.parametrize("change", [change_weights, change_input, change_trajectory])
@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("window", [1, 40])
def test_a_recurrence_that_has_changed_since_is_an_error(change, batch, window):
    """What its gradient would be of is neither the old trajectory nor the new one."""
    rng = np.random.default_rng(0)
    weights, x = 0.4 * rng.standard_normal((2, 2)), 1 + rng.standard_normal((40, *batch, 2))
    y0, g = np.zeros((*batch, 2)), rng.standard_normal((40, *batch, 2))
    solution = seqsolve.deer(lambda y, x: np.tanh(y @ weights + x), "cs", x, y0, window=window)
    seqsolve.vjp(solution, g)
    change(weights, x, solution.y)
    with pytest.raises(ValueError, match=r"`solution` must still solve .*: some states differ by"):
        seqsolve.vjp(solution, g)


@pytest.mark.parametrize("tolerance", [0.1, 1e-3])
def test_residuals_are_no_change_of_the_recurrence(tolerance):
    x = np.random.default_rng(0).standard_normal((40, 2))
    f = lambda y, x: np.tanh(1.2 * y + x)  # noqa: E731
    solution = seqsolve.deer(f, "cs", x, np.zeros(2), rtol=tolerance, atol=tolerance, window=40)
    assert solution.residual > 1e-9
    seqsolve.vjp(solution, np.ones((40, 2)))


NOT_ITS_JACOBIAN = {
    "sign": lambda y: -0.5 * (1 - y**2),
    "a factor of 1.05": lambda y: 0.525 * (1 - y**2),
    "zero": lambda y: 0 * y,
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("wrong", NOT_ITS_JACOBIAN.values(), ids=NOT_ITS_JACOBIAN)
def test_gradients_with_a_jacobian_of_something_else_warn(wrong, batch, dtype):
    """It finds the right trajectory, in more iterations, and a wrong gradient."""
    rng = np.random.default_rng(0)
    x, g = 0.3 * rng.standard_normal((2, 40, *batch, 2)).astype(dtype)

    def f(y, x):
        return np.tanh(0.5 * y + x)

    def vjp(y, x, lam):
        return StepCotangents(0.5 * (1 - f(y, x) ** 2) * lam, None, None)

    def solve(jac, f=f):
        return seqsolve.deer(f, jac, x, np.zeros((*batch, 2), dtype))

    right = seqsolve.vjp(solve(lambda y, x: 0.5 * (1 - f(y, x) ** 2)), g).y0
    solution = solve(lambda y, x: wrong(f(y, x)))
    assert solution.success
    with pytest.warns(RuntimeWarning, match="The Jacobian that `jac` gives is not that of `f`"):
        seqsolve.vjp(solution, g)
    tolerance = 1e-5 if dtype == "float32" else 1e-9
    own = seqsolve.vjp(solve(lambda y, x: wrong(f(y, x)), ArrayStep(f, vjp=vjp)), g).y0
    np.testing.assert_allclose(own, right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("structure", ["diagonal", "block_diagonal", "dense"])
def test_right_jacobians_of_every_structure_do_not_warn(structure):
    r = random_recurrence(structure, np.random.default_rng(3), 50, (2,))
    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0)
    seqsolve.vjp(solution, np.ones_like(solution.y))
