"""Gradients of solutions of ODEs: discretised first, then differentiated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from seqsolve import _checks
from seqsolve._placement import placed
from seqsolve._warn import warn
from seqsolve.ivp._argument_gradients import ArgumentGradients
from seqsolve.ivp._dense import locate
from seqsolve.ivp._method import NDArray, Points
from seqsolve.ivp._refine import steps_together
from seqsolve.ivp.result import OdeResult, Trajectory
from seqsolve.solution import ConvergenceWarning

__all__ = ["OdeCotangents", "vjp"]


class OdeCotangents(NamedTuple):
    """Gradients with respect to what a solution depends on.

    Parameters
    ----------
    y0 : array, shape (n,) or ``(n, *batch)``
        With respect to the initial state.
    args : tuple
        With respect to each of the further arguments of `fun`: a float for a
        number, an array for an array of real numbers and for the values of a
        `Batched` argument or a `Signal`, None for anything else.
    """

    y0: NDArray
    args: tuple[Any, ...]


@placed
def vjp(
    result: OdeResult, cotangent: Any, fun_vjp: Callable[..., Any] | None = None
) -> OdeCotangents:
    """Pull a cotangent of the states back to the initial state and to `args`.

    The recurrence of the method on its mesh is differentiated: its adjoint
    ``lam[i] = g[i] + A[i]^T lam[i + 1]`` is solved for all steps at once, then
    every step's cotangent is pulled back through its stages to the values of
    `fun`, all steps at once too. Times are held fixed: those of the mesh, and
    that of a terminal event.

    Parameters
    ----------
    result : OdeResult
        Of `solve_ivp`.
    cotangent : array_like, shape (n, n_points) or ``(n, n_points, *batch)``
        Gradient of a scalar with respect to ``result.y``, directly.
    fun_vjp : callable, optional
        ``fun_vjp(t, y, w, *args)`` with `t` of shape ``(k,)``, `y` and `w` of
        shape ``(n, k)``: the gradients of ``sum(w * fun(t, y, *args))`` with
        respect to each of `args` as `fun` receives them, a tuple with None
        for those that need no gradient. Without it `fun` is evaluated twice
        for every number in `args`, by central differences; with it the cost
        does not depend on how many numbers there are. Where `solve_ivp` was
        given `jac` as well, nothing is differenced.

    Returns
    -------
    OdeCotangents
        The scalar's gradients.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong; the message names it.

    Warns
    -----
    ConvergenceWarning
        The integration did not reach its end.

    References
    ----------
    .. [1] Y. H. Lim et al., "Parallelizing non-linear sequential models over
       the sequence length", arXiv:2309.12252, section 3.1.1.

    Examples
    --------
    How the state at t = 2 depends on the rate of decay:

    >>> import numpy as np, seqsolve
    >>> result = seqsolve.solve_ivp(
    ...     lambda t, y, rate: -rate * y, (0, 2), [3.0], args=(0.5,), t_eval=[2.0], rtol=1e-9
    ... )
    >>> gradient = seqsolve.ivp.vjp(result, [[1.0]])
    >>> bool(np.isclose(gradient.args[0], -2 * 3 * np.exp(-1)))
    True
    >>> exact = seqsolve.ivp.vjp(result, [[1.0]], lambda t, y, w, rate: (-(w * y).sum(),))
    >>> bool(np.isclose(exact.args[0], gradient.args[0]))
    True
    """
    if not isinstance(result, OdeResult):
        raise TypeError(f"`result` must be an OdeResult; got {type(result).__name__}.")
    _checks.function("fun_vjp", fun_vjp, optional=True)
    rhs = result.trajectory.rhs
    y = rhs.backend.to_numpy(result.y)
    try:
        g_out = rhs.host(cotangent).astype(y.dtype, casting="same_kind")
    except (TypeError, ValueError):
        raise TypeError(
            f"`cotangent` must be an array of numbers, {result.y.dtype}; got {cotangent!r}."
        ) from None
    if g_out.shape != result.y.shape:
        raise ValueError(
            f"`cotangent` must have the shape of `result.y`, {result.y.shape}; got {g_out.shape}."
        )
    if not np.all(result.success):
        warn(
            "The integration did not reach its end. " + result.message,
            ConvergenceWarning,
        )
    batch = g_out.shape[2:]
    with np.errstate(all="ignore"):
        rows, lane, times = _rows(rhs.backend.to_numpy(result.t), y, g_out)
        y0_bar, args_bar = _pull(result.trajectory, times, rows, lane, fun_vjp)
    return OdeCotangents(rhs.backend.asarray(y0_bar.T.reshape(-1, *batch)), args_bar)


def _rows(t: NDArray, y: NDArray, g: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return cotangents ``(k, n)`` of any batch with the trajectory and the time of each.

    Those of states that were not reached, which are NaN, are left out.
    """
    n, n_times = g.shape[:2]
    n_lanes = prod(g.shape[2:])
    lane, times = np.tile(np.arange(n_lanes), n_times), np.repeat(t, n_lanes)
    reached = ~np.isnan(y).reshape(n, -1).any(axis=0)
    return g.reshape(n, -1).T[reached], lane[reached], times[reached]


def _pull(
    trajectory: Trajectory, times: NDArray, g_out: NDArray, lane: NDArray, fun_vjp: Any
) -> tuple[NDArray, tuple[Any, ...]]:
    """Return the gradients, for cotangents ``(k, n)`` at some times of some trajectories."""
    method, rhs = trajectory.method, trajectory.rhs.renewed(central=True)
    t, y = trajectory.t, trajectory.y
    ends = _ends(trajectory)
    gradients = ArgumentGradients(rhs, fun_vjp, np.result_type(g_out, y))
    g = np.zeros(y.shape, y.dtype)
    after = locate(t, ends, times, lane)
    on_mesh = t[after] == times
    np.add.at(g, after[on_mesh], g_out[on_mesh])
    steps = np.ones(t.size, bool)
    steps[ends - 1] = False
    steps = np.flatnonzero(steps)
    between = np.searchsorted(steps, after[~on_mesh] - 1)
    c_bar = _coefficients(trajectory, steps, between, times[~on_mesh], g_out[~on_mesh])
    used = np.unique(between)
    for part in _windows(used.size, y.shape[1]):
        i = used[part]
        at = _points(trajectory, steps[i])
        g[steps[i]] += method.pull(rhs, at, c_bar[:, i], np.zeros_like(at.y)).y
    lam = _adjoint(trajectory, rhs, steps, g)
    for part in _windows(steps.size if len(rhs.arguments) else 0, y.shape[1]):
        own = c_bar[:, part] if used.size else None
        at = _points(trajectory, steps[part])
        gradients.add(method.pull(rhs, at, own, lam[steps[part] + 1]))
    begins = np.concatenate([[0], ends[:-1]])
    return lam[begins], gradients.totals()


def _coefficients(
    trajectory: Trajectory, steps: NDArray, i: NDArray, times: NDArray, w: NDArray
) -> NDArray:
    """Return the cotangents of the coefficients of all steps' interpolants.

    They are the cotangents `w` of the states at `times`, in the steps ``steps[i]``,
    times the powers of where in these steps that is.
    """
    t, y = trajectory.t, trajectory.y
    c_bar = np.zeros((trajectory.method.degree + 1, steps.size, y.shape[1]), np.result_type(w, y))
    begins = steps[i]
    theta = (times - t[begins]) / (t[begins + 1] - t[begins])
    for power, total in enumerate(c_bar):
        np.add.at(total, i, theta[:, None] ** power * w)
    return c_bar


def _ends(trajectory: Trajectory) -> NDArray:
    """Return where each trajectory's points end."""
    if trajectory.lane is None:
        return np.array([trajectory.t.size])
    return np.cumsum(np.bincount(trajectory.lane))


def _points(trajectory: Trajectory, i: NDArray) -> Points:
    """Return the steps that begin at some points of the mesh."""
    t, lane = trajectory.t, trajectory.lane
    return Points(t[i], t[i + 1] - t[i], trajectory.y[i], None if lane is None else lane[i])


def _windows(n_steps: int, n: int) -> Iterator[slice]:
    window = steps_together(n)
    for i in range(0, n_steps, window):
        yield slice(i, min(i + window, n_steps))


def _adjoint(trajectory: Trajectory, rhs: Any, steps: NDArray, g: NDArray) -> NDArray:
    """Solve ``lam[i] = g[i] + A[i]^T lam[i + 1]``; nothing connects two trajectories.

    Window after window from the end, so that no more Jacobians than a window's
    are kept.
    """
    lam = g.copy()
    n = g.shape[1]
    backend = rhs.backend
    for part in reversed(list(_windows(g.shape[0] - 1, n))):
        rows = np.arange(g.shape[0] - 1)[part]
        A = np.zeros((rows.size, n, n), g.dtype)
        here = steps[(steps >= rows[0]) & (steps <= rows[-1])]
        if here.size:
            A[here - rows[0]] = trajectory.method.jacobian(rhs, _points(trajectory, here))
        solved = backend.linear_recurrence(
            backend.asarray(A[:, None]),
            backend.asarray(g[part][:, None]),
            backend.asarray(lam[rows[-1] + 1][None]),
            reverse=True,
            transpose=True,
            method="auto",
            out=None,
        )
        lam[part] = backend.to_numpy(solved)[:, 0]
    return lam
