"""A GRU cell for few states at a time, in as few array operations as possible."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from seqsolve.backend import Array

#: Up to so many values, the operations' own cost exceeds that of the arithmetic.
FEW_VALUES = 4096


class HeadWeights(NamedTuple):
    """The parameters of the heads of a GRU, gates in the order r, z, n.

    Parameters
    ----------
    weight_ih : array, shape (h, 3 * k, m)
        Input weights.
    weight_hh : array, shape (h, 3 * k, k)
        Recurrent weights.
    bias_ih, bias_hh : array, shape (h, 3 * k), or None
        Biases.
    """

    weight_ih: Array
    weight_hh: Array
    bias_ih: Array | None
    bias_hh: Array | None


class RowCell:
    """The parameters of a GRU, laid out for states that are rows.

    The arithmetic is that of :class:`~seqsolve.models._gru_cell.Cell`: a
    logistic gate is ``(1 + t) / 2`` with ``t`` the tanh of half its
    pre-activation, and the weights absorb the halves.

    Parameters
    ----------
    weights : HeadWeights
        The parameters.
    """

    def __init__(self, weights: HeadWeights) -> None:
        self.n_heads, _, self.head_size = weights.weight_hh.shape
        self._weight_ih = self._columns(weights.weight_ih, candidate=1.0)
        self.weight_hh = self._columns(weights.weight_hh, candidate=0.5)
        self._bias_ih = self.bias_hh = None
        if weights.bias_ih is not None:
            self._bias_ih = self._columns(weights.bias_ih[..., None], candidate=1.0)
        if weights.bias_hh is not None:
            self.bias_hh = self._columns(weights.bias_hh[..., None], candidate=0.5)

    def project(self, x: Array) -> Array:
        """Return the input's part of the pre-activations.

        Parameters
        ----------
        x : array, shape (rows, m)
            The input.

        Returns
        -------
        array, shape (h, rows, 3 * k)
            Halved for r and z.
        """
        projection = np.matmul(x, self._weight_ih)
        return projection if self._bias_ih is None else projection + self._bias_ih

    def steps(self, projection: Array, n_rows: int, dtype: Any) -> RowSteps:
        """Return the cell, ready to take steps one by one.

        Parameters
        ----------
        projection : array, shape (h, n_steps, n_rows or 1, 3 * k)
            What `project` returned, for every step.
        n_rows : int
            Rows of states.
        dtype : dtype
            Of the states.
        """
        return RowSteps(self, projection, n_rows, dtype)

    def _columns(self, a: Array, *, candidate: float) -> Array:
        """Return ``(h, 3 * k, q)`` as ``(h, q, 3 * k)``, scaled gate by gate."""
        k = self.head_size
        columns = a.swapaxes(-1, -2).copy()
        columns[..., : 2 * k] *= 0.5
        columns[..., 2 * k :] *= candidate
        return columns


class RowSteps:
    """Steps of a GRU one after the other: work arrays and their parts are made once.

    Parameters
    ----------
    cell, projection, n_rows, dtype
        As `RowCell.steps` takes them.
    """

    def __init__(self, cell: RowCell, projection: Array, n_rows: int, dtype: Any) -> None:
        h, k = cell.n_heads, cell.head_size
        heads: tuple[int, ...] = () if h == 1 else (h,)
        if h == 1:
            projection, self._weight_hh, bias_hh = projection[0], cell.weight_hh[0], cell.bias_hh
            self._bias_hh = None if bias_hh is None else bias_hh[0]
        else:
            projection = projection.swapaxes(0, 1)
            self._weight_hh, self._bias_hh = cell.weight_hh, cell.bias_hh
        self.n_rows, self.state_dtype = n_rows, dtype
        dtype = np.result_type(projection.dtype, dtype)
        self._heads = None if h == 1 else (n_rows, h, k)
        self._shape = (n_rows, h * k)
        self._logistic_input = projection[..., : 2 * k]
        self._candidate_input = projection[..., 2 * k :]
        gates = np.empty_like(projection, shape=(*heads, n_rows, 3 * k), dtype=dtype)
        logistic = np.empty_like(gates, shape=(*heads, n_rows, 2 * k))
        self._gates, self._logistic = gates, logistic
        self._work = [np.empty_like(gates, shape=(*heads, n_rows, k)) for _ in range(3)]
        self._logistic_gates, self._hidden = gates[..., : 2 * k], gates[..., 2 * k :]
        self._r, self._z = logistic[..., :k], logistic[..., k:]
        self._one, self._half = _constant(gates, 1), _constant(gates, 0.5)

    def __call__(self, t: int, y_prev: Array) -> Array:
        """Return the new states of step `t`, a new array.

        Parameters
        ----------
        t : int
            The step.
        y_prev : array, shape (n_rows, n)
            The states.

        Returns
        -------
        array, shape (n_rows, n)
        """
        gates, logistic = self._gates, self._logistic
        a, b, c = self._work  # in turn: NumPy is slow on single numbers in place
        y = y_prev if self._heads is None else y_prev.reshape(self._heads).swapaxes(0, 1)
        np.matmul(y, self._weight_hh, gates)
        if self._bias_hh is not None:
            np.add(gates, self._bias_hh, gates)
        np.add(self._logistic_gates, self._logistic_input[t], logistic)
        np.tanh(logistic, logistic)
        np.add(logistic, self._one, logistic)
        np.multiply(self._r, self._hidden, a)
        np.add(a, self._candidate_input[t], b)
        np.tanh(b, a)
        np.subtract(y, a, b)
        np.multiply(b, self._z, c)
        np.multiply(c, self._half, b)
        new = np.add(a, b)
        return new if self._heads is None else new.swapaxes(0, 1).reshape(self._shape)


def _constant(like: Array, value: float) -> Array:
    """Return a number as an array: unlike a Python number, it needs no conversion."""
    a = np.empty_like(like, shape=())
    a[...] = value
    return a
