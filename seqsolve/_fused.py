"""Newton's method by a backend that fuses the iterations of compiled element steps."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from seqsolve._driver import WindowOutcome
from seqsolve._march import march_block
from seqsolve._newton import Newton
from seqsolve._problem import Sequences
from seqsolve.backend import Array, FusedOutcome
from seqsolve.solution import Status, WindowRecord

#: So many windows are solved in one call, at most: there is a record of each.
MAX_WINDOWS = 1024


@dataclass(frozen=True)
class FusedNewton:
    """Newton's method on many windows in one call.

    Parameters
    ----------
    newton : Newton
        The recurrence, tolerances and so on.
    window : int
        Steps solved together.
    """

    newton: Newton
    window: int

    @staticmethod
    def applies(newton: Newton) -> bool:
        """Return whether the backend can run these iterations, and nobody watches them."""
        problem = newton.problem
        return (
            problem.element is not None
            and problem.fused is not None
            and problem.jac == "step"
            and problem.structure == problem.natural
            and newton.method == "auto"
            and not newton.reporter.follows_iterations
            and np.dtype(problem.dtype).kind == "f"
            and problem.fused.fuses(problem.element, problem.dtype)
        )

    @property
    def span(self) -> int:
        """How many steps to hand to the backend at a time, in whole windows."""
        windows = march_block(self.newton.problem) // self.window
        return self.window * max(1, min(windows, MAX_WINDOWS))

    def solve(
        self, rows: slice, sequences: Sequences, start: Array, guess: Array | None
    ) -> WindowOutcome:
        """Iterate window after window; a sequence ends with the window that fails."""
        newton, problem = self.newton, self.newton.problem
        xp, n_steps = problem.backend.xp, rows.stop - rows.start
        y = xp.empty((n_steps + 1, *start.shape), dtype=problem.dtype)
        y[0] = start
        if guess is not None:
            y[1:] = xp.where(xp.isfinite(guess), guess, start)
        x = problem.element_input(problem.input(rows, sequences))
        fused, step = problem.fused, problem.element
        assert fused is not None
        assert step is not None
        outcome = fused.newton_windows(
            step,
            x,
            y,
            guessed=guess is not None,
            rtol=newton.rtol,
            atol=newton.atol,
            maxiter=newton.maxiter,
            scale=newton.scale,
            window=self.window,
        )
        status = np.zeros(outcome.converged.size, dtype=np.intp)
        residual = outcome.residual.max(axis=0, initial=0.0)
        last_window = (n_steps - 1) // self.window
        for i in np.flatnonzero(outcome.converged < n_steps):
            status[i] = self._failure(int(i), outcome, rows, sequences, y)
            if outcome.converged[i] // self.window < last_window:
                residual[i] = np.inf
        records = window_records(outcome, rows, self.window, status, final_test=True)
        nit = sum(map(attrgetter("nit"), records))
        problem.counts.nfev += nit + len(records)
        problem.counts.njev += nit + len(records)
        return WindowOutcome(y[1:], outcome.converged, residual, status, nit, (), records=records)

    def _failure(
        self, i: int, outcome: FusedOutcome, rows: slice, sequences: Sequences, y: Array
    ) -> Status:
        """Return why a sequence was not solved."""
        if not outcome.stuck[i]:
            return Status.MAXITER
        problem, front = self.newton.problem, int(outcome.converged[i])
        chosen = np.array([i]) if sequences is None else sequences[[i]]
        at = slice(rows.start + front, rows.start + front + 1)
        value = problem.bind(at, chosen)(y[front : front + 1, i : i + 1])
        finite = bool(problem.backend.xp.isfinite(value).all())
        return Status.STALLED if finite else Status.NON_FINITE


def window_records(
    outcome: FusedOutcome,
    rows: slice,
    window: int,
    status: npt.NDArray[np.intp],
    *,
    final_test: bool,
) -> tuple[WindowRecord, ...]:
    """Return the history of the windows up to the last in which any sequence ran.

    Parameters
    ----------
    outcome : FusedOutcome
        What the backend returned.
    rows : slice
        The steps of all windows.
    window : int
        Steps solved together.
    status : ndarray of int, shape (sequences,)
        A `Status` for each sequence.
    final_test : bool
        Whether the trace of a window ends with one residual more than it took
        iterations.
    """
    starts = range(rows.start, rows.stop, window)
    worst = [Status.CONVERGED] * len(starts)
    failed = np.flatnonzero(status)
    for i in failed:
        k = int(outcome.converged[i]) // window
        worst[k] = max(worst[k], Status(int(status[i])))
    nit = outcome.nit.max(axis=1, initial=0).tolist()
    trace = outcome.trace[:, : max(nit, default=0) + 1].tolist()
    last = len(starts)
    if failed.size == status.size:
        last = 1 + int((outcome.converged // window).max(initial=0))
    stops = [*starts[1:], rows.stop]
    residuals = [tuple(row[: n + final_test]) for row, n in zip(trace, nit, strict=True)]
    return tuple(map(WindowRecord, starts[:last], stops, nit, residuals, worst))
