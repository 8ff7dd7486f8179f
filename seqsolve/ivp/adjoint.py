"""Gradients of solutions of ODEs: discretised first, then differentiated."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from seqsolve.backend import get_backend
from seqsolve.ivp._method import NDArray, Points
from seqsolve.ivp._refine import steps_together
from seqsolve.ivp.result import OdeResult, Trajectory
from seqsolve.solution import ConvergenceWarning

__all__ = ["OdeCotangents", "vjp"]

#: Displacement of central differences, relative.
_DISPLACEMENT = float(np.finfo(float).eps) ** (1 / 3)


class OdeCotangents(NamedTuple):
    """Gradients with respect to what a solution depends on.

    Parameters
    ----------
    y0 : ndarray, shape (n,)
        With respect to the initial state.
    args : tuple
        With respect to each of the further arguments of `fun`: a float for a
        number, an array for an array of real numbers, None for anything else.
    """

    y0: NDArray
    args: tuple[Any, ...]


def vjp(result: OdeResult, cotangent: Any) -> OdeCotangents:
    """Pull a cotangent of the states back to the initial state and to `args`.

    The recurrence of the method on its mesh is differentiated: its adjoint
    ``lam[i] = g[i] + A[i]^T lam[i + 1]`` is solved for all steps at once. The
    derivatives of the steps are central differences, all steps at once too.
    Times are held fixed: those of the mesh, and that of a terminal event.

    Parameters
    ----------
    result : OdeResult
        Of `solve_ivp`.
    cotangent : array_like, shape (n, n_points)
        Gradient of a scalar with respect to ``result.y``, directly.

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
    """
    if not isinstance(result, OdeResult):
        raise TypeError(f"`result` must be an OdeResult; got {type(result).__name__}.")
    try:
        g_out = np.asarray(cotangent).astype(result.y.dtype, casting="same_kind")
    except (TypeError, ValueError):
        raise TypeError(
            f"`cotangent` must be an array of numbers, {result.y.dtype}; got {cotangent!r}."
        ) from None
    if g_out.shape != result.y.shape:
        raise ValueError(
            f"`cotangent` must have the shape of `result.y`, {result.y.shape}; got {g_out.shape}."
        )
    if not result.success:
        warnings.warn(
            "The integration did not reach its end. " + result.message,
            ConvergenceWarning,
            stacklevel=2,
        )
    with np.errstate(all="ignore"):
        return _Pullback(result.trajectory).pull(result.t, g_out.T)


class _Pullback:
    """The adjoint of one trajectory."""

    def __init__(self, trajectory: Trajectory) -> None:
        self.trajectory = trajectory
        self.rhs = trajectory.rhs(trajectory.args)
        t, y = trajectory.t, trajectory.y
        self.at = Points(t[:-1], np.diff(t), y[:-1])
        size = np.abs(y)
        size = np.maximum(size, 1e-3 * size.max(axis=0))
        self.h = _DISPLACEMENT * np.where(size > 0, size, 1.0)[:-1]

    def pull(self, times: NDArray, g_out: NDArray) -> OdeCotangents:
        """Return the gradients, for cotangents ``(k, n)`` at some times."""
        t, y = self.trajectory.t, self.trajectory.y
        g = np.zeros(y.shape, y.dtype)
        sign = -1.0 if t[-1] < t[0] else 1.0
        after = np.clip(np.searchsorted(sign * t, sign * times), 0, t.size - 1)
        on_mesh = t[after] == times
        np.add.at(g, after[on_mesh], g_out[on_mesh])
        inside, g_inside = after[~on_mesh] - 1, g_out[~on_mesh]
        theta = (times[~on_mesh] - t[inside]) / np.diff(t)[inside]

        def interpolate(rhs: Any, at: Points) -> NDArray:
            c = self.trajectory.method.attempt(rhs, at).coefficients
            value: NDArray = (c * theta[:, None] ** np.arange(len(c))[:, None, None]).sum(axis=0)
            return value

        start, h = Points(*(a[inside] for a in self.at)), self.h[inside]
        if inside.size:
            B = _columns(lambda y: interpolate(self.rhs, start._replace(y=y)), start.y, h)
            np.add.at(g, inside, np.einsum("kij,ki->kj", B, g_inside))
        lam = self._adjoint(g)

        def weighted(args: tuple[Any, ...]) -> Any:
            rhs = self.trajectory.rhs(args)
            total = (lam[1:] * self._step(rhs, self.at)).sum() if self.at.t.size else 0.0
            return total + (g_inside * interpolate(rhs, start)).sum() if inside.size else total

        args = self.trajectory.args
        return OdeCotangents(lam[0], tuple(_gradient(weighted, args, i) for i in range(len(args))))

    def _adjoint(self, g: NDArray) -> NDArray:
        """Solve ``lam[i] = g[i] + A[i]^T lam[i + 1]``."""
        if not self.at.t.size:
            return g
        A = _columns(lambda y: self._step(self.rhs, self.at._replace(y=y)), self.at.y, self.h)
        lam = get_backend("numpy").linear_recurrence(
            A[:, None],
            g[:-1, None],
            g[-1:],
            reverse=True,
            transpose=True,
            method="auto",
            out=None,
        )
        return np.concatenate([lam[:, 0], g[-1:]])

    def _step(self, rhs: Any, at: Points) -> NDArray:
        window = steps_together(at.y.shape[1])
        parts = range(0, at.t.size, window)
        step = self.trajectory.method.step
        return np.concatenate([step(rhs, Points(*(a[i : i + window] for a in at))) for i in parts])


def _columns(f: Callable[[NDArray], NDArray], y: NDArray, h: NDArray) -> NDArray:
    """Return the Jacobians ``(m, n, n)`` of `f` at rows of `y`, by central differences."""
    columns = []
    for j in range(y.shape[1]):
        d = np.zeros_like(y)
        d[:, j] = h[:, j]
        columns.append((f(y + d) - f(y - d)) / (2 * h[:, j : j + 1]))
    return np.stack(columns, axis=-1)


def _gradient(f: Callable[[tuple[Any, ...]], Any], args: tuple[Any, ...], i: int) -> Any:
    """Return the gradient of `f` with respect to one of its arguments, or None."""
    value = np.asarray(args[i])
    if value.dtype.kind not in "iuf":
        return None
    value = value.astype(float)
    gradient = np.empty(value.shape, np.result_type(f(args)))
    for index in np.ndindex(value.shape):
        h = _DISPLACEMENT * max(1e-3 * float(np.abs(value).max()), abs(float(value[index])))
        h = h if h > 0 else _DISPLACEMENT
        sides = []
        for sign in (1, -1):
            moved = value.copy()
            moved[index] += sign * h
            other = moved if value.ndim else float(moved)
            sides.append(f((*args[:i], other, *args[i + 1 :])))
        gradient[index] = (sides[0] - sides[1]) / (2 * h)
    return gradient if value.ndim else gradient[()]
