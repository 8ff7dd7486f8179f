"""The recurrence, step by step: the oracle, and the honest alternative."""

from __future__ import annotations

from typing import Any

from seqsolve._driver import drive
from seqsolve._march import march_block
from seqsolve._outcome import Reporter
from seqsolve._placement import placed
from seqsolve._problem import Problem
from seqsolve.solution import Solution
from seqsolve.step import StepFunction, Tree

__all__ = ["sequential"]


@placed
def sequential(
    f: StepFunction,
    x: Tree,
    y0: Any,
    *,
    backend: Any = None,
    n_steps: int | None = None,
    out: Any = None,
) -> Solution:
    """Evaluate ``y[t] = f(y[t-1], x[t])`` one step after the other.

    Vectorised over the batch only: what to use where solving in parallel does
    not pay, and what every parallel solver is compared with.

    Parameters
    ----------
    f : callable
        ``f(y_prev, x) -> y``, vectorised over every leading axis, as for `deer`.
        An `ElementStep` is compiled by backends that do that.
    x : array, tree of arrays or None
        Input; every leaf has leading axis `n_steps`, then the batch axes (or 1
        in their place). None: autonomous.
    y0 : array_like, shape (*batch, n_state)
        Initial state. Its dtype is computed in: float32, float64, complex64 or
        complex128; integers become float64.
    backend : str or Backend, optional
        Where to run; by default where the arrays live.
    n_steps : int, optional
        Number of steps; needed where `x` is None.
    out : array, shape (n_steps, *batch, n_state), optional
        Receives the trajectory; may be memory-mapped.

    Returns
    -------
    Solution
        With `success` False if the trajectory is not finite: `converged_steps`
        says how far it is.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong; the message names it.
    BackendUnavailableError
        The backend cannot run here.

    See Also
    --------
    deer : The same recurrence, in parallel.
    lyapunov_exponent : Which of the two is the better way.

    Examples
    --------
    >>> import numpy as np, seqsolve
    >>> solution = seqsolve.sequential(lambda y, x: 0.5 * y + x, np.ones((4, 1)), [0.0])
    >>> solution.y[:, 0]
    array([1.   , 1.5  , 1.75 , 1.875])
    """
    problem = Problem(f, None, x, y0, backend=backend, n_steps=n_steps)
    with Reporter(None, False, problem.n_steps) as reporter:
        return drive(problem, None, march_block(problem), reporter, out=out)
