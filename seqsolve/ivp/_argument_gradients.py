"""Gradients with respect to the further arguments of a right-hand side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from seqsolve.ivp._method import NDArray
from seqsolve.ivp._returned import as_numpy
from seqsolve.ivp._rhs import RightHandSide
from seqsolve.ivp._tape import Pullback

#: Displacement of central differences, relative.
_DISPLACEMENT = float(np.finfo(float).eps) ** (1 / 3)


class ArgumentGradients:
    """Sums up, over many points, the gradient of ``sum(w * fun(t, y, *args))``.

    Parameters
    ----------
    rhs : RightHandSide
        The right-hand side and its arguments.
    fun_vjp : callable or None
        As `seqsolve.ivp.vjp` takes it; None for central differences.
    dtype : dtype
        Of the gradients.
    """

    def __init__(self, rhs: RightHandSide, fun_vjp: Callable[..., Any] | None, dtype: Any) -> None:
        self._rhs, self._fun_vjp = rhs, fun_vjp
        self._parts = rhs.arguments.parts
        self._totals: list[NDArray | None] = []
        for part in self._parts:
            value = part.on_host
            real = value.dtype.kind in "iuf"
            self._totals.append(np.zeros(value.shape, dtype) if real else None)

    def totals(self) -> tuple[Any, ...]:
        """Return the gradients, in the shapes that the user gave."""
        asarray = self._rhs.backend.asarray
        return tuple(
            None if total is None else _given(part.shaped(total), asarray)
            for part, total in zip(self._parts, self._totals, strict=True)
        )

    def add(self, pulled: Pullback) -> None:
        """Add what evaluations of `fun` contribute."""
        t, y, w, lane = pulled.t, pulled.points, pulled.f, pulled.lane
        if not t.size or not self._parts:
            return
        if self._fun_vjp is None:
            for i, total in enumerate(self._totals):
                if total is not None:
                    gradient = self._difference(i, t, y, w, lane)
                    self._parts[i].pull(gradient, t, lane, total)
            return
        args = self._rhs.arguments.at(t, lane)
        moved = (self._rhs.backend.asarray(a) for a in (t, y.T, w.T))
        gradients = self._fun_vjp(*moved, *args)
        if not isinstance(gradients, tuple | list) or len(gradients) != len(self._parts):
            raise ValueError(
                f"`fun_vjp` must return a tuple of {len(self._parts)} gradients, one for each of "
                f"`args`; got {_described(gradients)}."
            )
        for i, (total, gradient, part) in enumerate(
            zip(self._totals, gradients, self._parts, strict=True)
        ):
            if gradient is None:
                self._totals[i] = None
            elif total is not None:
                wanted = np.shape(args[i])
                if np.shape(gradient) != wanted:
                    raise ValueError(
                        f"`fun_vjp` must return a gradient of shape {wanted} for `args[{i}]`; "
                        f"got {np.shape(gradient)}."
                    )
                part.pull(as_numpy(gradient, self._rhs.backend), t, lane, total)

    def _difference(
        self, i: int, t: NDArray, y: NDArray, w: NDArray, lane: NDArray | None
    ) -> NDArray:
        """Return the gradient with respect to argument `i` as `fun` receives it."""
        part = self._parts[i]
        asarray = self._rhs.backend.asarray
        value = as_numpy(part.at(t, lane), self._rhs.backend).astype(float)
        points = value.shape[-1:] if part.varies else ()
        gradient = np.empty(value.shape, w.dtype)
        typical = 1e-3 * np.abs(value).max(initial=0)
        for index in np.ndindex(value.shape[: value.ndim - len(points)]):
            h = _DISPLACEMENT * np.maximum(typical, np.abs(value[index]))
            h = np.where(h > 0, h, _DISPLACEMENT)
            high, low = value.copy(), value.copy()
            high[index] += h
            low[index] -= h
            f = [
                self._rhs.with_argument(t, y, lane, i, asarray(v) if v.ndim else float(v))
                for v in (high, low)
            ]
            change = (w * (f[0] - f[1])).sum(axis=1)
            gradient[index] = (change if points else change.sum()) / (high[index] - low[index])
        return gradient


def _given(gradient: Any, asarray: Callable[..., Any]) -> Any:
    return asarray(gradient) if np.ndim(gradient) else gradient


def _described(gradients: Any) -> str:
    if isinstance(gradients, tuple | list):
        return f"{len(gradients)}"
    return f"{type(gradients).__name__}"
