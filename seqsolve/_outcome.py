"""From the windows' outcomes to a `Solution`: shared by all solvers."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, get_args

import numpy as np

from seqsolve import _checks
from seqsolve._problem import Problem
from seqsolve._replay import tried_alone
from seqsolve._tree import leaves
from seqsolve._warn import warn
from seqsolve.backend import Array, Backend
from seqsolve.solution import (
    ConvergenceError,
    ConvergenceWarning,
    IterationState,
    Solution,
    Status,
)

OnFailure: TypeAlias = Literal["return", "warn", "raise", "sequential"]
ON_FAILURE: tuple[OnFailure, ...] = get_args(OnFailure)


class Reporter:
    """Tells the user's callback and the progress bar how far the solver is.

    Parameters
    ----------
    callback : callable or None
        Called with an `IterationState`; raising StopIteration stops the solver.
    progress : bool
        Whether to show a progress bar over the steps.
    n_steps : int
        The length of the bar.
    """

    def __init__(
        self, callback: Callable[[IterationState], Any] | None, progress: bool, n_steps: int
    ) -> None:
        self._callback = _checks.function("callback", callback, optional=True)
        self._tqdm = _tqdm() if _checks.boolean("progress", progress) else None
        self._n_steps = n_steps
        self._bar: Any = None
        self.stopped = False

    def __enter__(self) -> Self:
        if self._tqdm is not None:
            self._bar = self._tqdm(total=self._n_steps, unit="step", unit_scale=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def iteration(self, state: Callable[[], IterationState]) -> bool:
        """Report an iteration, made when needed; return whether the callback asks to stop."""
        if self._callback is not None:
            try:
                self._callback(state())
            except StopIteration:
                self.stopped = True
        return self.stopped

    @property
    def follows_iterations(self) -> bool:
        """Whether someone is told of single iterations."""
        return self._callback is not None

    def advance(self, n_steps: int) -> None:
        """Report steps that are done."""
        if self._bar is not None:
            self._bar.update(n_steps)


def allocate(
    backend: Backend, out: Any, shape: tuple[int, ...], dtype: str, problem: Problem | None
) -> Array:
    """Return the array that receives the trajectory; not one from which a recurrence reads."""
    if out is None:
        return backend.xp.empty(shape, dtype=dtype)
    inputs = () if problem is None else (*leaves(problem.x, "x"), ("y0", problem.y0))
    return _checks.output("out", out, shape, dtype, inputs)


def store(backend: Backend, out: Array, rows: slice, y: Array) -> None:
    """Write some rows, on whichever side `out` lives."""
    out[rows] = backend.to_numpy(y) if isinstance(out, np.ndarray) else y


def conclude(solution: Solution, on_failure: str) -> Solution:
    """Return the solution, warn or raise, as the user asked."""
    solution = tried_alone(solution)
    if solution.success or on_failure == "return" or solution.status is Status.STOPPED:
        return solution
    if on_failure == "raise":
        raise ConvergenceError(solution)
    warn(solution.message, ConvergenceWarning)
    return solution


def _tqdm() -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError(
            "`progress=True` needs tqdm: pip install 'seqsolve[progress]' (or tqdm)."
        ) from error
    return tqdm
