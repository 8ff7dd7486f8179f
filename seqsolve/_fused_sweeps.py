"""The Jacobi family by a backend that fuses the sweeps of compiled element steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqsolve._driver import WindowOutcome
from seqsolve._fused import MAX_WINDOWS, window_records
from seqsolve._march import march_block
from seqsolve._problem import Problem, Sequences
from seqsolve._protocol import offers
from seqsolve.backend import Array, JacobiSweeps
from seqsolve.solution import Status


@dataclass(frozen=True)
class FusedSweeps:
    """Jacobi sweeps over many windows in one call.

    Parameters
    ----------
    problem : Problem
        The recurrence.
    rtol : float
        Relative tolerance.
    atol : array, shape (n_state,)
        Absolute tolerance.
    maxiter : int
        Sweeps for each window.
    window : int
        Positions swept together.
    block_size : int
        Positions that a sweep visits in order.
    """

    problem: Problem
    rtol: float
    atol: Array
    maxiter: int
    window: int
    block_size: int

    @staticmethod
    def applies(problem: Problem | None, dtype: str) -> bool:
        """Return whether the backend can run sweeps of this recurrence in a dtype."""
        return (
            problem is not None
            and offers(problem.fused, JacobiSweeps)
            and problem.dtype == dtype
            and np.dtype(dtype).kind == "f"
        )

    @property
    def span(self) -> int:
        """How many steps to hand to the backend at a time, in whole windows."""
        windows = march_block(self.problem) // self.window
        return self.window * max(1, min(windows, MAX_WINDOWS))

    def solve(
        self, rows: slice, sequences: Sequences, start: Array, guess: Array | None
    ) -> WindowOutcome:
        """Sweep window after window; a sequence ends with the window that fails."""
        problem, n_steps = self.problem, rows.stop - rows.start
        y = problem.backend.xp.empty((n_steps + 1, *start.shape), dtype=problem.dtype)
        y[0], y[1:] = start, guess
        fused, step = problem.fused, problem.element
        assert offers(fused, JacobiSweeps)
        assert step is not None
        outcome = fused.sweep_windows(
            step,
            problem.element_input(problem.input(rows, sequences)),
            y,
            rtol=self.rtol,
            atol=self.atol,
            maxiter=self.maxiter,
            window=self.window,
            block_size=self.block_size,
        )
        nit = int(outcome.nit.max(axis=1, initial=0).sum())
        problem.counts.nfev += nit * self.block_size
        solved = outcome.converged == n_steps
        failed = np.where(outcome.stuck, Status.NON_FINITE, Status.MAXITER)
        status = np.where(solved, Status.CONVERGED, failed).astype(np.intp)
        residual = np.where(solved, outcome.residual.max(axis=0, initial=0.0), np.inf)
        return WindowOutcome(
            y[1:],
            outcome.converged,
            residual,
            status,
            nit,
            (),
            records=window_records(outcome, rows, self.window, status, final_test=False),
        )
