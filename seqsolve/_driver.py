"""Windows in the order of time: what every solver of recurrences does around its own part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from seqsolve import _replay
from seqsolve._mapped import MappedArrays
from seqsolve._march import march
from seqsolve._outcome import Reporter, allocate, store
from seqsolve._problem import Problem, Sequences
from seqsolve._tree import leaves
from seqsolve._windows import Windows
from seqsolve.backend import Array
from seqsolve.solution import Solution, Status, WindowRecord

Integers: TypeAlias = npt.NDArray[np.intp]


@dataclass(frozen=True)
class WindowOutcome:
    """What became of some sequences in one window.

    Parameters
    ----------
    y : array, shape (steps, sequences, n_state)
        The last iterate, in memory of its own.
    converged : ndarray of int, shape (sequences,)
        Length of the prefix that meets the tolerance.
    residual : ndarray, shape (sequences,)
        Largest residual.
    status : ndarray of int, shape (sequences,)
        A `Status` for each sequence.
    nit : int
        Iterations.
    residuals : tuple of float
        Largest residual before each iteration and at the end.
    records : tuple of WindowRecord
        The single windows, where several were solved in one call.
    """

    y: Array
    converged: Integers
    residual: npt.NDArray[np.float64]
    status: Integers
    nit: int
    residuals: tuple[float, ...]
    records: tuple[WindowRecord, ...] = ()


SolveWindow: TypeAlias = Callable[[slice, Sequences, Array, "Array | None"], WindowOutcome]
"""``solve(rows, sequences, start, guess)``"""


def drive(
    problem: Problem,
    solve: SolveWindow | None,
    window: int,
    reporter: Reporter,
    *,
    least_window: int | None = None,
    guess: Any = None,
    on_failure: str = "return",
    out: Any = None,
) -> Solution:
    """Solve window after window, each from the end of the last.

    Sequences whose window fails are left there, or stepped through from there
    on where `on_failure` is ``"sequential"``.

    Parameters
    ----------
    problem : Problem
        The recurrence.
    solve : callable or None
        Solves one window for some sequences. None steps through all.
    window : int
        Steps solved together.
    reporter : Reporter
        Told of every window that is done.
    least_window : int, optional
        A window that does not fit in memory is tried again with half as many
        steps, but not fewer than these; by default, not at all.
    guess : array, shape (n_steps, *batch, n_state), optional
        Guess of the trajectory.
    on_failure : str
        One of the four behaviours of the public solvers.
    out : array, optional
        Receives the trajectory.

    Returns
    -------
    Solution
        Not yet warned about.

    Raises
    ------
    MemoryError
        A window does not fit in memory; the message says which might.
    """
    run = _Run(problem, on_failure == "sequential")
    run.stepping[:] = solve is None
    y: Array | None = None
    if out is not None:
        y = allocate(problem.backend, out, problem.shape, problem.dtype, problem)
    state = problem.y0
    mapped = MappedArrays([out, guess, *(leaf for _, leaf in leaves(problem.x, "x"))])
    windows = Windows(problem, window, window if least_window is None else least_window)
    with np.errstate(all="ignore"):
        for rows in windows:
            part = _guess(problem, guess, rows)
            outcomes = windows.attempt(rows, run.solve, solve, rows, state, part)
            if outcomes is None:
                continue
            states = state[None] if part is None else part
            for sequences, outcome in outcomes:
                states = _put(problem, states, sequences, outcome.y)
                run.record(rows, sequences, outcome)
                if reporter.stopped:
                    run.stop(rows)
            for sequences in run.groups(run.active & run.stepping):
                states = run.step_through(rows, sequences, states, state)
            y = _kept(problem, y, rows, states)
            state = states[-1] + 0
            mapped.advance(rows.stop - rows.start)
            reporter.advance(rows.stop - rows.start)
    if y is None:
        y = allocate(problem.backend, None, problem.shape, problem.dtype, problem)
    return run.solution(y)


class _Run:
    """What is known of each sequence as the windows go by."""

    def __init__(self, problem: Problem, steps_on_failure: bool) -> None:
        n = problem.n_sequences
        self.problem = problem
        self.steps_on_failure = steps_on_failure
        self.active = np.ones(n, dtype=bool)
        self.stepping = np.zeros(n, dtype=bool)
        self.status = np.zeros(n, dtype=np.intp)
        self.converged = np.zeros(n, dtype=np.intp)
        self.residual = np.zeros(n)
        self.nit = 0
        self.history: list[WindowRecord] = []

    def groups(self, mask: npt.NDArray[np.bool_]) -> list[Sequences]:
        """Return the sequences of a mask: none, all (as None) or some."""
        if not mask.any():
            return []
        return [None if mask.all() else np.flatnonzero(mask)]

    def solve(
        self, solve: SolveWindow | None, rows: slice, state: Array, guess: Array | None
    ) -> list[tuple[Sequences, WindowOutcome]]:
        """Return what becomes of the sequences that are solved in parallel."""
        outcomes = []
        for sequences in self.groups(self.active & ~self.stepping):
            assert solve is not None
            given = None if guess is None else self.problem.take(guess, sequences)
            start = _pick(self.problem, state, sequences)
            outcomes.append((sequences, solve(rows, sequences, start, given)))
        return outcomes

    def record(self, rows: slice, sequences: Sequences, outcome: WindowOutcome) -> None:
        index = slice(None) if sequences is None else sequences
        self.converged[index] = rows.start + outcome.converged
        before = self.residual.copy()
        self.residual[index] = np.maximum(before[index], outcome.residual)
        worst = Status(int(outcome.status.max(initial=0)))
        whole = WindowRecord(rows.start, rows.stop, outcome.nit, outcome.residuals, worst)
        self.history.extend(outcome.records or (whole,))
        self.nit += outcome.nit
        if worst is Status.CONVERGED:
            return
        self.status[index] = np.maximum(self.status[index], outcome.status)
        failed = np.zeros_like(self.active)
        failed[index] = outcome.status > Status.SEQUENTIAL
        if self.steps_on_failure and worst is not Status.STOPPED:
            self.stepping |= failed
            self.residual[failed] = before[failed]
        else:
            self.active &= ~failed
            self.residual[failed & (rows.stop < self.problem.n_steps)] = np.inf

    def stop(self, rows: slice) -> None:
        """Leave the sequences as they are after some rows, at the callback's wish."""
        left = self.converged < self.problem.n_steps
        self.active[:] = False
        self.status[left] = Status.STOPPED
        untried = self.stepping | (rows.stop < self.problem.n_steps)
        self.residual[left & untried] = np.inf

    def step_through(self, rows: slice, sequences: Sequences, states: Array, start: Array) -> Array:
        """Step through what of a window is not yet solved, all from the same step on."""
        problem, xp = self.problem, self.problem.backend.xp
        index = slice(None) if sequences is None else sequences
        first = max(rows.start, int(self.converged[index].min(initial=rows.stop)))
        if first > rows.start:
            self._count_residual(slice(rows.start, first), sequences, states, start)
            start = states[first - 1 - rows.start]
        rest = slice(first, rows.stop)
        y = march(problem, rest, sequences, _pick(problem, start, sequences))
        infinite: npt.NDArray[np.bool_] = np.zeros(y.shape[1], dtype=bool)
        self.converged[index] = rows.stop
        if not bool(xp.isfinite(y).all()):
            fails = problem.backend.to_numpy(~xp.isfinite(y).all(axis=-1))
            infinite |= fails.any(axis=0)
            self.converged[index] = first + np.where(infinite, fails.argmax(axis=0), y.shape[0])
        self.residual[index] = np.where(infinite, np.inf, self.residual[index])
        status = np.where(infinite, Status.NON_FINITE, Status.SEQUENTIAL)
        self.status[index] = status
        self.active[index] = ~infinite
        worst = Status(int(status.max(initial=0)))
        self.history.append(WindowRecord(first, rows.stop, rows.stop - first, (), worst))
        self.nit += rows.stop - first
        if first == rows.start:
            return _put(problem, states, sequences, y)
        tail = _put(problem, states[first - rows.start :], sequences, y)
        return xp.concatenate([states[: first - rows.start], tail])

    def _count_residual(
        self, rows: slice, sequences: Sequences, states: Array, start: Array
    ) -> None:
        """Take the residual of a solved prefix into account."""
        problem, xp = self.problem, self.problem.backend.xp
        y = states[: rows.stop - rows.start]
        y_prev = problem.take(xp.concatenate([start[None], y[:-1]]), sequences)
        fy = problem.bind(rows, sequences)(y_prev)
        r = problem.backend.to_numpy(xp.abs(problem.take(y, sequences) - fy).max(axis=(0, 2)))
        index = slice(None) if sequences is None else sequences
        self.residual[index] = np.maximum(self.residual[index], r)

    def solution(self, y: Array) -> Solution:
        problem = self.problem
        status = Status(int(self.status.max(initial=0)))
        success = status <= Status.SEQUENTIAL
        result = Solution(
            y=y,
            success=success,
            status=status,
            message="",
            nit=self.nit,
            nfev=problem.counts.nfev,
            njev=problem.counts.njev,
            residual=self.residual.reshape(problem.batch),
            converged_steps=self.converged.reshape(problem.batch),
            history=tuple(self.history),
            backend=problem.backend.name,
            problem=problem,
        )
        return _replay.with_message(result)


def _guess(problem: Problem, guess: Any, rows: slice) -> Array | None:
    if guess is None:
        return None
    part = problem.backend.asarray(guess[rows], dtype=problem.dtype)
    return part.reshape(part.shape[0], problem.n_sequences, problem.n_state)


def _kept(problem: Problem, y: Array | None, rows: slice, states: Array) -> Array:
    """Return the trajectory with some rows set: the states themselves, if they are all."""
    states = states.reshape(states.shape[0], *problem.shape[1:])
    if y is None:
        if states.shape == problem.shape:
            return states
        y = allocate(problem.backend, None, problem.shape, problem.dtype, problem)
    store(problem.backend, y, rows, states)
    return y


def _pick(problem: Problem, state: Array, sequences: Sequences) -> Array:
    return problem.take(state[None], sequences)[0]


def _put(problem: Problem, states: Array, sequences: Sequences, y: Array) -> Array:
    """Return `states` with the columns of some sequences replaced."""
    if sequences is None:
        return y
    xp = problem.backend.xp
    states = xp.broadcast_to(states, (y.shape[0], *states.shape[1:])) + 0  # a copy of its own
    states[:, problem.backend.asarray(sequences)] = y
    return states
