"""`solve_ivp`: SciPy's contract, all steps solved together."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from seqsolve import _checks
from seqsolve.ivp._arguments import Arguments
from seqsolve.ivp._control import Control
from seqsolve.ivp._dense import DenseOutput
from seqsolve.ivp._events import EventFinder, parse_events
from seqsolve.ivp._integrate import Progress, integrate
from seqsolve.ivp._march import Piece
from seqsolve.ivp._method import Method, NDArray
from seqsolve.ivp._rhs import RightHandSide
from seqsolve.ivp.dop853 import DOP853
from seqsolve.ivp.implicit_euler import ImplicitEuler
from seqsolve.ivp.radau import Radau
from seqsolve.ivp.result import OdeResult, Trajectory
from seqsolve.ivp.rk4 import RK4
from seqsolve.ivp.rk45 import RK45
from seqsolve.ivp.trapezoid import Trapezoid
from seqsolve.solution import ConvergenceWarning

__all__ = ["METHODS", "solve_ivp"]

METHODS: dict[str, type[Method]] = {
    m.name: m for m in (RK45, DOP853, RK4, Radau, Trapezoid, ImplicitEuler)
}

_MESSAGES = {
    0: "The end of the interval was reached.",
    1: "A terminal event happened.",
    -1: "The step size the tolerances require is below the spacing of numbers.",
}


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
    first_step: float | None = None,
    max_step: float = np.inf,
) -> OdeResult:
    """Solve ``dy/dt = fun(t, y)``, ``y(t0) = y0``, for many times at once.

    A replacement of `scipy.integrate.solve_ivp` in the same words. A coarse
    pass, step by step with loose tolerances, finds out where steps are needed;
    from there meshes with finer and finer steps are solved by Newton's method,
    each mesh as one recurrence, until every step meets the tolerances. So the
    number of calls of `fun` that wait for each other hardly grows with the
    accuracy. With tolerances so loose that the coarse pass is most of the work
    (`rtol` above 1e-4) the steps are made one by one.

    Parameters
    ----------
    fun : callable
        ``fun(t, y)``, the derivatives. It is called with many points at once:
        `t` of shape ``(k,)``, `y` of shape ``(n, k)``; what it returns
        broadcasts to ``(n, k)``. A function that cannot do that is called
        point by point, with a float and an array of shape ``(n,)``.
    t_span : tuple of float
        Where to begin and to end; backwards too.
    y0 : array_like, shape (n,)
        Initial state, real or complex.
    method : {"RK45", "DOP853", "RK4", "Radau", "Trapezoid", "ImplicitEuler"} or Method
        Explicit: Dormand and Prince's pair of orders 5 and 4, their method of
        order 8, the classical method of order 4. Implicit, for stiff problems:
        Radau IIA of order 5, the trapezoidal rule, implicit Euler. With the
        methods of orders 1, 2 and 4 errors add up over the steps; with the
        others the result is better than its tolerance says.
    t_eval : array_like, shape (n_points,), optional
        Times at which the solution is wanted, in the order of integration; by
        default the mesh.
    dense_output : bool
        Whether to return the trajectory as a function.
    events : callable or list of callable, optional
        ``event(t, y) -> float``, one point at a time; its zeros are found. An
        attribute ``terminal`` (a boolean, or a number of zeros) ends the
        integration, ``direction`` chooses the sign of the crossing.
    vectorized : bool
        For SciPy's sake: whether `fun` takes many points is found out.
    args : tuple, optional
        Further arguments of `fun`, `jac` and `events`.
    rtol, atol : float or array_like, shape (n,)
        Each step's estimated error is at most ``atol + rtol * abs(y)``, as a
        root mean square over the components.
    jac : callable, array_like or None
        ``jac(t, y)``, the derivatives of `fun` with respect to `y`, of shape
        ``(n, n)``, or with a last axis for many points; or a constant matrix.
        By default forward differences.
    first_step : float, optional
        The first step to try in the coarse pass.
    max_step : float
        The largest step.

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
    .. [2] U. M. Ascher, R. M. M. Mattheij, R. D. Russell, "Numerical Solution
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
    fixed = _args(args)
    start, end = _span(t_span)
    state = _initial_state(y0)
    times = None if t_eval is None else _t_eval(t_eval, start, end)
    finder = EventFinder(parse_events(events, fixed))
    largest = _positive("max_step", max_step)
    if first_step is not None:
        first_step = _positive("first_step", first_step)
        if first_step > abs(end - start):
            raise ValueError(
                f"`first_step` must be at most the length of `t_span`, {abs(end - start):g}; "
                f"got {first_step:g}."
            )
    relative, absolute = _tolerances(rtol, atol, state.size)
    rhs = RightHandSide(fun, jac, (start, end), state, Arguments(fixed))
    direction = 1.0 if end >= start else -1.0
    control = Control(rhs, scheme, relative, absolute, largest, end, direction)
    progress = Progress(False, 0, 0, [])
    pieces, stopped = [], None
    with np.errstate(all="ignore"):
        for piece in integrate(control, start, state, first_step, progress):
            pieces.append(piece)
            if not piece.errors.size:
                continue
            stopped = finder.search(piece.t, piece.y, DenseOutput(piece.t, piece.coefficients))
            if stopped is not None:
                break
    if progress.fell_back and not progress.failed:
        _warn(progress)
    t, y, sol = _joined(pieces, start, state)
    trajectory = Trajectory(scheme, rhs, t, y)
    if stopped is not None:
        sol = sol.until(stopped)
        t = sol.ts
        y = np.concatenate([y[: t.size - 1], sol(stopped)[None]])
    if times is not None:
        t = times[(times - sol.ts[-1]) * direction <= 0]
        y = sol.rows(t)
    status = 1 if stopped is not None else -1 if progress.failed else 0
    shape = (0, state.size)
    return OdeResult(
        t=t,
        y=y.T,
        sol=sol if dense_output else None,
        t_events=None if events is None else [np.array(e) for e in finder.times],
        y_events=None
        if events is None
        else [np.array(e) if e else np.empty(shape, state.dtype) for e in finder.states],
        nfev=rhs.nfev,
        njev=rhs.njev,
        nlu=rhs.nlu,
        depth=rhs.depth,
        n_sequential=progress.one_by_one,
        status=status,
        message=_MESSAGES[status],
        success=status >= 0,
        trajectory=trajectory,
    )


def _method(method: Any) -> Method:
    if isinstance(method, Method):
        return method
    if isinstance(method, type) and issubclass(method, Method):
        return method()
    return METHODS[_checks.one_of("method", method, METHODS)]()


def _args(args: Any) -> tuple[Any, ...]:
    if args is None:
        return ()
    try:
        return tuple(args)
    except TypeError:
        raise TypeError(f"`args` must be a tuple, as in args=({args!r},); got {args!r}.") from None


def _span(t_span: Any) -> tuple[float, float]:
    try:
        start, end = map(float, t_span)
    except TypeError:
        raise TypeError(f"`t_span` must be two numbers; got {t_span!r}.") from None
    except ValueError:
        raise ValueError(f"`t_span` must be two numbers; got {t_span!r}.") from None
    if not np.isfinite(start) or np.isnan(end):
        raise ValueError(f"`t_span` must begin with a finite number; got {t_span!r}.")
    return start, end


def _initial_state(y0: Any) -> NDArray:
    try:
        state = np.asarray(y0)
        state = state.astype(np.complex128 if state.dtype.kind == "c" else np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(f"`y0` must be an array of numbers; got {y0!r}.") from None
    if state.ndim != 1 or state.size == 0:
        raise ValueError(f"`y0` must be 1-dimensional and not empty; got shape {state.shape}.")
    if not np.isfinite(state).all():
        raise ValueError("`y0` must be finite; got NaN or infinity.")
    return state


def _t_eval(t_eval: Any, start: float, end: float) -> NDArray:
    times = np.asarray(t_eval, dtype=float)
    if times.ndim != 1:
        raise ValueError(f"`t_eval` must be 1-dimensional; got shape {times.shape}.")
    low, high = min(start, end), max(start, end)
    outside = ~((times >= low) & (times <= high))
    if outside.any():
        raise ValueError(
            f"`t_eval` must lie within `t_span`, from {low:g} to {high:g}; "
            f"got {float(times[outside][0]):g}."
        )
    steps = np.diff(times)
    if (steps <= 0).any() if end >= start else (steps >= 0).any():
        order = "increase" if end >= start else "decrease"
        raise ValueError(f"`t_eval` must {order} strictly, as `t_span` does.")
    return times


def _positive(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"`{name}` must be a number; got {value!r}.") from None
    if not number > 0:
        raise ValueError(f"`{name}` must be positive; got {number:g}.")
    return number


def _tolerances(rtol: Any, atol: Any, n: int) -> tuple[NDArray, NDArray]:
    relative, absolute = np.asarray(rtol, dtype=float), np.asarray(atol, dtype=float)
    for name, value in (("rtol", relative), ("atol", absolute)):
        if value.shape not in ((), (n,)):
            raise ValueError(f"`{name}` must be a number or have shape ({n},); got {value.shape}.")
        if not (np.isfinite(value).all() and (value >= 0).all()):
            raise ValueError(f"`{name}` must be finite and at least 0; got {value}.")
    smallest = 100 * float(np.finfo(float).eps)
    if (relative < smallest).any():
        warnings.warn(
            f"`rtol` must be at least {smallest:.3g}, which is used; got {relative}.", stacklevel=3
        )
        relative = np.maximum(relative, smallest)
    return relative, absolute


def _joined(
    pieces: list[Piece], start: float, state: NDArray
) -> tuple[NDArray, NDArray, DenseOutput]:
    """Return the mesh, the states and the trajectory of all stretches."""
    t = np.concatenate([[start], *(p.t[1:] for p in pieces)])
    y = np.concatenate([state[None], *(p.y[1:] for p in pieces)])
    parts = [p.coefficients for p in pieces if p.errors.size]
    coefficients = np.concatenate(parts, axis=1) if parts else state[None, None]
    return t, y, DenseOutput(t, coefficients)


def _warn(progress: Progress) -> None:
    first, last = progress.fell_back[0][0], progress.fell_back[-1][1]
    warnings.warn(
        f"Newton's method did not converge on {len(progress.fell_back)} stretches between "
        f"t = {first:.6g} and t = {last:.6g}; {progress.one_by_one} of "
        f"{progress.one_by_one + progress.together} steps were made one by one. The result meets "
        "the tolerances all the same.",
        ConvergenceWarning,
        stacklevel=3,
    )
