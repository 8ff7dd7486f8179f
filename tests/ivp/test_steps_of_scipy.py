"""The trajectories of a batch take the very steps that SciPy takes with explicit methods."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp as scipys
from support.odes import lotka_volterra, van_der_pol

from seqsolve import solve_ivp

STAGES = {"RK23": 3, "RK45": 6, "DOP853": 12}
Y0 = np.array([[2.0, 3.0, 2.5], [1.0, 0.5, 3.0]])


def wave(t, y):
    return 1j * y * np.array([[1.0], [3.0]]).reshape(-1, *[1] * (np.ndim(y) - 1)) + np.cos(t)


@pytest.mark.parametrize("method", STAGES)
@pytest.mark.parametrize(
    ("fun", "span", "y0", "options"),
    [
        (lotka_volterra, (0, 4), Y0, {"rtol": 1e-6, "atol": 1e-8}),
        (lotka_volterra, (3, -1), Y0, {"rtol": [1e-6, 1e-3], "atol": [1e-4, 1e-8]}),
        (van_der_pol(5.0), (1, 6), Y0, {}),
        (van_der_pol(5.0), (0, 5), Y0, {"first_step": 0.3, "rtol": 1e-5}),
        (lotka_volterra, (0, 2), Y0, {"max_step": 0.05, "rtol": 1e-2}),
        (lotka_volterra, (0, 1e-3), Y0, {}),
        (wave, (-1, 2), Y0 * (1 + 1j), {"rtol": 1e-5, "atol": 1e-5}),
        (lambda t, y: 1 + 0 * y, (0, 1), 0 * Y0, {}),
        (lambda t, y: 0 * y, (0, 1), Y0, {}),
        (lambda t, y: y**2 * 1e6, (0, 1e-7), Y0, {}),
    ],
)
def test_steps(method, fun, span, y0, options):
    together = solve_ivp(fun, span, y0, method, **options).trajectory
    for i in range(3):
        theirs = scipys(fun, span, y0[:, i], method, **options)
        mine = together.lane == i
        np.testing.assert_allclose(together.t[mine], theirs.t, rtol=1e-4)
        np.testing.assert_allclose(together.y[mine], theirs.y.T, rtol=1e-4)
        alone = solve_ivp(fun, span, y0[:, i : i + 1], method, **options)
        attempts = (theirs.nfev - (1 if "first_step" in options else 2)) / STAGES[method]
        assert alone.n_sequential == attempts


@pytest.mark.parametrize("method", [*STAGES, "Radau"])
def test_a_trajectory_that_fails_changes_no_other(method):
    def fun(t, y):
        return np.where(y > 5, np.nan, y**2)

    together = solve_ivp(fun, (0, 1.5), [[0.5, 2.0, 0.3]], method)
    np.testing.assert_array_equal(together.success, [True, False, True])
    for i, y0 in ((0, 0.5), (2, 0.3)):
        alone = solve_ivp(fun, (0, 1.5), [[y0]], method).trajectory
        mine = together.trajectory.lane == i
        np.testing.assert_allclose(together.trajectory.t[mine], alone.t, rtol=1e-9)
