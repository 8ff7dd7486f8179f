"""A GRU cell for few states at a time, in as few array operations as possible."""

from __future__ import annotations

from typing import NamedTuple

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
        self._weight_hh = self._columns(weights.weight_hh, candidate=0.5)
        self._bias_ih = self._bias_hh = None
        if weights.bias_ih is not None:
            self._bias_ih = self._columns(weights.bias_ih[..., None], candidate=1.0)
        if weights.bias_hh is not None:
            self._bias_hh = self._columns(weights.bias_hh[..., None], candidate=0.5)

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

    def advance(self, y_prev: Array, projection: Array) -> Array:
        """Return the new states.

        Parameters
        ----------
        y_prev : array, shape (rows, n)
            The states.
        projection : array, shape (h, rows, 3 * k) or (h, 1, 3 * k)
            What `project` returned.

        Returns
        -------
        array, shape (rows, n)
            A new array.
        """
        h, k = self.n_heads, self.head_size
        y = y_prev.reshape(y_prev.shape[0], h, k).swapaxes(0, 1)
        gates = np.matmul(y, self._weight_hh)
        if self._bias_hh is not None:
            gates = gates + self._bias_hh
        logistic = np.tanh(gates[..., : 2 * k] + projection[..., : 2 * k])
        logistic += 1
        candidate = logistic[..., :k] * gates[..., 2 * k :]
        candidate = np.tanh(candidate + projection[..., 2 * k :])
        new = y - candidate
        new = new * logistic[..., k:]
        new *= 0.5
        new += candidate
        return new.swapaxes(0, 1).reshape(y_prev.shape[0], h * k)

    def _columns(self, a: Array, *, candidate: float) -> Array:
        """Return ``(h, 3 * k, q)`` as ``(h, q, 3 * k)``, scaled gate by gate."""
        k = self.head_size
        columns = a.swapaxes(-1, -2).copy()
        columns[..., : 2 * k] *= 0.5
        columns[..., 2 * k :] *= candidate
        return columns
