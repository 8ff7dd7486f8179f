"""What a solver returns: the trajectory, whether it is right, and what to do if not."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from seqsolve._problem import Problem

__all__ = [
    "ConvergenceError",
    "ConvergenceWarning",
    "IterationState",
    "Solution",
    "Status",
    "WindowRecord",
]


class Status(IntEnum):
    """Why a solver stopped; the first two are successes.

    Examples
    --------
    >>> import seqsolve
    >>> seqsolve.Status.NON_FINITE.meaning
    'The step function itself returns infinity or NaN.'
    """

    CONVERGED = 0
    SEQUENTIAL = 1
    MAXITER = 2
    STALLED = 3
    NON_FINITE = 4
    STOPPED = 5

    @property
    def meaning(self) -> str:
        """What happened, in a sentence."""
        return _MEANING[self][0]

    @property
    def advice(self) -> str:
        """What to try; empty for a success."""
        return _MEANING[self][1]


_MEANING = {
    Status.CONVERGED: ("Every step meets the tolerance.", ""),
    Status.SEQUENTIAL: ("Solved step by step, in whole or in part.", ""),
    Status.MAXITER: (
        "The iterations ran out before every step met the tolerance.",
        "Try a smaller `window`, a larger `maxiter`, a better `initial_guess`, or "
        "`on_failure='sequential'`.",
    ),
    Status.STALLED: (
        "The step function gave different values for the same state: it is random, it looks at "
        "other steps, or the tolerance is below its rounding errors.",
        "Draw noise beforehand and pass it in `x`, compute each step from its own row, or raise "
        "`atol` or `rtol`.",
    ),
    Status.NON_FINITE: (
        "The step function itself returns infinity or NaN.",
        "The exact recurrence leaves the range of its dtype: check the step function, its "
        "inputs and `y0`, or compute in float64.",
    ),
    Status.STOPPED: ("The callback stopped the solver.", "Resume from `initial_guess=solution.y`."),
}


class ConvergenceWarning(UserWarning):
    """The trajectory returned does not meet the tolerance everywhere."""


class ConvergenceError(RuntimeError):
    """The trajectory does not meet the tolerance everywhere, and ``on_failure="raise"``.

    Parameters
    ----------
    solution : Solution
        The best iterate and what is known of it.

    Examples
    --------
    A chaotic recurrence, with fewer iterations than steps:

    >>> import seqsolve
    >>> try:
    ...     seqsolve.deer(
    ...         lambda y, x: 4 * y * (1 - y), "cs", None, [0.3], n_steps=500,
    ...         maxiter=20, window=500, on_failure="raise",
    ...     )
    ... except seqsolve.ConvergenceError as error:
    ...     print(error.solution.status.name)
    MAXITER
    """

    def __init__(self, solution: Solution) -> None:
        super().__init__(solution.message)
        self.solution = solution


class WindowRecord(NamedTuple):
    """How one window was solved.

    Parameters
    ----------
    start, stop : int
        The window's steps.
    nit : int
        Newton iterations or Jacobi sweeps; steps where it was stepped through.
    residuals : tuple of float
        Largest residual over all running sequences, before each iteration and
        at the end. Empty where the window was stepped through.
    status : Status
        The worst over its sequences.
    """

    start: int
    stop: int
    nit: int
    residuals: tuple[float, ...]
    status: Status


@dataclass(frozen=True)
class IterationState:
    """What a callback is handed after each iteration.

    Parameters
    ----------
    start, stop : int
        The window's steps.
    iteration : int
        Newton iterations or Jacobi sweeps done in this window.
    residual : float
        The largest residual of the iterate; the largest change in a sweep.
    n_running : int
        Sequences still iterating.
    converged_steps : int
        Steps of the whole sequence that are done in all of them.

    Examples
    --------
    Stop when the residual is small enough for you:

    >>> import numpy as np, seqsolve
    >>> def enough(state):
    ...     if state.residual < 1e-3:
    ...         raise StopIteration
    >>> f = lambda y, x: 0.5 * np.sin(y) + x
    >>> solution = seqsolve.deer(f, "cs", np.ones((100, 1)), [0.0], callback=enough)
    >>> bool(solution.residual < 1e-3)
    True
    """

    start: int
    stop: int
    iteration: int
    residual: float
    n_running: int
    converged_steps: int


@dataclass(frozen=True, eq=False)
class Solution:
    """A trajectory and what is known of it.

    Parameters
    ----------
    y : array, shape (n_steps, *batch, n_state)
        The trajectory; the best iterate where `success` is False.
    success : bool
        Whether every step of every sequence meets the tolerance.
    status : Status
        Why the solver stopped: the worst over all sequences.
    message : str
        What happened, and what to try.
    nit : int
        Parallel depth: iterations, sweeps and sequential steps that had to be
        done one after the other, over all windows.
    nfev, njev : int
        Calls of the step function and evaluations of its Jacobian, each on
        many steps at once.
    residual : ndarray, shape (*batch,)
        Largest ``|y[t] - f(y[t-1], x[t])|`` of each sequence, before the
        trajectory is stored in `out`; infinite where it is not a number, and
        where steps were not tried.
    converged_steps : ndarray of int, shape (*batch,)
        Length of the prefix that meets the tolerance.
    history : tuple of WindowRecord
        How each window was solved.
    backend : str
        Where it ran.
    problem : object or None
        The recurrence that was solved; None for a triangular system. For the
        functions of this library.

    Notes
    -----
    It keeps the recurrence, for gradients and bounds, and is pickled with it: the
    step function must be one that pickle can find, not a lambda. Without it,
    ``dataclasses.replace(solution, problem=None)`` is plain data.

    Examples
    --------
    >>> import numpy as np, seqsolve
    >>> f = lambda y, x: 0.5 * np.sin(y) + x
    >>> solution = seqsolve.deer(f, "cs", np.ones((100, 1)), [0.0])
    >>> solution.status.name, solution.y.shape, solution.converged_steps
    ('CONVERGED', (100, 1), array(100))
    >>> [(record.start, record.stop) for record in solution.history]
    [(0, 100)]
    """

    y: npt.NDArray[Any]
    success: bool
    status: Status
    message: str
    nit: int
    nfev: int
    njev: int
    residual: npt.NDArray[np.float64]
    converged_steps: npt.NDArray[np.intp]
    history: tuple[WindowRecord, ...]
    backend: str
    problem: Problem | None = field(default=None, repr=False)

    def error_bound(self) -> npt.NDArray[Any]:
        """Bound the error of every element, to first order.

        Solves ``e[t] = |A[t]| e[t-1] + |r[t]|`` along the trajectory, with
        the step's Jacobian ``A`` and the residual ``r``. Rounding inside the
        step function is not part of it.

        Returns
        -------
        array, shape (n_steps, *batch, n_state)
            Upper bounds of ``|y - y_exact|``, real.

        Raises
        ------
        ValueError
            The solution does not come from a recurrence.

        Examples
        --------
        >>> import numpy as np, seqsolve
        >>> f = lambda y, x: 0.5 * np.sin(y) + x
        >>> solution = seqsolve.deer(f, "cs", np.ones((100, 1)), [0.0])
        >>> bool(solution.error_bound().max() < 1e-8)
        True
        """
        from seqsolve import _replay

        return _replay.error_bound(self)

    def __repr__(self) -> str:
        shape: Any = tuple(self.y.shape)
        return (
            f"Solution(y of shape {shape}, success={self.success}, status={self.status.name}, "
            f"nit={self.nit}, residual={float(np.max(self.residual, initial=0.0)):.3g}, "
            f"backend={self.backend!r}, message={self.message!r})"
        )
