"""The Jacobi family: fixed-point sweeps over triangular systems.

A feed-forward computation is a triangular system ``s[t] = h_t(s[<t])``. All
positions can be evaluated at once from a guess, and again from the result:
after k sweeps the first k positions are exact, and often many more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from seqsolve import _checks
from seqsolve._outcome import OnFailure
from seqsolve._placement import placed
from seqsolve._problem import Problem
from seqsolve._sweeps import Sweeper, TriangularMap
from seqsolve.backend import Array
from seqsolve.solution import IterationState, Solution
from seqsolve.step import StepFunction, Tree

__all__ = ["TriangularMap", "gauss_seidel", "gs_jacobi", "jacobi", "jacobi_gs", "triangular_map"]


def triangular_map(
    f: StepFunction,
    x: Tree,
    y0: Any,
    *,
    backend: Any = None,
    n_steps: int | None = None,
) -> TriangularMap:
    """Return the recurrence ``y[t] = f(y[t-1], x[t])`` as a triangular system.

    Parameters
    ----------
    f : callable
        ``f(y_prev, x) -> y``, vectorised over every leading axis, as for `deer`.
    x : array, tree of arrays or None
        Input; every leaf has leading axis `n_steps`, then the batch axes (or 1
        in their place). None: autonomous.
    y0 : array_like, shape (*batch, n_state)
        Initial state. Its dtype is computed in.
    backend : str or Backend, optional
        Where to run; by default where the arrays live.
    n_steps : int, optional
        Number of steps; needed where `x` is None.

    Returns
    -------
    TriangularMap
        For the solvers of the Jacobi family; its `shape` is that of the guess.
        Their solutions have gradients (`seqsolve.vjp`). The sweeps of an `ElementStep`
        are fused where the backend does that
        (:class:`seqsolve.backend.JacobiSweeps`): then every sequence is swept
        as if it were alone.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong; the message names it.

    Examples
    --------
    >>> import numpy as np, seqsolve
    >>> h = seqsolve.triangular_map(lambda y, x: 0.2 * y + x, np.ones((100, 1)), [0.0])
    >>> solution = seqsolve.jacobi(h, np.zeros(h.shape))
    >>> solution.success, solution.nit < 25
    (True, True)
    """
    return TriangularMap(Problem(f, None, x, y0, backend=backend, n_steps=n_steps))


@placed
def jacobi(
    h: Callable[[Array, slice], Array],
    guess: Any,
    *,
    backend: Any = None,
    rtol: float | None = None,
    atol: Any = None,
    maxiter: int | None = None,
    window: int | None = None,
    on_failure: OnFailure = "warn",
    out: Any = None,
    callback: Callable[[IterationState], Any] | None = None,
    progress: bool = False,
) -> Solution:
    """Solve ``s[t] = h_t(s[<t])`` by Jacobi sweeps: all positions at once, again and again.

    Parameters
    ----------
    h : callable
        ``h(s, rows)`` returns the new values of the positions in the slice
        `rows` (its stride may exceed 1). It may read any earlier position of
        `s`, and must not read later ones or write: it is tried on the first
        two positions.
    guess : array_like, shape (n_steps, *batch, n_state)
        First iterate. Its dtype is computed in.
    backend : str or Backend, optional
        Where to run; by default where the arrays live.
    rtol, atol : float, optional
        A position is solved when a sweep changes it by at most ``atol + rtol
        |s|`` in every element. Default: both 1e-12 in double and 1e-6 in
        single precision. `atol` may have shape ``(n_state,)``.
    maxiter : int, optional
        Sweeps for each window. Default: as many as it has positions, after
        which the result is exact.
    window : int, optional
        Positions swept together, window after window. Default: all.
    on_failure : {"warn", "return", "raise", "sequential"}
        What happens if the sweeps run out, as for `deer`.
    out : array, shape (n_steps, *batch, n_state), optional
        Receives the result.
    callback : callable, optional
        Called with an `IterationState` after each sweep; may raise
        StopIteration to stop.
    progress : bool
        Show a progress bar (needs tqdm).

    Returns
    -------
    Solution
        `nit` counts sweeps.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong, or `h` returned what it must not.
    ConvergenceError
        With ``on_failure="raise"``.

    References
    ----------
    .. [1] Y. Song et al., "Accelerating feedforward computation via parallel
       nonlinear equation solving", arXiv:2002.03629, algorithms 1-3.

    Examples
    --------
    A stack with skip connections, each layer reading the two before it:

    >>> import numpy as np, seqsolve
    >>> def h(s, rows):
    ...     before = np.concatenate([np.ones((2, 1)), s])
    ...     return np.cos(0.3 * (before[1:-1] + before[:-2]))[rows]
    >>> solution = seqsolve.jacobi(h, np.zeros((50, 1)))
    >>> solution.success, solution.nit < 50
    (True, True)
    """
    sweeper = Sweeper(h, guess, backend, rtol, atol, inner=1)
    size = sweeper.n_steps if window is None else _checks.integer("window", window, 1)
    return sweeper.solve(size, maxiter, on_failure, out, callback, progress)


@placed
def gauss_seidel(
    h: Callable[[Array, slice], Array],
    guess: Any,
    *,
    backend: Any = None,
    on_failure: OnFailure = "warn",
    out: Any = None,
    callback: Callable[[IterationState], Any] | None = None,
    progress: bool = False,
) -> Solution:
    """Solve ``s[t] = h_t(s[<t])`` position by position: the feed-forward computation itself.

    Parameters
    ----------
    h : callable
        ``h(s, rows)``, as for `jacobi`.
    guess : array_like, shape (n_steps, *batch, n_state)
        First iterate. Its dtype is computed in.
    backend : str or Backend, optional
        Where to run; by default where the arrays live.
    on_failure : {"warn", "return", "raise", "sequential"}
        What happens if a value is not finite, as for `deer`.
    out : array, shape (n_steps, *batch, n_state), optional
        Receives the result.
    callback : callable, optional
        Called with an `IterationState` after each sweep; may raise
        StopIteration to stop.
    progress : bool
        Show a progress bar (needs tqdm).

    Returns
    -------
    Solution
        Exact; `nit` is the number of positions.

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As for `jacobi`.

    Examples
    --------
    >>> import numpy as np, seqsolve
    >>> h = seqsolve.triangular_map(lambda y, x: 2 * y, None, [1.0], n_steps=5)
    >>> seqsolve.gauss_seidel(h, np.zeros(h.shape)).y[:, 0]
    array([ 2.,  4.,  8., 16., 32.])
    """
    sweeper = Sweeper(h, guess, backend, None, None, inner=1)
    return sweeper.solve(1, None, on_failure, out, callback, progress)


@placed
def gs_jacobi(
    h: Callable[[Array, slice], Array],
    guess: Any,
    *,
    block_size: int,
    backend: Any = None,
    rtol: float | None = None,
    atol: Any = None,
    maxiter: int | None = None,
    on_failure: OnFailure = "warn",
    out: Any = None,
    callback: Callable[[IterationState], Any] | None = None,
    progress: bool = False,
) -> Solution:
    """Gauss-Seidel over blocks, Jacobi sweeps inside each.

    Parameters
    ----------
    h : callable
        ``h(s, rows)``, as for `jacobi`.
    guess : array_like, shape (n_steps, *batch, n_state)
        First iterate. Its dtype is computed in.
    block_size : int
        Positions in a block: the parallel width, and the most sweeps that a
        block can take.
    backend : str or Backend, optional
        Where to run; by default where the arrays live.
    rtol, atol : float, optional
        When a position is solved, as for `jacobi`.
    maxiter : int, optional
        Sweeps for each block. Default: `block_size`, after which the result is
        exact.
    on_failure : {"warn", "return", "raise", "sequential"}
        What happens if the sweeps run out, as for `deer`.
    out : array, shape (n_steps, *batch, n_state), optional
        Receives the result.
    callback : callable, optional
        Called with an `IterationState` after each sweep; may raise
        StopIteration to stop.
    progress : bool
        Show a progress bar (needs tqdm).

    Returns
    -------
    Solution
        `nit` counts sweeps.

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As for `jacobi`.

    References
    ----------
    .. [1] Y. Song et al., "Accelerating feedforward computation via parallel
       nonlinear equation solving", arXiv:2002.03629, section 3.3.

    Examples
    --------
    >>> import numpy as np, seqsolve
    >>> h = seqsolve.triangular_map(lambda y, x: np.sin(y + x), np.ones((64, 1)), [0.0])
    >>> seqsolve.gs_jacobi(h, np.zeros(h.shape), block_size=16).success
    True
    """
    sweeper = Sweeper(h, guess, backend, rtol, atol, inner=1)
    size = _checks.integer("block_size", block_size, 1)
    return sweeper.solve(size, maxiter, on_failure, out, callback, progress)


@placed
def jacobi_gs(
    h: Callable[[Array, slice], Array],
    guess: Any,
    *,
    block_size: int,
    backend: Any = None,
    rtol: float | None = None,
    atol: Any = None,
    maxiter: int | None = None,
    window: int | None = None,
    on_failure: OnFailure = "warn",
    out: Any = None,
    callback: Callable[[IterationState], Any] | None = None,
    progress: bool = False,
) -> Solution:
    """Jacobi over blocks, Gauss-Seidel inside each.

    A sweep goes through the positions of a block in order, in all blocks at
    once, so that information crosses a whole block in each.

    Parameters
    ----------
    h : callable
        ``h(s, rows)``, as for `jacobi`.
    guess : array_like, shape (n_steps, *batch, n_state)
        First iterate. Its dtype is computed in.
    block_size : int
        Positions in a block: calls of `h` in a sweep. The number of blocks is
        the parallel width.
    backend : str or Backend, optional
        Where to run; by default where the arrays live.
    rtol, atol : float, optional
        When a position is solved, as for `jacobi`.
    maxiter : int, optional
        Sweeps for each window. Default: as many as it has positions and blocks
        together: blocks that are solved together are verified position by
        position.
    window : int, optional
        Positions swept together, window after window. Default: all.
    on_failure : {"warn", "return", "raise", "sequential"}
        What happens if the sweeps run out, as for `deer`.
    out : array, shape (n_steps, *batch, n_state), optional
        Receives the result.
    callback : callable, optional
        Called with an `IterationState` after each sweep; may raise
        StopIteration to stop.
    progress : bool
        Show a progress bar (needs tqdm).

    Returns
    -------
    Solution
        `nit` counts sweeps; `nfev` counts calls of `h`, or `block_size` for
        each sweep where the backend fuses them.

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As for `jacobi`.

    References
    ----------
    .. [1] Y. Song et al., "Accelerating feedforward computation via parallel
       nonlinear equation solving", arXiv:2002.03629, section 3.3.

    Examples
    --------
    >>> import numpy as np, seqsolve
    >>> h = seqsolve.triangular_map(lambda y, x: np.sin(y + x), np.ones((64, 1)), [0.0])
    >>> seqsolve.jacobi_gs(h, np.zeros(h.shape), block_size=8).success
    True
    """
    inner = _checks.integer("block_size", block_size, 1)
    sweeper = Sweeper(h, guess, backend, rtol, atol, inner=inner)
    size = sweeper.n_steps if window is None else _checks.integer("window", window, 1)
    return sweeper.solve(size, maxiter, on_failure, out, callback, progress)
