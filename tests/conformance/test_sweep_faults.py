"""The conformance cases find faults in fused sweeps, and the core trusts no more than it may."""

from __future__ import annotations

import numpy as np
import pytest

import seqsolve
from seqsolve.backend import FusedOutcome, FusedSteps, JacobiSweeps
from seqsolve.portable import PortableBackend
from seqsolve.testing import _oracle, check_backend, conformance_cases


class Sweeping(PortableBackend):
    """NumPy arrays, with the optional methods written as plain loops."""

    def __init__(self):
        super().__init__("sweeping", np)

    def element_window(self, step, *, n_steps, n_batch, n_jacobian, dtype):
        return 1

    def fuses(self, step, dtype):
        return True

    def march(self, step, x, y):
        for t in range(len(y) - 1):
            y[t + 1] = step(y[t], None if x is None else x[t])

    def newton_windows(self, step, x, y, **options):
        raise NotImplementedError

    def sweep_windows(self, step, x, y, *, rtol, atol, maxiter, window, block_size):
        x = None if x is None else np.broadcast_to(x, (len(x), y.shape[1], *x.shape[2:]))

        def f(y_prev, rows, k):
            return step(y_prev, None if x is None else x[rows, k])

        atol = float(np.max(atol)) + rtol
        options = {"maxiter": maxiter, "window": window, "block_size": block_size}
        return self.solve(f, y, atol, options)

    def solve(self, f, y, atol, options):
        return _oracle.sweep_windows(f, y, atol=atol, **options)


class ReadsTheWrongInput(Sweeping):
    def solve(self, f, y, atol, options):
        return super().solve(
            lambda s, rows, k: f(s, (rows - 1) % (len(y) - 1), k), y, atol, options
        )


class TakesNanForSuccess(Sweeping):
    def solve(self, f, y, atol, options):
        return super().solve(lambda s, rows, k: np.nan_to_num(f(s, rows, k)), y, atol, options)


class StopsTooEarly(Sweeping):
    def solve(self, f, y, atol, options):
        return super().solve(f, y, 1e3 * atol, options)


class IgnoresBlocks(Sweeping):
    def solve(self, f, y, atol, options):
        return super().solve(f, y, atol, {**options, "block_size": 1})


class IgnoresWindows(Sweeping):
    def solve(self, f, y, atol, options):
        whole = super().solve(f, y, atol, {**options, "window": len(y) - 1})
        n_windows = -(-(len(y) - 1) // options["window"])
        shape = (n_windows, y.shape[1])
        trace = np.zeros((n_windows, options["maxiter"]))
        return FusedOutcome(
            whole.converged, whole.stuck, np.ones(shape, int), np.zeros(shape), trace
        )


class StopsTogether(Sweeping):
    def solve(self, f, y, atol, options):
        outcome = super().solve(f, y, atol, options)
        return outcome._replace(nit=np.broadcast_to(outcome.nit.max(1)[:, None], outcome.nit.shape))


class SweepsOnceMore(Sweeping):
    def solve(self, f, y, atol, options):
        return super().solve(f, y, atol, {**options, "maxiter": options["maxiter"] + 1})


class NeverStuck(Sweeping):
    def solve(self, f, y, atol, options):
        outcome = super().solve(f, y, atol, options)
        return outcome._replace(stuck=np.zeros_like(outcome.stuck))


class ForgetsTheTrajectory(Sweeping):
    def solve(self, f, y, atol, options):
        return super().solve(f, y.copy(), atol, options)


class TrustsWhatIsNotVerified(Sweeping):
    def solve(self, f, y, atol, options):
        outcome = super().solve(f, y, atol, options)
        nit = np.where(outcome.stuck & (outcome.nit > 1), outcome.nit - 1, outcome.nit)
        return outcome._replace(nit=nit)


FAULTS = {
    ReadsTheWrongInput: "sweep_windows-iterates-dense",
    TakesNanForSuccess: "sweep_windows-not-a-number",
    StopsTooEarly: "sweep_windows-iterates-diagonal",
    IgnoresBlocks: "sweep_windows-iterates-dense",
    IgnoresWindows: "sweep_windows-iterates-dense",
    StopsTogether: "sweep_windows-iterates-dense",
    SweepsOnceMore: "sweep_windows-iterates-dense",
    NeverStuck: "sweep_windows-not-finite",
    TrustsWhatIsNotVerified: "sweep_windows-not-finite-unverified",
    ForgetsTheTrajectory: "sweep_windows-iterates-dense",
}


def cases(prefix):
    return [case for case in conformance_cases() if case.name.startswith(prefix)]


@pytest.mark.parametrize(("fault", "name"), FAULTS.items(), ids=lambda v: getattr(v, "__name__", v))
def test_a_planted_fault_is_found(fault, name):
    (case,) = [case for case in conformance_cases() if case.name == name]
    with pytest.raises(AssertionError, match=f"Backend 'sweeping' fails 1 of 1 cases:\n  {name}"):
        check_backend(fault(), [case])


@pytest.mark.parametrize("fault", [ReadsTheWrongInput, StopsTooEarly, ForgetsTheTrajectory])
def test_faults_show_in_the_public_solvers_too(fault):
    with pytest.raises(AssertionError, match="element-steps-jacobi-family"):
        check_backend(fault(), cases("element-steps-jacobi"))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_plain_loops_pass():
    chosen = [c for c in cases(("sweep_windows", "element-steps")) if "deer" not in c.name]
    check_backend(Sweeping(), chosen)
    assert isinstance(Sweeping(), FusedSteps)
    assert isinstance(Sweeping(), JacobiSweeps)


def test_the_oracle_is_the_core_for_each_sequence_alone():
    """The loop that judges backends makes the sweeps that the core makes without them."""
    rng = np.random.default_rng(0)
    for seed in range(8):
        n_steps, n, block, window = (int(i) for i in rng.integers(1, (40, 4, 8, 50)))
        cell = seqsolve.element_step(halves, n_state=n)
        x, y0 = rng.standard_normal((n_steps, 2, n)), rng.standard_normal((2, n))
        guess = rng.standard_normal((n_steps, 2, n))
        options = {"rtol": 0.0, "atol": 1e-6, "window": window, "block_size": block}
        if seed % 3 == 0:
            options |= {"maxiter": 2, "on_failure": "return"}
        h = seqsolve.triangular_map(cell, x, y0, backend=Sweeping())
        fused = seqsolve.jacobi_gs(h, guess, **options)
        for k in range(2):
            h = seqsolve.triangular_map(cell, x[:, k], y0[k], backend="numpy")
            alone = seqsolve.jacobi_gs(h, guess[:, k], **options)
            assert fused.converged_steps[k] == alone.converged_steps
            solved = slice(0, int(alone.converged_steps))
            np.testing.assert_allclose(fused.y[solved, k], alone.y[solved], 1e-13, 1e-13)
            np.testing.assert_allclose(fused.residual[k], alone.residual, 1e-6, 1e-13)
        assert fused.success == (fused.converged_steps == n_steps).all()


def halves(y_prev, x, params, y_out):
    for i in range(len(y_prev)):
        y_out[i] = 0.5 * y_prev[i] + x[i]
