"""Windows of time, one after the other, cut smaller where memory ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from seqsolve._problem import Problem

P = ParamSpec("P")
R = TypeVar("R")


class Windows:
    """The windows of a problem, in the order of time or against it.

    Parameters
    ----------
    problem : Problem
        The recurrence.
    size : int
        Steps of a window.
    least : int
        A window that does not fit in memory is tried again with half as many
        steps, but not fewer than these.
    reverse : bool
        Begin at the end.
    """

    def __init__(self, problem: Problem, size: int, least: int, *, reverse: bool = False) -> None:
        self._problem, self._size, self._least = problem, size, least
        self._reverse = reverse
        self._done = 0

    def __iter__(self) -> Iterator[slice]:
        while self._done < self._problem.n_steps:
            left = self._problem.n_steps - self._done
            steps = min(self._size, left)
            start = left - steps if self._reverse else self._done
            self._done += steps
            yield slice(start, start + steps)

    def attempt(
        self, rows: slice, solve: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R | None:
        """Return ``solve(...)``, or None if memory ends: then a smaller window is next.

        Raises
        ------
        MemoryError
            There is no smaller one; the message says which window might fit.
        """
        steps = rows.stop - rows.start
        half = max(self._least, steps // 2)
        try:
            return solve(*args, **kwargs)
        except MemoryError as error:
            if half >= steps:
                raise MemoryError(self._advice(steps, error)) from error
        # Only here is the failed attempt's memory free: its arrays hung on the exception.
        self._size, self._done = half, self._done - steps
        return None

    def _advice(self, steps: int, error: MemoryError) -> str:
        problem = self._problem
        what = f"{steps} step{'s' * (steps > 1)} of {problem.n_sequences} sequence"
        what += f"{'s' * (problem.n_sequences > 1)} of {problem.n_state} states"
        cause = str(error) or type(error).__name__
        if steps == 1:
            return f"Not even a window of {what} fits in memory: {cause}"
        suggested = min(problem.window(problem.n_jacobian(problem.structure)), steps // 2)
        return (
            f"A window of {what} does not fit in memory: {cause}. A window of {suggested} "
            f"should: pass `window={suggested}`, or leave `window` out, and it is found."
        )
