"""The right-hand side of an ODE, called at many points at once."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

NDArray: TypeAlias = npt.NDArray[Any]

#: Points that the probe evaluates together and one by one.
_PROBE_POINTS = 3


class RightHandSide:
    """``fun`` and its Jacobian on rows of points, with counts of what was called.

    Functions that broadcast over columns are called once for all points. The
    others, which a probe at the start finds out, are called point by point, as
    `scipy.integrate.solve_ivp` calls them.

    Parameters
    ----------
    fun : callable
        ``fun(t, y)``; `t` of shape ``(k,)``, `y` of shape ``(n, k)``.
    jac : callable, array_like or None
        ``jac(t, y)``, a constant matrix, or None for forward differences.
    t_span : tuple of float
        Where the probe may evaluate.
    y0 : ndarray, shape (n,)
        Initial state.
    """

    def __init__(
        self, fun: Callable[..., Any], jac: Any, t_span: tuple[float, float], y0: NDArray
    ) -> None:
        self.n, self.dtype = y0.size, y0.dtype
        self.nfev = self.njev = self.nlu = self.depth = 0
        self._fun, self._jac = fun, jac
        ahead = np.clip(t_span[1] - t_span[0], -1, 1)
        t = t_span[0] + ahead * np.linspace(0, 1e-3, _PROBE_POINTS)
        spread = 1e-3 * np.linspace(0, 1, _PROBE_POINTS)[:, None]
        y = y0 * (1 + spread) + 1e-3 * spread
        with np.errstate(all="ignore"):
            self._value(fun(float(t[0]), y0.copy()))
            self.broadcasts = self._probe(fun, self._values, t, y)
            self.jac_broadcasts = False
            if callable(jac):
                self._matrix(jac(float(t[0]), y0.copy()))
                self.jac_broadcasts = self._probe(jac, self._matrices, t, y)
            elif jac is not None:
                self._jac = self._matrix(jac)

    def with_functions(self, fun: Callable[..., Any], jac: Any) -> RightHandSide:
        """Return the same for other functions that broadcast alike, with counts of their own."""
        other = copy(self)
        other._fun, other._jac = fun, jac if callable(jac) else self._jac
        other.nfev = other.njev = other.nlu = other.depth = 0
        return other

    def __call__(self, t: NDArray, y: NDArray) -> NDArray:
        """Return the derivatives at points ``(m,)``, ``(m, n)``, as ``(m, n)``."""
        self.depth += 1
        return self._evaluate(t, y)

    def jacobian(self, t: NDArray, y: NDArray, f: NDArray | None = None) -> NDArray:
        """Return the Jacobians ``(m, n, n)``; `f`, the derivatives there, saves work."""
        m, n = y.shape
        self.njev += m
        if callable(self._jac):
            self.depth += 1
            if self.jac_broadcasts:
                return self._matrices(self._jac(t, y.T), m)
            return np.stack(
                [self._matrix(self._jac(float(s), v)) for s, v in zip(t, y, strict=True)]
            )
        if self._jac is not None:
            return np.broadcast_to(self._jac, (m, n, n))
        self.depth += 1
        h = _displacement(y)
        moved = y[:, None, :] + np.eye(n) * h[:, None, :]
        h = np.einsum("mii->mi", moved) - y
        points, times = moved, np.broadcast_to(t[:, None], (m, n))
        if f is None:
            points = np.concatenate([y[:, None, :], moved], axis=1)
            times = np.broadcast_to(t[:, None], (m, n + 1))
        values = self._evaluate(times.ravel(), points.reshape(-1, n)).reshape(points.shape)
        if f is None:
            f, values = values[:, 0], values[:, 1:]
        J: NDArray = ((values - f[:, None, :]) / h[:, :, None]).swapaxes(-1, -2)
        return J

    def _evaluate(self, t: NDArray, y: NDArray) -> NDArray:
        self.nfev += t.size
        if self.broadcasts:
            return self._values(self._fun(t, y.T), t.size)
        rows = [self._value(self._fun(float(s), v)) for s, v in zip(t, y, strict=True)]
        return np.stack(rows) if rows else np.empty(y.shape, self.dtype)

    def _value(self, f: Any) -> NDArray:
        value = np.asarray(f)
        if value.shape != (self.n,) and value.size == self.n:
            value = value.reshape(self.n)
        if value.shape != (self.n,):
            raise ValueError(
                f"`fun` must return {self.n} derivatives, as `y0` has {self.n} states; "
                f"got an array of shape {value.shape}."
            )
        return self._cast("fun", value)

    def _values(self, f: Any, m: int) -> NDArray:
        return self._cast("fun", _filled(f, (self.n, m))).T

    def _matrix(self, J: Any) -> NDArray:
        J = J.toarray() if hasattr(J, "toarray") else J
        matrix = np.asarray(J)
        if self.n == 1 and matrix.size == 1:
            matrix = matrix.reshape(1, 1)
        if matrix.shape != (self.n, self.n):
            raise ValueError(
                f"`jac` must have shape {(self.n, self.n)}, as `y0` has {self.n} states; "
                f"got {matrix.shape}."
            )
        return self._cast("jac", matrix)

    def _matrices(self, J: Any, m: int) -> NDArray:
        filled = _filled(J, (self.n, self.n, m))
        return np.ascontiguousarray(np.moveaxis(self._cast("jac", filled), -1, 0))

    def _cast(self, name: str, values: NDArray) -> NDArray:
        if values.dtype.kind == "c" and self.dtype.kind != "c":
            raise TypeError(
                f"`{name}` must return real values for a real `y0`; got {values.dtype}. "
                "Pass a complex `y0`."
            )
        return values.astype(self.dtype, copy=False)

    def _probe(
        self,
        fun: Callable[..., Any],
        together: Callable[[Any, int], NDArray],
        t: NDArray,
        y: NDArray,
    ) -> bool:
        """Return whether `fun` gives the same for points together as for each alone."""
        try:
            joint = together(fun(t.copy(), y.T.copy()), t.size)
            single = self._value if joint.ndim == 2 else self._matrix
            alone = np.stack([single(fun(float(s), v.copy())) for s, v in zip(t, y, strict=True)])
        except Exception:
            return False
        return bool(np.allclose(joint, alone, rtol=1e-9, atol=1e-12, equal_nan=True))


def _filled(values: Any, shape: tuple[int, ...]) -> NDArray:
    """Return nested lists, whose entries may be scalars or have a point axis, as one array."""
    if isinstance(values, list | tuple) and len(shape) > 1:
        if len(values) != shape[0]:
            raise ValueError(f"{len(values)} entries where {shape[0]} are needed")
        return np.stack([_filled(v, shape[1:]) for v in values])
    array = np.asarray(values)
    if array.shape == shape:
        return array
    if array.shape == shape[:-1]:
        return np.broadcast_to(array[..., None], shape)
    raise ValueError(f"shape {array.shape} where {shape} is needed")


def _displacement(y: NDArray) -> NDArray:
    """Return how far to move each component, from its own size and its size elsewhere."""
    size = np.abs(y)
    typical = 1e-3 * np.where(np.isfinite(size), size, 0).max(axis=0, initial=0)
    size = np.maximum(size, typical)
    h: NDArray = np.finfo(float).eps ** 0.5 * np.where((size > 0) & np.isfinite(size), size, 1.0)
    return h
