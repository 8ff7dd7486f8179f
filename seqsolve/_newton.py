"""Newton's method on one window of a recurrence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from seqsolve._driver import WindowOutcome
from seqsolve._outcome import Reporter
from seqsolve._problem import Problem, Sequences
from seqsolve.backend import Array
from seqsolve.solution import IterationState, Status

#: What rounding inside a step function may come to, in units of the dtype's precision and of the
#: largest state of the step.
ROUNDING_LEVEL = 16


@dataclass(frozen=True)
class Newton:
    """Newton's method and its relatives, on one window.

    Every update is ``y+[t] = f[t] + A[t] (y+[t-1] - y[t-1])``. After k of them
    the first k steps are exact, whatever the rest holds: the prefix that meets
    the tolerance is not updated again, and grows by at least a step each time.

    Parameters
    ----------
    problem : Problem
        The recurrence.
    rtol : float
        Relative tolerance.
    atol : array, shape (n_state,)
        Absolute tolerance.
    rounding : float
        What is accepted besides where iterations no longer help, relative to
        the largest state of the step.
    maxiter : int
        Iterations for each window.
    scale : float
        Factor of the Jacobian: 1 for Newton, less for damped iterations.
    method : str
        The linear solver.
    reporter : Reporter
        Told of every iteration.
    """

    problem: Problem
    rtol: float
    atol: Array
    rounding: float
    maxiter: int
    scale: float
    method: str
    reporter: Reporter

    def solve(
        self, rows: slice, sequences: Sequences, start: Array, guess: Array | None
    ) -> WindowOutcome:
        """Iterate until every sequence is solved or cannot go on."""
        running = _Running(self, rows, sequences, start, guess)
        residuals = []
        for nit in range(self.maxiter + 1):
            running.evaluate()
            if nit == 1 < self.maxiter and guess is None:
                running.doubt_constant_guess()
            residuals.append(running.largest_residual)
            stop = nit > 0 and self.reporter.iteration(partial(running.report, nit))
            running.retire()
            if not running.index.size:
                break
            if stop or nit == self.maxiter:
                running.give_up(Status.STOPPED if stop else Status.MAXITER)
                break
            running.update()
        return WindowOutcome(
            running.whole[1:],
            running.converged,
            running.residual,
            running.status,
            nit,
            tuple(residuals),
        )


class _Running:
    """The sequences of a window that still iterate, gathered without gaps.

    ``whole`` holds all sequences of the window, ``y`` those that still run;
    both begin with the state before the window. Rows before ``base`` are not
    evaluated any more; those before ``exact`` pass the test in every sequence
    if the step function always gives the same values. Once an iteration does
    not halve the residual, the test is ``forgiving`` of rounding errors.
    """

    def __init__(
        self, newton: Newton, rows: slice, sequences: Sequences, start: Array, guess: Array | None
    ) -> None:
        problem = newton.problem
        xp, n = problem.backend.xp, start.shape[0]
        self.newton, self.problem, self.rows = newton, problem, rows
        self.sequences = sequences
        self.n_steps = rows.stop - rows.start
        self.whole = xp.empty((self.n_steps + 1, n, problem.n_state), dtype=problem.dtype)
        self.whole[0] = start
        self.whole[1:] = start if guess is None else xp.where(xp.isfinite(guess), guess, start)
        self.converged: npt.NDArray[np.intp] = np.zeros(n, dtype=np.intp)
        self.residual = np.zeros(n)
        self.status: npt.NDArray[np.intp] = np.zeros(n, dtype=np.intp)
        self.y = self.whole
        self.index = np.arange(n)
        self.base = 0
        self.prefix: npt.NDArray[np.intp] = np.full(n, 0)
        self.exact = 0
        self.frozen_residual = np.zeros(n)
        self.tested_before = np.inf
        self.forgiving = False
        self.bind()

    def bind(self) -> None:
        """Fix the input of the rows and sequences that are still evaluated."""
        chosen = self.sequences
        if self.index.size < self.whole.shape[1]:
            chosen = self.index if chosen is None else chosen[self.index]
        self.step = self.problem.bind(slice(self.rows.start + self.base, self.rows.stop), chosen)

    def evaluate(self) -> None:
        """Evaluate the step and test the residual."""
        self.fy, self.complete = self.step.linearize(self.y[self.base : -1])
        first, largest = self._test(self.y[self.base + 1 :], self.fy)
        tested = float(largest.max(initial=0.0))
        self.forgiving = self.forgiving or tested > 0.5 * self.tested_before
        self.tested_before = tested
        if self.forgiving and self.newton.rounding:
            first = np.maximum(first, self._beyond_rounding())
        self.prefix = self.base + first
        self.low = int(self.prefix.min(initial=self.n_steps))
        self.current_residual = np.maximum(self.frozen_residual, largest)
        self.largest_residual = float(self.current_residual.max(initial=0.0))

    def _beyond_rounding(self) -> npt.NDArray[np.intp]:
        """Return each sequence's first step whose residual rounding errors do not explain.

        An element that is small beside others of its step cannot be computed
        from them to a precision of its own.
        """
        xp, newton = self.problem.backend.xp, self.newton
        y_prev, y = self.y[self.base : -1], self.y[self.base + 1 :]
        size = xp.maximum(xp.abs(y_prev), xp.abs(y)).max(axis=-1, keepdims=True)
        allowed = newton.atol + newton.rtol * xp.abs(y) + newton.rounding * size
        r = xp.abs(y - self.fy)
        passes = ((r <= allowed) & xp.isfinite(r)).all(axis=-1)
        fails = ~self.problem.backend.to_numpy(passes)
        first: npt.NDArray[np.intp] = np.where(fails.any(0), fails.argmax(0), y.shape[0])
        return first

    def doubt_constant_guess(self) -> None:
        """Ask for a second update where the tolerance is at the level of rounding errors.

        At a constant state, a step function rounds the same way at every step.
        Such errors add up over the memory of the recurrence, where those of a
        varying state average out.
        """
        eps = float(np.finfo(self.problem.dtype).eps)
        if self.newton.rtol < ROUNDING_LEVEL * eps:
            doubtful = self.current_residual > 0
            self.prefix[doubtful] = np.minimum(self.prefix, self.exact)[doubtful]
            self.low = int(self.prefix.min(initial=self.n_steps))

    def report(self, iteration: int) -> IterationState:
        """Return what the callback is told."""
        n_running = int((self.prefix < self.n_steps).sum())
        return IterationState(
            start=self.rows.start,
            stop=self.rows.stop,
            iteration=iteration,
            residual=self.largest_residual,
            n_running=n_running,
            converged_steps=self.rows.start + self.low,
        )

    def retire(self) -> None:
        """Part with the sequences that are solved, or that no iteration can advance."""
        if self.low >= self.exact and self.prefix.max(initial=0) < self.n_steps:
            return
        solved = self.prefix == self.n_steps
        stuck = (self.prefix < self.exact) & ~solved
        status = np.where(solved, Status.CONVERGED, Status.STALLED)
        for i in np.flatnonzero(stuck):
            front = self.fy[int(self.prefix[i]) - self.base, int(i)]
            if not bool(self.problem.backend.xp.isfinite(front).all()):
                status[i] = Status.NON_FINITE
        leaving = solved | stuck
        self._settle(leaving, status[leaving])
        keep = np.flatnonzero(~leaving)
        if not keep.size:
            self.index = self.index[keep]
            return
        self.index, self.prefix = self.index[keep], self.prefix[keep]
        self.frozen_residual = self.frozen_residual[keep]
        self.current_residual = self.current_residual[keep]
        xp = self.problem.backend.xp
        self.low = int(self.prefix.min())
        self.y = xp.ascontiguousarray(self.problem.take(self.y, keep))
        self.fy = self.problem.take(self.fy, keep)
        self._freeze_prefix()
        self.bind()
        self.fy, self.complete = self.step.linearize(self.y[self.base : -1])

    def give_up(self, status: Status) -> None:
        """Part with all that still run."""
        everyone = np.ones(self.index.size, dtype=bool)
        self._settle(everyone, np.full(self.index.size, status))
        self.index = self.index[:0]

    def update(self) -> None:
        """Advance all that run by one linearised solve, beyond their common prefix."""
        problem, structure = self.problem, self.problem.structure
        low = self.low
        skip = low - self.base
        A = self.complete()[skip:]
        if self.newton.scale != 1.0:
            A = A * self.newton.scale
        problem.backend.newton_update(
            A,
            problem.lanes(self.fy[skip:], structure),
            problem.lanes(self.y[low + 1 :], structure),
            method=self.newton.method,
        )
        self.exact = low + 1
        if 4 * skip > self.n_steps - self.base:
            self._freeze_prefix()
            self.bind()

    def _freeze_prefix(self) -> None:
        """Stop evaluating the rows that are solved in every sequence that runs."""
        low = self.low
        if low > self.base:
            y, fy = self.y[self.base + 1 : low + 1], self.fy[: low - self.base]
            self.frozen_residual = np.maximum(self.frozen_residual, self._test(y, fy)[1])
            self.base = low

    def _settle(self, leaving: npt.NDArray[np.bool_], status: npt.NDArray[np.intp]) -> None:
        index = self.index[leaving]
        self.converged[index] = np.minimum(self.prefix[leaving], self.n_steps)
        self.residual[index] = self.current_residual[leaving]
        self.status[index] = status
        if self.y is not self.whole:
            backend = self.problem.backend
            columns = self.problem.take(self.y, np.flatnonzero(leaving))
            self.whole[:, backend.asarray(index)] = columns

    def _test(self, y: Array, fy: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        return self.problem.backend.residual_test(y, fy, self.newton.rtol, self.newton.atol)
