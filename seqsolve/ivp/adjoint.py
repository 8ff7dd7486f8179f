"""Gradients of solutions of ODEs: discretised first, then differentiated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from seqsolve import _checks
from seqsolve._placement import placed
from seqsolve._warn import warn
from seqsolve.backend import Backend
from seqsolve.ivp._argument_gradients import ArgumentGradients
from seqsolve.ivp._dense import locate
from seqsolve.ivp._method import NDArray, Points
from seqsolve.ivp._returned import as_numpy
from seqsolve.ivp._tape import Tape
from seqsolve.ivp._trajectory import Trajectory
from seqsolve.ivp.result import OdeResult
from seqsolve.solution import ConvergenceWarning

__all__ = ["OdeCotangents", "vjp"]

#: Jacobians of a step that are kept, about.
_STAGES = 8


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
        g_out = as_numpy(cotangent, rhs.backend).astype(y.dtype, casting="same_kind")
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
    """Return the gradients, for cotangents ``(k, n)`` at some times of some trajectories.

    Window after window from the end, so that no more Jacobians than a window's
    are kept. Nothing connects two trajectories.
    """
    rhs = trajectory.rhs.renewed()
    t, y = trajectory.t, trajectory.y
    ends = _ends(trajectory)
    gradients = ArgumentGradients(rhs, fun_vjp, np.result_type(g_out, y))
    lam = np.zeros(y.shape, y.dtype)
    after = locate(t, ends, times, lane)
    on_mesh = t[after] == times
    np.add.at(lam, after[on_mesh], g_out[on_mesh])
    inside = _Inside(after[~on_mesh] - 1, times[~on_mesh], g_out[~on_mesh])
    is_step = np.ones(t.size, bool)
    is_step[ends - 1] = False
    for rows in reversed(list(_windows(t.size - 1, rhs.steps_together(_STAGES)))):
        steps = rows.start + np.flatnonzero(is_step[rows])
        c_bar = _coefficients(trajectory, steps, inside)
        tape = trajectory.method.taped(rhs, _points(trajectory, steps), dense=c_bar is not None)
        if rhs.bands is not None:
            _sweep(tape, steps, c_bar, lam)
        else:
            A = np.zeros((rows.stop - rows.start, *2 * y.shape[1:]), y.dtype)
            A[steps - rows.start] = tape.jacobian()
            if c_bar is not None:
                lam[steps] += tape.pull(np.zeros_like(y[steps]), c_bar).y
            lam[rows] = _adjoint(rhs.backend, A, lam[rows], lam[rows.stop])
        if len(rhs.arguments):
            gradients.add(tape.pull(lam[steps + 1], c_bar))
    begins = np.concatenate([[0], ends[:-1]])
    return lam[begins], gradients.totals()


class _Inside(NamedTuple):
    """Cotangents of states inside steps.

    Parameters
    ----------
    steps : ndarray, shape (k,)
        The mesh points at which these steps begin.
    times : ndarray, shape (k,)
        Where in them.
    w : ndarray, shape (k, n)
        The cotangents.
    """

    steps: NDArray
    times: NDArray
    w: NDArray


def _coefficients(trajectory: Trajectory, steps: NDArray, inside: _Inside) -> NDArray | None:
    """Return the cotangents of the coefficients of some steps' interpolants, None if all are zero.

    They are the cotangents of the states inside, times the powers of where in
    the steps that is.
    """
    t, y = trajectory.t, trajectory.y
    begins, times, w = (a[np.isin(inside.steps, steps)] for a in inside)
    if not begins.size:
        return None
    i = np.searchsorted(steps, begins)
    c_bar = np.zeros((trajectory.method.degree + 1, steps.size, y.shape[1]), np.result_type(w, y))
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


def _windows(n_steps: int, window: int) -> Iterator[slice]:
    for i in range(0, n_steps, window):
        yield slice(i, min(i + window, n_steps))


def _sweep(tape: Tape, steps: NDArray, c_bar: NDArray | None, lam: NDArray) -> None:
    """Add what the adjoint brings from step to step, the last first, without their Jacobians."""
    for k in reversed(range(steps.size)):
        one, i = slice(k, k + 1), steps[k]
        own = None if c_bar is None else c_bar[:, one]
        lam[i] += tape.rows(one).pull(lam[i + 1][None], own).y[0]


def _adjoint(backend: Backend, A: NDArray, g: NDArray, last: NDArray) -> NDArray:
    """Solve ``lam[i] = g[i] + A[i]^T lam[i + 1]`` from `last`."""
    solved = backend.linear_recurrence(
        backend.asarray(A[:, None]),
        backend.asarray(g[:, None]),
        backend.asarray(last[None]),
        reverse=True,
        transpose=True,
        method="auto",
        out=None,
    )
    return backend.to_numpy(solved)[:, 0]
