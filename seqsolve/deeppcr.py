"""The same Newton system, its linear recurrences by cyclic reduction (DeepPCR)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

from seqsolve.backend import Array
from seqsolve.deer import DeerOptions, deer
from seqsolve.jacobian import Difference, Hutchinson
from seqsolve.solution import Solution
from seqsolve.step import StepFunction, Tree

__all__ = ["deeppcr"]


def deeppcr(
    f: StepFunction,
    jac: Callable[[Array, Tree], Array] | Difference | Hutchinson | None,
    x: Tree,
    y0: Any,
    **options: Unpack[DeerOptions],
) -> Solution:
    """Solve a deep stack of layers, or any recurrence, with cyclic reduction.

    Layers of one width are a recurrence over depth: `x` holds their stacked
    parameters, ``y[l] = f(y[l-1], x[l])``.

    Parameters
    ----------
    f : callable
        ``f(y_prev, x) -> y``, one layer, vectorised over every leading axis: it
        is called with `y_prev` of shape ``(layers, n_state)``, or ``(layers,
        data, n_state)`` where `y0` has a batch.
    jac : callable, str, Hutchinson or None
        Its Jacobian with respect to `y_prev`, as for `deer`.
    x : array, tree of arrays or None
        The layers' parameters, stacked: every leaf has leading axis `n_steps`,
        the number of layers, then the batch axes (or 1 in their place).
    y0 : array_like, shape (*batch, n_state)
        What enters the first layer.
    **options
        Keyword arguments of `deer`, but for `linear_solver`.

    Returns
    -------
    Solution
        As from `deer`; ``y[-1]`` is the output of the last layer.

    Raises
    ------
    TypeError, ValueError, BackendUnavailableError, ConvergenceError, MemoryError
        As `deer`.

    See Also
    --------
    deer : The same, with another solver of the linear recurrences.
    cyclic_reduction : That solver by itself.

    References
    ----------
    .. [1] F. Danieli et al., "DeepPCR: Parallelizing sequential operations in
       neural networks", arXiv:2309.16318.

    Examples
    --------
    Sixty-four layers of width 8 on five data; the parameters have an axis of 1
    in place of the batch:

    >>> import numpy as np, seqsolve
    >>> rng = np.random.default_rng(0)
    >>> layers = {
    ...     "W": 0.3 * rng.standard_normal((64, 1, 8, 8)),
    ...     "b": 0.1 * rng.standard_normal((64, 1, 8)),
    ... }
    >>> def layer(y, p):
    ...     return np.tanh((p["W"] @ y[..., None])[..., 0] + p["b"])
    >>> solution = seqsolve.deeppcr(layer, "cs", layers, rng.standard_normal((5, 8)))
    >>> solution.success, solution.y.shape
    (True, (64, 5, 8))
    """
    if "linear_solver" in options:
        raise TypeError(
            "`linear_solver` is not an argument of deeppcr, which uses cyclic reduction; "
            "call deer to choose another."
        )
    return deer(f, jac, x, y0, linear_solver="cyclic_reduction", **options)
