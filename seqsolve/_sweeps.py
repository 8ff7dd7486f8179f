"""Sweeps over a triangular system, with exact tracking of the prefix that is solved."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from seqsolve import _checks, _replay
from seqsolve._driver import drive
from seqsolve._fused_sweeps import FusedSweeps
from seqsolve._outcome import ON_FAILURE, Reporter, allocate, conclude, store
from seqsolve._problem import Counts, Problem
from seqsolve.backend import Array, Backend
from seqsolve.solution import IterationState, Solution, Status, WindowRecord


class TriangularMap:
    """A recurrence as a triangular system; made by `triangular_map`.

    Parameters
    ----------
    problem : Problem
        The recurrence.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the guess that the solvers need: (n_steps, *batch, n_state)."""
        return self.problem.shape

    def __call__(self, s: Array, rows: slice) -> Array:
        """Return ``f(s[t-1], x[t])`` for a slice of positions."""
        problem = self.problem
        start, stop, stride = rows.indices(problem.n_steps)
        flat = _replay.states(problem, s)
        if start:
            y_prev = flat[start - 1 : stop - 1 : stride]
        else:
            rest = flat[stride - 1 : max(stop - 1, 0) : stride]
            y_prev = problem.backend.xp.concatenate([problem.y0[None], rest])
        y_prev = y_prev[: len(range(start, stop, stride))]
        y = problem.bind(slice(start, stop, stride))(y_prev)
        return y.reshape(y.shape[0], *problem.shape[1:])


def most_sweeps(n_steps: int, inner: int) -> int:
    """Return the sweeps after which every position is exact, whatever the tolerance.

    With blocks, each may become exact by itself and all be verified one by one.
    """
    return n_steps if inner == 1 else n_steps + -(-n_steps // inner)


class Sweeper:
    """Jacobi sweeps, or Gauss-Seidel inside blocks and Jacobi over them.

    Parameters
    ----------
    h, guess, backend, rtol, atol
        As the public solvers take them.
    inner : int
        Positions that a sweep visits in order; 1 for Jacobi's method.
    """

    def __init__(
        self,
        h: Callable[[Array, slice], Array],
        guess: Any,
        backend: Any,
        rtol: Any,
        atol: Any,
        *,
        inner: int,
    ) -> None:
        self.h = _checks.function("h", h)
        self.problem = h.problem if isinstance(h, TriangularMap) else None
        self.backend: Backend = _checks.choose_backend(backend, guess=guess)
        if self.problem is not None:
            if backend is not None and self.backend is not self.problem.backend:
                raise ValueError(
                    f"`backend` must be that of the triangular map, "
                    f"{self.problem.backend.name!r}; got {self.backend.name!r}."
                )
            self.backend = self.problem.backend
        s = _checks.numeric("guess", guess, self.backend)
        if s.ndim < 2:
            raise ValueError(
                f"`guess` must have shape (n_steps, *batch, n_state); got {tuple(s.shape)}."
            )
        if self.problem is not None and tuple(s.shape) != self.problem.shape:
            raise ValueError(
                f"`guess` must have the shape of the triangular map, {self.problem.shape}; "
                f"got {tuple(s.shape)}."
            )
        self.shape: tuple[int, ...] = tuple(s.shape)
        self.n_steps = self.shape[0]
        self.inner = inner
        self.nfev = 0
        if self.problem is not None and self.problem.fused is not None:
            self.dtype = np.result_type(str(s.dtype), self.problem.dtype).name
        else:
            self.dtype = self._probe(s)
        self.s = self.backend.asarray(s, dtype=self.dtype) + 0
        self.rtol, absolute = _checks.tolerances(rtol, atol, self.dtype, self.shape[-1])
        self.atol = self.backend.asarray(absolute)
        n_sequences = prod(self.shape[1:-1])
        self.converged: npt.NDArray[np.intp] = np.zeros(n_sequences, dtype=np.intp)
        self.residual = np.zeros(n_sequences)
        self.status: npt.NDArray[np.intp] = np.zeros(n_sequences, dtype=np.intp)
        self.history: list[WindowRecord] = []

    def _probe(self, s: Array) -> str:
        """Try the map on the first positions; return the dtype to compute in."""
        if self.n_steps == 0:
            return str(s.dtype)
        xp = self.backend.xp
        with np.errstate(all="ignore"):
            own = s.copy()
            first = self._call(own, slice(0, 1))
            two = self._call(own, slice(0, min(2, self.n_steps)))
            if not bool(((own == s) | (s != s)).all()):
                raise ValueError("`h` must not write to `s`: return the new values.")
            if self.problem is None:
                self._check_order(own, two)
            dtype = np.result_type(str(s.dtype), _checks.dtype_name(first.dtype)).name
            difference = xp.abs(two[:1] - first)
            tolerance = float(np.finfo(dtype).eps) ** 0.5
            differs = bool((difference > tolerance * xp.maximum(1, xp.abs(first))).any())
        if differs:
            raise ValueError(
                "`h` must evaluate every position on its own: the first one alone and the first "
                "two together give different values for the first."
            )
        return dtype

    def _check_order(self, s: Array, new: Array) -> None:
        """Raise if the first new values depend on what `s` holds at or behind the second position.

        `s` is changed there. Not every value may be one that `h` can work with:
        if it raises, nothing is known.
        """
        s[1:] = s[1:] + 1
        try:
            again = self._call(s, slice(0, new.shape[0]))
        except Exception:
            return
        if not bool(((again == new) | (new != new)).all()):
            raise ValueError(
                "`h` must not read positions at or behind those that it evaluates: the first two "
                "values change with what is behind the first."
            )

    def solve(
        self,
        size: int,
        maxiter: Any,
        on_failure: str,
        out: Any,
        callback: Any,
        progress: bool,
    ) -> Solution:
        """Sweep window after window of the given size."""
        limit = None if maxiter is None else _checks.integer("maxiter", maxiter, 1)
        _checks.one_of("on_failure", on_failure, ON_FAILURE)
        reporter = Reporter(callback, progress, self.n_steps)
        if FusedSweeps.applies(self.problem, self.dtype) and not reporter.follows_iterations:
            return conclude(self._fused(size, limit, on_failure, out, reporter), on_failure)
        target = None
        if out is not None:
            target = allocate(self.backend, out, self.shape, self.dtype, self.problem)
        with reporter, np.errstate(all="ignore"):
            for start in range(0, self.n_steps, max(size, 1)):
                window = slice(start, min(start + size, self.n_steps))
                sweeps = _WindowSweeps(self, window, limit, reporter)
                status = sweeps.run()
                if status is Status.MAXITER and on_failure == "sequential":
                    status = sweeps.finish_in_order()
                self.history.append(sweeps.record())
                if status > Status.SEQUENTIAL:
                    break
                reporter.advance(window.stop - window.start)
                if reporter.stopped and window.stop < self.n_steps:
                    self.status[self.status <= Status.SEQUENTIAL] = Status.STOPPED
                    break
        self.residual[self.converged < self.n_steps] = np.inf
        if target is not None:
            store(self.backend, target, slice(None), self.s)
        return conclude(self._solution(self.s if target is None else target), on_failure)

    def _fused(
        self, size: int, limit: int | None, on_failure: str, out: Any, reporter: Reporter
    ) -> Solution:
        """Let the backend sweep."""
        assert self.problem is not None
        self.problem.counts = Counts()
        window = max(1, min(size, self.n_steps))
        sweeps = FusedSweeps(
            problem=self.problem,
            rtol=self.rtol,
            atol=self.atol,
            maxiter=most_sweeps(window, self.inner) if limit is None else limit,
            window=window,
            block_size=min(self.inner, window),
        )
        with reporter:
            return drive(
                self.problem,
                sweeps.solve,
                sweeps.span,
                reporter,
                guess=self.s,
                on_failure=on_failure,
                out=out,
            )

    def evaluate(self, s: Array, rows: slice) -> Array:
        """Return ``h(s, rows)``, checked, in the dtype that is computed in."""
        new = self._call(s, rows)
        if np.dtype(self.dtype).kind == "f" and np.dtype(str(new.dtype)).kind == "c":
            raise TypeError(f"`h` must stay real, as at the first positions; got {new.dtype}.")
        return self.backend.asarray(new, dtype=self.dtype)

    def _call(self, s: Array, rows: slice) -> Array:
        self.nfev += 1
        new = _checks.returned("h", _checks.call_user("h", self.h, s, rows), self.backend)
        expected = (len(range(*rows.indices(self.n_steps))), *self.shape[1:])
        if tuple(new.shape) != expected:
            raise ValueError(
                f"`h` must return an array of shape {expected} for {rows}; got {tuple(new.shape)}."
            )
        return new

    def _solution(self, y: Array) -> Solution:
        batch = self.shape[1:-1]
        status = Status(int(self.status.max(initial=0)))
        result = Solution(
            y=y,
            success=status <= Status.SEQUENTIAL,
            status=status,
            message="",
            nit=sum(record.nit for record in self.history),
            nfev=self.nfev,
            njev=0,
            residual=self.residual.reshape(batch),
            converged_steps=self.converged.reshape(batch),
            history=tuple(self.history),
            backend=self.backend.name,
            problem=self.problem,
        )
        return _replay.with_message(result)


class _WindowSweeps:
    """The sweeps of one window.

    A sequence whose exact value is not finite is left where it is; the others
    go on.
    """

    def __init__(
        self, sweeper: Sweeper, window: slice, limit: int | None, reporter: Reporter
    ) -> None:
        self.sweeper, self.window, self.reporter = sweeper, window, reporter
        n_steps = window.stop - window.start
        self.limit = most_sweeps(n_steps, sweeper.inner) if limit is None else limit
        self.residuals: list[float] = []
        self.first = window.start
        self.unverified = window.stop
        self.status = Status.CONVERGED

    def run(self) -> Status:
        """Sweep until all is solved or the sweeps run out."""
        stop = self.window.stop
        if self.sweeper.inner > 1:
            doubtful = False
            while self.first < stop and not doubtful and self._may_go_on():
                doubtful = self._sweep_blocks()
            self.first = min(self.first, self.unverified)
        while self.first < stop and self._may_go_on():
            self._sweep(slice(self.first, stop))
        self._leave()
        return self.status

    def finish_in_order(self) -> Status:
        """Evaluate what is left, position by position."""
        status = self.sweeper.status
        status[status == Status.MAXITER] = self.status = Status.SEQUENTIAL
        while self.first < self.window.stop and self._running().any():
            if self.reporter.stopped:
                self.status = Status.STOPPED
                break
            self._sweep(slice(self.first, self.first + 1))
        self._leave()
        return self.status

    def record(self) -> WindowRecord:
        """Return what is kept of the window."""
        return WindowRecord(
            self.window.start,
            self.window.stop,
            len(self.residuals),
            tuple(self.residuals),
            Status(max(self.status, int(self.sweeper.status.max(initial=0)))),
        )

    def _may_go_on(self) -> bool:
        if self.status is Status.CONVERGED:
            if not self._running().any():
                self.status = Status.NON_FINITE
            elif self.reporter.stopped:
                self.status = Status.STOPPED
            elif len(self.residuals) >= self.limit:
                self.status = Status.MAXITER
        return self.status is Status.CONVERGED

    def _running(self) -> npt.NDArray[np.bool_]:
        return self.sweeper.status <= Status.SEQUENTIAL

    def _sweep(self, rows: slice) -> None:
        """Evaluate all that is left at once; keep what already was a fixed point."""
        sweeper = self.sweeper
        new = sweeper.evaluate(sweeper.s, rows)
        solved = self._solved(sweeper.s[rows], new, rows)
        if solved:
            change = self._test(sweeper.s[rows][:solved], new[:solved])[1]
            running = self._running()
            sweeper.residual[running] = np.maximum(sweeper.residual, change)[running]
        sweeper.s[rows.start + solved : rows.stop] = new[solved:]
        self._advance(min(rows.start + solved + 1, rows.stop))

    def _sweep_blocks(self) -> bool:
        """Sweep in order inside blocks, all blocks at once.

        Several blocks become exact together if what they begin with did not
        change: then all but the first are yet to be verified. Return whether
        a value in one of these is not finite.
        """
        sweeper, inner = self.sweeper, self.sweeper.inner
        rows = slice(self.first, self.window.stop)
        old = sweeper.s[rows] + 0
        for k in range(rows.start, min(rows.start + inner, rows.stop)):
            comb = slice(k, rows.stop, inner)
            sweeper.s[comb] = sweeper.evaluate(sweeper.s, comb)
        solved = self._solved(old, sweeper.s[rows], rows, inner)
        exact = min(rows.start + (solved // inner + 1) * inner, rows.stop)
        if exact > rows.start + inner:
            self.unverified = min(self.unverified, rows.start + inner)
        self._advance(exact)
        infinite = self._first_infinite(sweeper.s[rows.start : exact])
        return bool((infinite[self._running()] < exact - rows.start).any())

    def _advance(self, first: int) -> None:
        if self._running().any():
            self.first = first
        self.reporter.iteration(self._state)

    def _state(self) -> IterationState:
        return IterationState(
            start=self.window.start,
            stop=self.window.stop,
            iteration=len(self.residuals),
            residual=self.residuals[-1],
            n_running=int(self._running().sum()),
            converged_steps=self.first,
        )

    def _solved(self, old: Array, new: Array, rows: slice, inner: int = 1) -> int:
        """Return how many leading rows pass the test in every sequence that runs.

        The values up to the end of the block behind them are exact, once they
        are verified; a sequence in which one that needs no verification is not
        finite stops running.
        """
        sweeper, n = self.sweeper, rows.stop - rows.start
        passes, change = self._test(old, new)
        infinite = self._first_infinite(new)
        while True:
            running = self._running()
            solved = int(passes[running].min(initial=n))
            exact = min(n, (solved // inner + 1) * inner)
            if inner > 1:
                exact = min(exact, inner, self.unverified - rows.start)
            broken = running & (infinite < exact)
            if not broken.any():
                break
            sweeper.status[broken] = Status.NON_FINITE
            sweeper.converged[broken] = rows.start + infinite[broken]
        self.residuals.append(float(change[running].max(initial=0.0)))
        return solved

    def _first_infinite(self, s: Array) -> npt.NDArray[np.intp]:
        """Return each sequence's first row that is not finite, or the number of rows."""
        sweeper = self.sweeper
        lanes = (s.shape[0], prod(sweeper.shape[1:-1]), sweeper.shape[-1])
        finite = sweeper.backend.xp.isfinite(s).reshape(lanes).all(axis=-1)
        fails = ~sweeper.backend.to_numpy(finite)
        first: npt.NDArray[np.intp] = np.where(fails.any(axis=0), fails.argmax(axis=0), s.shape[0])
        return first

    def _test(self, old: Array, new: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        sweeper = self.sweeper
        lanes = (old.shape[0], prod(sweeper.shape[1:-1]), sweeper.shape[-1])
        return sweeper.backend.residual_test(
            old.reshape(lanes), new.reshape(lanes), sweeper.rtol, sweeper.atol
        )

    def _leave(self) -> None:
        sweeper, running = self.sweeper, self._running()
        sweeper.converged[running] = self.first
        sweeper.status[running] = np.maximum(sweeper.status[running], self.status)
