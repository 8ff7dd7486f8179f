"""States too large for the stack: solved another way, or refused, and never a crash."""

from __future__ import annotations

import numpy as np
import pytest

import seqsolve
from seqsolve import BlockDiagonal, ElementStepError, element_step
from seqsolve.portable import PortableBackend
from seqsolve_numba import NumbaBackend

BACKEND, ORACLE = NumbaBackend(), PortableBackend("oracle", np)


def halve(y_prev, x, params, y_out):
    for i in range(len(y_prev)):
        y_out[i] = 0.5 * y_prev[i] + 1.0


def halve_dense(y_prev, x, params, jac_out):
    for i in range(len(y_prev)):
        for j in range(len(y_prev)):
            jac_out[i, j] = 0.5 if i == j else 0.0


@pytest.mark.parametrize("n", [4096, 4097, 9000])
@pytest.mark.parametrize("reverse", [False, True])
def test_wide_diagonal_recurrences_are_solved_in_pieces(n, reverse):
    rng = np.random.default_rng(n)
    A, b = rng.uniform(-1, 1, (2, 4, 2, n))
    options = {"reverse": reverse, "transpose": False, "out": None}
    for y0 in (None, rng.standard_normal((2, n))):
        ours = BACKEND.linear_recurrence(A, b, y0, method="auto", **options)
        exact = ORACLE.linear_recurrence(A, b, y0, method="sequential", **options)
        np.testing.assert_allclose(ours, exact, 1e-13, 1e-13)
    y, other = rng.standard_normal((2, 4, 2, n))
    fy, same = other, y.copy()
    BACKEND.newton_update(A, fy, y, method="auto")
    ORACLE.newton_update(A, fy, same, method="sequential")
    np.testing.assert_allclose(y, same, 1e-13, 1e-13)


def test_a_million_states():
    b = np.ones((2, 1_200_000))
    assert (seqsolve.linear_recurrence(0.5 * b, b, backend=BACKEND)[-1] == 1.5).all()


def test_jacobians_that_do_not_fit_are_iterated_on_arrays():
    cell = element_step(halve, halve_dense, n_state=128)
    assert not BACKEND.fuses(cell, "float64")
    solution = seqsolve.deer(
        cell, None, None, np.zeros(128), n_steps=5, window=5, backend=BACKEND, on_failure="raise"
    )
    np.testing.assert_array_equal(solution.y[-1], 2 - 0.5**4)


@pytest.mark.parametrize(
    ("n", "structure", "dtype", "fits"),
    [
        (63, "dense", "float64", True),
        (64, "dense", "float64", False),
        (64, "dense", "float32", True),
        (1024, "diagonal", "float64", True),
        (4096, "diagonal", "float64", False),
        (512, BlockDiagonal(4), "float64", True),
        (512, BlockDiagonal(32), "float64", False),
    ],
)
def test_what_fits(n, structure, dtype, fits):
    cell = element_step(halve, halve, n_state=n, jac_structure=structure)
    assert BACKEND.fuses(cell, dtype) == fits


def test_what_cannot_be_held_is_refused():
    with pytest.raises(ElementStepError, match=r"at most 262144 states and inputs .*got 300000 st"):
        seqsolve.sequential(
            element_step(halve, n_state=300_000),
            None,
            np.zeros(300_000),
            n_steps=2,
            backend=BACKEND,
        )
    h = seqsolve.triangular_map(
        element_step(halve, n_state=5000), None, np.zeros(5000), n_steps=3, backend=BACKEND
    )
    with pytest.raises(ValueError, match=r"`h` must have at most 4096 states .*got 5000"):
        seqsolve.jacobi(h, np.zeros((3, 5000)))
