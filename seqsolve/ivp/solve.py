"""`solve_ivp`: SciPy's contract, all steps solved together."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, Literal

import numpy as np

from seqsolve import _checks
from seqsolve._placement import placed
from seqsolve.ivp import _options
from seqsolve.ivp._arguments import Arguments
from seqsolve.ivp._batch_events import BatchEvents
from seqsolve.ivp._control import Control
from seqsolve.ivp._events import EventFinder, parse_events
from seqsolve.ivp._integrate import solves_together
from seqsolve.ivp._many import solve_many
from seqsolve.ivp._mass import check_consistent, mass_matrix
from seqsolve.ivp._method import Method
from seqsolve.ivp._one import solve_one
from seqsolve.ivp._rhs import RightHandSide
from seqsolve.ivp.deer import DEER
from seqsolve.ivp.dop853 import DOP853
from seqsolve.ivp.implicit_euler import ImplicitEuler
from seqsolve.ivp.radau import Radau
from seqsolve.ivp.result import OdeResult
from seqsolve.ivp.rk4 import RK4
from seqsolve.ivp.rk23 import RK23
from seqsolve.ivp.rk45 import RK45
from seqsolve.ivp.trapezoid import Trapezoid

__all__ = ["METHODS", "solve_ivp"]

METHODS: dict[str, type[Method]] = {
    m.name: m for m in (RK45, RK23, DOP853, RK4, Radau, Trapezoid, ImplicitEuler, DEER)
}


@placed
def solve_ivp(
    fun: Callable[..., Any],
    t_span: Any,
    y0: Any,
    method: str | Method | type[Method] = "RK45",
    t_eval: Any = None,
    dense_output: bool = False,
    events: Any = None,
    vectorized: bool = False,
    args: Any = None,
    *,
    rtol: Any = 1e-3,
    atol: Any = 1e-6,
    jac: Any = None,
    jac_sparsity: Any = None,
    first_step: float | None = None,
    max_step: float = np.inf,
    mass: Any = None,
    steps: Literal["auto", "together", "one by one"] = "auto",
    backend: Any = None,
) -> OdeResult:
    """Solve ``dy/dt = fun(t, y)``, ``y(t0) = y0``, for many times at once.

    A replacement of `scipy.integrate.solve_ivp` in the same words. Where states
    are few, Newton's method solves for those of many steps at once: one call
    of `fun` takes all of them one iteration further. In a window that slides
    along it finds a crude trajectory; from there it goes on over all times,
    with steps that follow their errors, until every step meets the tolerances.
    So the number of calls of `fun` that wait for each other does not grow with
    the accuracy.

    Parameters
    ----------
    fun : callable
        ``fun(t, y)``, the derivatives. It is called with many points at once:
        `t` of shape ``(k,)``, `y` of shape ``(n, k)``; what it returns
        broadcasts to ``(n, k)``. A function that cannot do that is called
        point by point, with a float and an array of shape ``(n,)``.
    t_span : tuple of float
        Where to begin and to end; backwards too.
    y0 : array_like, shape (n,) or ``(n, *batch)``
        Initial state, real or complex. More axes make a batch: `fun` sees its
        trajectories as points among the others, `y` of shape ``(n, k)``.
        Arguments that differ between trajectories are `seqsolve.ivp.Batched`.
        A batch goes through time together, every trajectory with steps of
        its own.
    method : {"RK45", "RK23", "DOP853", "RK4", "Radau", "Trapezoid", "ImplicitEuler", "DEER"} \
or Method
        Explicit: Dormand and Prince's pair of orders 5 and 4, Bogacki and
        Shampine's of orders 3 and 2, Dormand and Prince's method of order 8,
        the classical method of order 4. Implicit, for stiff problems:
        Radau IIA of order 5, the trapezoidal rule, implicit Euler; and the
        exponential method of order 2 of DEER [1]_. With the
        methods of orders 1, 2 and 4 errors add up over the steps; with the
        others the result is better than its tolerance says.
    t_eval : array_like, shape (n_points,), optional
        Times at which the solution is wanted, in the order of integration; by
        default the mesh, and for a batch the beginning and the end.
    dense_output : bool
        Whether to return the trajectory as a function.
    events : callable or list of callable, optional
        ``event(t, y) -> float``, one point at a time; its zeros are found. An
        attribute ``terminal`` (a boolean, or a number of zeros) ends the
        integration, ``direction`` chooses the sign of the crossing.
    vectorized : bool
        For SciPy's sake: whether `fun` takes many points is found out.
    args : tuple, optional
        Further arguments of `fun`, `jac` and `events`. A
        `seqsolve.ivp.Batched` argument has values for every trajectory, a
        `seqsolve.ivp.Signal` is a function of time; the functions receive
        both with shape ``(..., k)``.
    rtol, atol : float or array_like, shape (n,)
        Each step's estimated error is at most ``atol + rtol * abs(y)``, as a
        root mean square over the components.
    jac : callable, array_like or None
        ``jac(t, y)``, the derivatives of `fun` with respect to `y`, of shape
        ``(n, n)``, or with a last axis for many points; or a constant matrix.
        Matrices of `scipy.sparse` too, one point at a time. By default forward
        differences.
    jac_sparsity : array_like or sparse matrix, shape (n, n), optional
        Nonzero where the Jacobian may be. Then differences displace many
        states together: for a banded Jacobian as many evaluations as it has
        diagonals, however large `n` is. Implicit methods solve banded linear
        systems where that pays; the states may be in any order. A callable
        `jac` must vanish where it is zero.
    first_step : float, optional
        The first step to try for the crude trajectory.
    max_step : float
        The largest step.
    mass : array_like, shape (n, n) or (n,), optional
        A constant matrix, or a diagonal, in front of the derivatives:
        ``mass @ dy/dt = fun(t, y)``. Where it is singular, some equations are
        algebraic; they must determine the algebraic variables (index 1), and
        `y0` must satisfy them. For ``"Radau"`` and ``"ImplicitEuler"``.
    steps : {"auto", "together", "one by one"}
        How to solve for one trajectory: many steps in a few calls of `fun` one
        after the other, or as SciPy does. ``"auto"`` solves them together where
        the states are few: where the Jacobians at the stages of one step have at
        most 1,500 entries. Those are 15 states for ``"RK45"``, 22 for
        ``"Radau"`` and 100 for ``"Radau"`` with five diagonals. A batch always
        goes step by step.
    backend : str or Backend, optional
        Whose arrays the functions take and return; by default that of the
        arrays in `y0` and `args`. Times, states and gradients of the result
        are its arrays too; events and `sol` give NumPy's. For one trajectory,
        meshes and the stages of single steps are in host memory, so points and
        derivatives travel once in each iteration. A batch stays where `fun`
        computes, with every method but ``"DEER"``; sizes and errors of steps
        travel, and flags of the iterations for the stages.

    Returns
    -------
    OdeResult
        The solution, and what it took.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong, or `fun` or `jac` returned what they must not.

    Warns
    -----
    ConvergenceWarning
        Newton's method did not converge on some stretch, as for chaotic
        problems; its steps were made one by one. The result is as accurate.

    References
    ----------
    .. [1] Y. H. Lim et al., "Parallelizing non-linear sequential models over
       the sequence length", arXiv:2309.12252.
    .. [2] J. Albersmeyer, M. Diehl, "The lifted Newton method and its
       application in optimization", SIAM J. Optim. 20, 2010.
    .. [3] U. M. Ascher, R. M. M. Mattheij, R. D. Russell, "Numerical Solution
       of Boundary Value Problems for Ordinary Differential Equations", 1995,
       chapter 9 (equidistribution).

    Examples
    --------
    >>> import numpy as np, seqsolve
    >>> def pendulum(t, y):
    ...     angle, velocity = y
    ...     return [velocity, -np.sin(angle)]
    >>> result = seqsolve.solve_ivp(pendulum, (0, 20), [1.0, 0.0], rtol=1e-8, atol=1e-10)
    >>> result.success, result.y.shape[0]
    (True, 2)
    >>> bool(result.depth < result.t.size)
    True
    """
    scheme = _method(method)
    _checks.function("fun", fun)
    start, end = _options.span(t_span)
    further = _options.arguments(args)
    home = _checks.choose_backend(backend, y0=y0, args=further)
    state = _options.initial_states(y0 if _on_host(y0) else home.to_numpy(y0), home)
    arguments = Arguments(further, state.shape[1:], home)
    batch = arguments.batch
    if batch:
        lead = state.reshape(len(state), -1)
        state = np.broadcast_to(lead, (len(state), prod(batch)))
    times = None if t_eval is None else _options.times(t_eval, start, end)
    looked_for = parse_events(events)
    _options.reachable(end, looked_for)
    largest = _options.positive("max_step", max_step)
    first = _options.first_step(first_step, abs(end - start))
    relative, absolute = _options.tolerances(rtol, atol, len(state))
    together = _options.solves_together(steps, bool(batch))
    matrix = mass_matrix(mass, len(state), state.dtype, scheme)
    pattern = _options.sparsity(jac_sparsity, len(state))
    rhs = RightHandSide(fun, jac, (start, end), state, arguments, matrix, home, pattern)
    if scheme.takes_bands and (home.xp is np or not batch):
        rhs = rhs.banded()
    direction = 1.0 if end >= start else -1.0
    control = Control(rhs, scheme, relative, absolute, largest, end, direction)
    with np.errstate(all="ignore"):
        check_consistent(rhs, start, state.reshape(len(state), -1).T, relative, absolute)
        if batch:
            finder = None
            if looked_for is not None:
                finder = BatchEvents(looked_for, rhs, state.shape[1])
            return solve_many(
                control, start, state, first, times, finder, batch, dense_output=dense_output
            )
        return solve_one(
            control,
            start,
            state,
            first,
            times,
            EventFinder(looked_for, rhs),
            together=solves_together(control) if together is None else together,
            dense_output=dense_output,
        )


def _on_host(a: Any) -> bool:
    return not hasattr(a, "shape") or isinstance(a, np.ndarray | np.generic)


def _method(method: Any) -> Method:
    if isinstance(method, Method):
        return method
    if isinstance(method, type) and issubclass(method, Method):
        return method()
    return METHODS[_checks.one_of("method", method, METHODS)]()
