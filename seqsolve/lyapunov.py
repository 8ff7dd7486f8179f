"""How predictable a recurrence is, and with that, whether solving it in parallel pays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from seqsolve import _replay
from seqsolve._placement import placed
from seqsolve.solution import Solution

__all__ = ["lyapunov_exponent"]


@placed
def lyapunov_exponent(solution: Solution) -> npt.NDArray[np.float64]:
    """Return the largest Lyapunov exponent along a solved trajectory.

    The mean growth per step of ``log |v|`` under ``v <- A[t] v``. Newton's
    method over a window takes few iterations where it is negative; where it is
    positive, about as many as there are steps, and stepping is the right way.

    Parameters
    ----------
    solution : Solution
        Of `sequential` or of any solver of recurrences; only its converged
        steps are used.

    Returns
    -------
    ndarray, shape (*batch,)
        The exponents, per step; NaN where no step is solved, ``-inf`` where a
        perturbation dies at once.

    Raises
    ------
    TypeError
        `solution` is no Solution.
    ValueError
        The solution does not come from a recurrence.

    References
    ----------
    .. [1] G. Benettin et al., "Lyapunov characteristic exponents for smooth
       dynamical systems", Meccanica 15, 1980.

    Examples
    --------
    The logistic map at r = 4 has the exponent log 2:

    >>> import numpy as np, seqsolve
    >>> f = lambda y, x: 4 * y * (1 - y)
    >>> solution = seqsolve.sequential(f, None, [0.3], n_steps=20_000)
    >>> round(float(seqsolve.lyapunov_exponent(solution)), 2)
    0.69
    """
    problem = _replay.recurrence_of(solution)
    converged = solution.converged_steps.ravel()
    exponent = np.full(converged.shape, np.nan)
    for stop in np.unique(converged[converged > 0]):
        sequences = np.flatnonzero(converged == stop)
        chosen = None if sequences.size == converged.size else sequences
        exponent[sequences] = _replay.exponents(problem, solution.y, chosen, slice(0, int(stop)))
    return exponent.reshape(solution.converged_steps.shape)
