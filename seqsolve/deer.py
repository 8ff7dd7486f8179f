"""Newton's method over whole windows of a nonlinear recurrence (DEER)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

import numpy as np

from seqsolve import _checks
from seqsolve._driver import drive
from seqsolve._fused import FusedNewton
from seqsolve._march import march_block
from seqsolve._newton import ROUNDING_LEVEL, Newton
from seqsolve._outcome import ON_FAILURE, OnFailure, Reporter, conclude
from seqsolve._placement import placed
from seqsolve._problem import Problem
from seqsolve.backend import Array
from seqsolve.jacobian import Difference, Hutchinson, Structure, StructureName
from seqsolve.solution import IterationState, Solution
from seqsolve.step import StepFunction, Tree

__all__ = ["DeerOptions", "deer"]

DEFAULT_MAXITER = 100


class DeerOptions(TypedDict, total=False):
    """The keyword arguments of `deer` that `deeppcr` shares, for type checkers."""

    backend: Any
    n_steps: int | None
    jac_structure: StructureName | Structure | None
    initial_guess: Any
    rtol: float | None
    atol: Any
    maxiter: int | None
    window: int | None
    damping: float
    on_failure: OnFailure
    out: Any
    callback: Callable[[IterationState], Any] | None
    progress: bool


@placed
def deer(
    f: StepFunction,
    jac: Callable[[Array, Tree], Array] | Difference | Hutchinson | None,
    x: Tree,
    y0: Any,
    *,
    backend: Any = None,
    n_steps: int | None = None,
    jac_structure: StructureName | Structure | None = None,
    initial_guess: Any = None,
    rtol: float | None = None,
    atol: Any = None,
    maxiter: int | None = None,
    window: int | None = None,
    damping: float = 0.0,
    linear_solver: str = "auto",
    on_failure: OnFailure = "warn",
    out: Any = None,
    callback: Callable[[IterationState], Any] | None = None,
    progress: bool = False,
) -> Solution:
    r"""Solve ``y[t] = f(y[t-1], x[t])`` for all steps of a window at once.

    Newton's method on the whole window: each iteration evaluates `f` and its
    Jacobian at all steps together and solves one linear recurrence. Windows
    are solved in order, each from the exact end of the last.

    Parameters
    ----------
    f : callable
        ``f(y_prev, x) -> y``, vectorised over every leading axis: it is called
        with `y_prev` of shape ``(steps, n_state)``, or ``(steps, sequences,
        n_state)`` where `y0` has a batch. A step object (`seqsolve.step`,
        `seqsolve.models`) may carry its Jacobian.
    jac : callable, str, Hutchinson or None
        ``jac(y_prev, x)``, of shape ``(..., n)`` for a diagonal Jacobian,
        ``(..., h, k, k)`` for a block-diagonal one, ``(..., n, n)`` for a dense
        one. ``"cs"`` (complex step; `f` must be analytic), ``"2-point"`` or
        ``"3-point"`` compute it. `Hutchinson` estimates its diagonal. None
        takes what the step object carries, else ``"2-point"``.
    x : array, tree of arrays or None
        Input; every leaf has leading axis `n_steps`, then the batch axes (or
        1 in their place). None: autonomous.
    y0 : array_like, shape (*batch, n_state)
        Initial state. Its dtype is computed in: float32, float64, complex64 or
        complex128; integers become float64.
    backend : str or Backend, optional
        Where to run: ``"numpy"``, ``"numba"``, ``"cupy"`` or another that is
        installed; by default where the arrays live.
    n_steps : int, optional
        Number of steps; needed where `x` is None.
    jac_structure : {"diagonal", "block_diagonal", "dense"} or BlockDiagonal, optional
        The structure to iterate with. A fuller Jacobian is projected onto it
        ("diagonal": quasi-DEER). A computed one takes as many evaluations as
        a block has columns, if `f` really has the structure at the first
        states; else it is computed dense, and projected.
    initial_guess : array_like, shape (n_steps, *batch, n_state), optional
        Guess of the trajectory; by default constant in each window, or what
        a backend that compiles `f` knows better.
    rtol, atol : float, optional
        At least 0. Step `t` is solved when ``|y - f| <= atol + rtol |y|`` for every
        element. Default: both 1e-12 in double and 1e-6 in single precision.
        `atol` may have shape ``(n_state,)``. By default, where an iteration
        does not even halve the residual, 16 units of rounding of the step's
        largest state are accepted as well: a small element cannot be computed
        from large ones to a precision of its own.
    maxiter : int, optional
        Iterations for each window. Default: 100. A window of `maxiter` steps
        or fewer always converges, up to rounding.
    window : int, optional
        Steps solved together; memory is bounded by it. Default: the backend's
        choice, which is 1 where the batch alone keeps it busy and no
        `linear_solver` is named, halved as often as memory asks for it. 1 steps
        through time, vectorised over the batch: no iterations, no Jacobians.
    damping : float
        In [0, 1), 0 by default: scales the Jacobian by ``1 - damping``, from Newton's method
        towards Jacobi's.
    linear_solver : {"auto", "scan", "cyclic_reduction", "sequential"}
        How each iteration's linear recurrence is solved; ``"auto"``, the
        default, is the backend's fastest.
    on_failure : {"warn", "return", "raise", "sequential"}
        What happens if a window does not converge: return the best iterate,
        with (the default) or without a `ConvergenceWarning`; raise
        `ConvergenceError`; or finish that sequence step by step.
    out : array, shape (n_steps, *batch, n_state), optional
        Receives the trajectory; may be memory-mapped, and may be the guess, but
        shares no memory with `x` and `y0`, which gradients need later.
    callback : callable, optional
        Called with an `IterationState` after each iteration; may raise
        StopIteration to stop.
    progress : bool
        Show a progress bar (needs tqdm).

    Returns
    -------
    Solution
        The trajectory, whether it meets the tolerance, and how it got there.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong, or `f` or `jac` returned what they must not.
    BackendUnavailableError
        The backend cannot run here.
    ConvergenceError
        With ``on_failure="raise"``.
    MemoryError
        A given `window` does not fit in memory; the message says which might.
    ImportError
        With ``progress=True`` where tqdm is not installed.

    Warns
    -----
    ConvergenceWarning
        A step does not meet the tolerance, with ``on_failure="warn"``.

    See Also
    --------
    sequential : The same recurrence, step by step.
    linear_recurrence : Recurrences that are linear in the state.
    vjp : Gradients of a solution.
    lyapunov_exponent : Whether solving in parallel pays.

    References
    ----------
    .. [1] Y. H. Lim et al., "Parallelizing non-linear sequential models over
       the sequence length", arXiv:2309.12252, section 3.
    .. [2] X. Gonzalez et al., "Towards scalable and stable parallelization of
       nonlinear RNNs", arXiv:2407.19115 (quasi-Newton).

    Examples
    --------
    >>> import numpy as np, seqsolve
    >>> def f(y, x):
    ...     return np.tanh(0.7 * y + x)
    >>> def jac(y, x):
    ...     return 0.7 * (1 - f(y, x) ** 2)
    >>> x = np.sin(np.arange(1000.0))[:, None]
    >>> solution = seqsolve.deer(f, jac, x, np.zeros(1))
    >>> solution.success, solution.y.shape
    (True, (1000, 1))

    A few iterations instead of a thousand steps, and the same trajectory:

    >>> stepped = seqsolve.sequential(f, x, np.zeros(1))
    >>> solution.nit < 10, bool(np.allclose(solution.y, stepped.y, rtol=0, atol=1e-11))
    (True, True)
    """
    problem = Problem(f, jac, x, y0, backend=backend, n_steps=n_steps, jac_structure=jac_structure)
    method = _checks.one_of(
        "linear_solver", linear_solver, ("auto", *problem.backend.capabilities.linear_solvers)
    )
    _checks.one_of("on_failure", on_failure, ON_FAILURE)
    relative, absolute = _checks.tolerances(rtol, atol, problem.dtype, problem.n_state)
    newton = Newton(
        problem=problem,
        rtol=relative,
        atol=problem.backend.asarray(absolute),
        rounding=ROUNDING_LEVEL * float(np.finfo(problem.dtype).eps) if atol is None else 0.0,
        maxiter=_checks.integer("maxiter", DEFAULT_MAXITER if maxiter is None else maxiter, 1),
        scale=1.0 - _checks.real("damping", damping, 0.0, 1.0),
        method=method,
        reporter=Reporter(callback, progress, problem.n_steps),
    )
    if initial_guess is not None:
        initial_guess = _checks.guess("initial_guess", initial_guess, problem.shape, problem.dtype)
    structure = problem.structure
    least_window = 1
    if window is not None:
        window = least_window = _checks.integer("window", window, 1)
    elif method == "auto":
        window = problem.window(problem.n_jacobian(structure))
    else:
        window = problem.parallel_window(structure)
    if window == 1:
        solve, span = None, march_block(problem)
    elif FusedNewton.applies(newton):
        fused = FusedNewton(newton, window)
        solve, span = fused.solve, fused.span
    else:
        solve, span = newton.solve, window
    with newton.reporter as reporter:
        solution = drive(
            problem,
            solve,
            span,
            reporter,
            least_window=least_window,
            guess=initial_guess,
            on_failure=on_failure,
            out=out,
        )
    return conclude(solution, on_failure)
