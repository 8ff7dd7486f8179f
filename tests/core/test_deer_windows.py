"""Which windows are solved, which of their steps are evaluated, and by whose choice."""

from __future__ import annotations

import numpy as np
import pytest
from support.steps import Counted, assert_solves, logistic, random_recurrence

import seqsolve
from seqsolve import Status
from seqsolve.portable import PortableBackend


class Chooses(PortableBackend):
    """Wants windows of a given size, and keeps what it was told."""

    def __init__(self, window):
        super().__init__("chooses", np)
        self.window = window
        self.told = []

    def default_window(self, **sizes):
        self.told.append(sizes)
        return self.window


@pytest.mark.parametrize("window", [1, 7, 30, 1000])
def test_the_backend_chooses_the_window(window):
    r = random_recurrence("block_diagonal", np.random.default_rng(0), 30, (2, 3), 4)
    backend = Chooses(window)
    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0, backend=backend)
    assert_solves(solution, r.f, r.x, r.y0)
    if window == 1:
        assert solution.status is Status.SEQUENTIAL
        assert solution.njev <= 1
    else:
        assert [record.start for record in solution.history] == list(range(0, 30, window))
    sizes = {"n_steps": 30, "n_batch": 6, "n_state": 4, "n_jacobian": 8, "dtype": "float64"}
    assert backend.told == [sizes]


@pytest.mark.parametrize("solver", [seqsolve.deer, seqsolve.deeppcr])
def test_who_names_a_linear_solver_wants_to_solve(solver):
    """Though the backend would rather step."""
    r = random_recurrence("dense", np.random.default_rng(1), 30, (2, 3))
    options = {"linear_solver": "scan"} if solver is seqsolve.deer else {}
    solution = solver(r.f, r.jac, r.x, r.y0, backend=Chooses(1), **options)
    assert_solves(solution, r.f, r.x, r.y0)
    assert solution.status is Status.CONVERGED
    assert len(solution.history) == 1


def test_windows_of_a_named_linear_solver_keep_to_a_few_megabytes():
    n_steps, n_state = 200, 128
    r = random_recurrence("dense", np.random.default_rng(2), n_steps, (), n_state)
    solution = seqsolve.deer(r.f, r.jac, r.x, r.y0, backend=Chooses(1), linear_solver="sequential")
    assert solution.success
    sizes = [record.stop - record.start for record in solution.history]
    assert max(sizes) * n_state**2 * 8 <= 2**22
    assert len(sizes) == -(-n_steps // max(sizes))


def test_gradients_never_go_step_by_step():
    """Where the backend would rather step, they take more together all the same."""
    r = random_recurrence("dense", np.random.default_rng(3), 300, (2,))
    jac = Counted(r.jac)
    solution = seqsolve.deer(r.f, jac, r.x, r.y0, backend=Chooses(1))
    jac.calls = 0
    seqsolve.vjp(solution, np.ones_like(solution.y))
    assert jac.calls == 1 + 1  # a trial on a few steps, and all together
    solution.error_bound()
    seqsolve.lyapunov_exponent(solution)
    assert jac.calls == 2 + 2


@pytest.mark.parametrize("batch", [(), (2,)])
def test_steps_that_are_solved_are_not_evaluated_again(batch):
    """Where every iteration solves one step more, these are about half of all."""
    n_steps = 64
    f, jac = Counted(logistic), Counted(lambda y, x: 4 - 8 * y)
    y0 = np.full((*batch, 1), 0.3)
    solution = seqsolve.deer(f, jac, None, y0, n_steps=n_steps, window=n_steps)
    assert solution.success
    assert solution.nit == n_steps
    of_all = solution.nit * n_steps * max(1, y0.size)
    assert f.points < 0.65 * of_all
    assert jac.points < 0.65 * of_all


@pytest.mark.parametrize("n_jacobian", [8, 64])
@pytest.mark.parametrize("n_batch", [0, 1, 1000])
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("n_steps", [1, 100, 10**9])
def test_portable_windows_are_a_few_megabytes(n_jacobian, n_batch, dtype, n_steps):
    """Of Jacobians and eight arrays of states; 16 steps at least, if more than there are."""
    window = PortableBackend("portable", np).default_window(
        n_steps=n_steps, n_batch=n_batch, n_state=8, n_jacobian=n_jacobian, dtype=dtype
    )
    size = n_batch * (n_jacobian + 8 * 8) * np.dtype(dtype).itemsize
    assert 16 <= window <= max(16, n_steps)
    assert window == 16 or window * size <= 2**24
    assert window >= n_steps or (window + 1) * max(size, 1) > 2**24
