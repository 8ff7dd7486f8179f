"""A GRU cell on arrays of any leading shape: evaluated, linearised, pulled back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from seqsolve.backend import Array
from seqsolve.models._gru_cell import Cell, Work, empty, steps_on_one_thread
from seqsolve.models._gru_rows import FEW_VALUES, HeadWeights, RowSteps

#: How many states the CPU takes at a time, so that work arrays stay in its cache, ...
_CPU_STATES = 2**14
#: ... but at least so many steps.
_MIN_STEPS = 64


class BoundGRU:
    """A GRU with its input fixed: a :class:`~seqsolve.step.BoundStep`.

    Parameters
    ----------
    cell : Cell
        The GRU.
    x : array, shape (..., m)
        The input.
    jac_shape : tuple of int
        Trailing shape of the Jacobian: ``(n, n)`` or ``(h, k, k)``.
    """

    def __init__(self, cell: Cell, x: Array, jac_shape: tuple[int, ...]) -> None:
        _check_last_axis("x", x, "n_inputs", cell.n_inputs)
        self._cell = cell
        self._x = x
        self._jac_shape = jac_shape
        self._x_lead = tuple(x.shape[:-1])
        self._buffers: _Buffers | None = None
        self._row_steps: RowSteps | None = None

    @cached_property
    def _projection(self) -> Array:
        return self._cell.project(_rows(self._x, self._x_lead))

    @cached_property
    def _row_projection(self) -> Array:
        """The input's part for each step, ``(h, steps, sequences, 3 * k)``."""
        rows = self._cell.by_rows.project(_rows(self._x, self._x_lead))
        n_steps, *batch = self._x_lead
        return rows.reshape(rows.shape[0], n_steps, prod(batch), rows.shape[-1])

    def __call__(self, y_prev: Array, /) -> Array:
        """Return the new states."""
        return self._advance(y_prev)[0]

    def linearize(self, y_prev: Array, /) -> tuple[Array, Callable[[], Array]]:
        """Return the new states, and a function that completes the Jacobian."""
        y, buffers = self._advance(y_prev)
        return y, lambda: self._jacobian(buffers)

    def step(self, t: int, y_prev: Array, /) -> Array:
        """Return the new states of one of the steps whose input is fixed."""
        cell = self._cell
        if y_prev.size > FEW_VALUES:
            return evaluate(cell, y_prev, self._x[t : t + 1])
        rows = y_prev if y_prev.ndim == 2 else y_prev.reshape(-1, cell.n_units)
        steps = self._row_steps
        if steps is None or steps.n_rows != rows.shape[0] or steps.state_dtype != rows.dtype:
            projection = self._row_projection
            steps = self._row_steps = cell.by_rows.steps(projection, rows.shape[0], rows.dtype)
        new = steps(t, rows)
        return new if y_prev.ndim == 2 else new.reshape(y_prev.shape)

    def _advance(self, y_prev: Array) -> tuple[Array, _Buffers]:
        cell = self._cell
        _check_last_axis("y_prev", y_prev, "n_units", cell.n_units)
        lead = _broadcast(y_prev.shape[:-1], self._x_lead)
        dtype = np.result_type(self._projection.dtype, y_prev.dtype)
        buffers = self._buffers
        if buffers is None or buffers.lead != lead or buffers.dtype != dtype:
            buffers = self._buffers = _Buffers(cell, self._projection, self._x_lead, lead, dtype)
        y = empty(y_prev, (*lead, cell.n_units), dtype)
        cell.advance(_rows(y_prev, lead), buffers.projection, _rows(y, lead), buffers.work)
        return y, buffers

    def _jacobian(self, buffers: _Buffers) -> Array:
        self._cell.differentiate(buffers.work)
        if buffers.jacobian is None:
            buffers.jacobian = self._cell.jacobian_memory(buffers.work)
        jacobian = self._cell.jacobian(buffers.work, buffers.jacobian)
        return jacobian.reshape(*buffers.lead, *self._jac_shape)


class _Buffers:
    """What a bound step uses again as long as shape and dtype of the states stay the same."""

    def __init__(
        self,
        cell: Cell,
        projection: Array,
        x_lead: tuple[int, ...],
        lead: tuple[int, ...],
        dtype: Any,
    ) -> None:
        self.lead, self.dtype = lead, dtype
        if lead != x_lead:
            ones = (1,) * (len(lead) - len(x_lead))
            projection = projection.reshape(3, cell.n_units, *ones, *x_lead)
            projection = np.broadcast_to(projection, (3, cell.n_units, *lead))
            projection = projection.reshape(3, cell.n_units, prod(lead))
        self.projection = projection
        self.work = Work.empty(projection, cell.n_units, prod(lead), dtype)
        self.jacobian: Array | None = None


def evaluate(cell: Cell, y_prev: Array, x: Array) -> Array:
    """Return the new states.

    Parameters
    ----------
    cell : Cell
        The GRU.
    y_prev : array, shape (..., n)
        The states.
    x : array, shape (..., m)
        The input; its leading axes and those of `y_prev` are broadcast.

    Returns
    -------
    array, shape (..., n)
        A new array.
    """
    _check_last_axis("y_prev", y_prev, "n_units", cell.n_units)
    _check_last_axis("x", x, "n_inputs", cell.n_inputs)
    lead = _broadcast(y_prev.shape[:-1], x.shape[:-1])
    if prod(lead) * cell.n_units <= FEW_VALUES:
        rows = _rows(y_prev, lead)
        projection = cell.by_rows.project(_rows(x, lead))[:, None]
        y = cell.by_rows.steps(projection, rows.shape[0], rows.dtype)(0, rows)
        return y.reshape(*lead, cell.n_units)
    y = empty(y_prev, (*lead, cell.n_units), np.result_type(cell.dtype, x.dtype, y_prev.dtype))
    y_rows, y_prev, x = _rows(y, lead), _rows(y_prev, lead), _rows(x, lead)
    for part, work in _parts(cell, y_rows):
        cell.advance(y_prev[part], cell.project(x[part]), y_rows[part], work)
    return y


def pull_back(cell: Cell, y_prev: Array, x: Array, lam: Array) -> tuple[Array, Array, HeadWeights]:
    """Return the cotangents of states, input and parameters, given the new states'.

    Parameters
    ----------
    cell : Cell
        The GRU.
    y_prev : array, shape (..., n)
        The states.
    x : array, shape (..., m)
        The input; its leading axes and those of `y_prev` are broadcast.
    lam : array, shape (..., n)
        Cotangent of the new states.

    Returns
    -------
    y_bar, x_bar : array
        Of the shapes of `y_prev` and `x`.
    weights_bar : HeadWeights
        Summed over all leading axes.
    """
    _check_last_axis("y_prev", y_prev, "n_units", cell.n_units)
    _check_last_axis("x", x, "n_inputs", cell.n_inputs)
    lead = _broadcast(y_prev.shape[:-1], x.shape[:-1])
    y_shape, x_shape = (*lead, cell.n_units), (*lead, cell.n_inputs)
    if tuple(lam.shape) != y_shape:
        raise ValueError(
            f"`lam` must have the shape of the new states, {y_shape}; got {tuple(lam.shape)}."
        )
    dtype = np.result_type(cell.dtype, x.dtype, y_prev.dtype, lam.dtype)
    y_bar, x_bar = empty(y_prev, y_shape, dtype), empty(y_prev, x_shape, dtype)
    weights_bar = cell.zeros(dtype)
    y_rows, x_rows, lam = _rows(y_prev, lead), _rows(x, lead), _rows(lam, lead)
    y_bar_rows, x_bar_rows = _rows(y_bar, lead), _rows(x_bar, lead)
    n_products = cell.n_units * max(cell.head_size, cell.n_inputs)
    for part, work in _parts(cell, y_bar_rows, n_products):
        y, x_ = y_rows[part], x_rows[part]
        cell.advance(y, cell.project(x_), y_bar_rows[part], work)
        cell.differentiate(work)
        y_part, x_part, weights_part = cell.pull_back(y, x_, lam[part], work)
        y_bar_rows[part] = y_part.T
        x_bar_rows[part] = x_part.T
        for total, term in zip(weights_bar, weights_part, strict=True):
            if total is not None:
                total += term
    return _sum_to(y_bar, y_prev.shape), _sum_to(x_bar, x.shape), weights_bar


def _parts(cell: Cell, states: Array, n_products: int = 1) -> Iterator[tuple[slice, Work]]:
    """Yield the steps that are taken together, with work arrays for them.

    `n_products` is what the largest matrix product multiplies per step.
    """
    n_steps = size = states.shape[0]
    if isinstance(states, np.ndarray):
        size = min(_CPU_STATES // cell.n_units, steps_on_one_thread(n_products))
        size = min(n_steps, max(_MIN_STEPS, size))
    work = None
    for start in range(0, n_steps, max(1, size)):
        stop = min(start + size, n_steps)
        if work is None or stop - start != size:
            work = Work.empty(states, cell.n_units, stop - start, states.dtype)
        yield slice(start, stop), work


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a) if a == b else np.broadcast_shapes(a, b)


def _rows(a: Array, lead: tuple[int, ...]) -> Array:
    """Return `a`, broadcast to the leading axes `lead`, with those as one."""
    if a.shape[:-1] != lead:
        a = np.broadcast_to(a, (*lead, a.shape[-1]))
    return a.reshape(prod(lead), a.shape[-1])


def _sum_to(a: Array, shape: tuple[int, ...]) -> Array:
    """Sum over the axes along which an array of `shape` was broadcast."""
    extra = a.ndim - len(shape)
    stretched = (extra + i for i, size in enumerate(shape) if size != a.shape[extra + i])
    axes = (*range(extra), *stretched)
    return a.sum(axis=axes).reshape(shape) if axes else a


def _check_last_axis(name: str, a: Array, size_name: str, size: int) -> None:
    if not hasattr(a, "ndim"):
        raise TypeError(
            f"`{name}` must be one array of shape (..., {size_name}) = (..., {size}); "
            f"got {type(a).__name__}."
        )
    if a.ndim == 0 or a.shape[-1] != size:
        raise ValueError(
            f"`{name}` must have shape (..., {size_name}) = (..., {size}); got {tuple(a.shape)}."
        )
