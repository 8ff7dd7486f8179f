"""The arithmetic of a GRU on steps that are all evaluated at once.

Work arrays hold the gates one after the other and the steps last, ``(gate,
unit, step)``: every activation then runs over long contiguous memory however
small the cell, and row ``i`` of the Jacobians of all steps is one matrix
product, ``factors[:, i, :].T @ C[i]``, whose inner dimension holds the gates
r, z, n and, for ``diag(z)``, a scaled identity.

With ``t`` the tanh of half its pre-activation, a logistic gate is ``(1 + t) /
2``: no finite pre-activation overflows, and the weights absorb the halves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from seqsolve.backend import Array
from seqsolve.models._gru_rows import HeadWeights, RowCell


@dataclass
class Work:
    """Arrays in which steps are evaluated, parts of one block of memory."""

    state: Array
    """``h``, then ``(h - nn) / 2``; ``(n, steps)``."""
    candidate: Array
    """``nn``, then ``2 (1 - z) (1 - nn^2)``; ``(n, steps)``."""
    gates: Array
    """``2 r - 1`` and ``2 z - 1``, then ``2 (1 - r)`` and ``2 (1 - z)``, and
    ``(W_hn h + b_hn) / 2``; ``(3, n, steps)``.
    """
    factors: Array
    """Scratch, then ``dh'/d(W_h h)`` by gate times 4, 2 and 4, and ``2 z``; ``(4, n, steps)``."""

    @classmethod
    def empty(cls, like: Array, n_units: int, n_steps: int, dtype: Any) -> Work:
        """Return work arrays, uninitialised, of the library of `like`."""
        block = empty(like, (9, n_units, n_steps), dtype)
        return cls(block[0], block[1], block[2:5], block[5:])


class Cell:
    """The parameters of a GRU in the form in which steps are evaluated.

    Parameters
    ----------
    weights : HeadWeights
        The parameters.
    """

    def __init__(self, weights: HeadWeights) -> None:
        self.n_heads, _, self.head_size = weights.weight_hh.shape
        self.n_units = self.n_heads * self.head_size
        self.n_inputs = weights.weight_ih.shape[-1]
        self.dtype = np.result_type(*(a.dtype for a in weights if a is not None))
        weights = HeadWeights(*(a if a is None else a.astype(self.dtype) for a in weights))
        self.weights = weights
        self._weight_ih = self._halve_logistic(weights.weight_ih)
        self._weight_hh = 0.5 * self._by_gate(weights.weight_hh)
        bias_ih = bias_hn = None
        if weights.bias_ih is not None:
            bias_ih = self._halve_logistic(weights.bias_ih[..., None])
        if weights.bias_hh is not None:
            bias_hh = self._halve_logistic(weights.bias_hh[..., None])
            bias_hn = 0.5 * bias_hh[2]
            bias_hh[2] = 0
            bias_ih = bias_hh if bias_ih is None else bias_ih + bias_hh
        self._bias_ih, self._bias_hn = bias_ih, bias_hn

    @cached_property
    def by_rows(self) -> RowCell:
        """The same cell for few states at a time."""
        return RowCell(self.weights)

    def zeros(self, dtype: Any) -> HeadWeights:
        """Return zeros of the shapes of the parameters."""
        return HeadWeights(
            *(a if a is None else np.zeros_like(a, dtype=dtype) for a in self.weights)
        )

    def project(self, x: Array) -> Array:
        """Return the input's part of the pre-activations.

        Parameters
        ----------
        x : array, shape (n_steps, m)
            The input.

        Returns
        -------
        array, shape (3, n, n_steps)
            Halved for r and z.
        """
        dtype = np.result_type(self.dtype, x.dtype)
        projection = empty(x, (3, self.n_units, x.shape[0]), dtype)
        _multiply(self._weight_ih, x.T.copy(), projection)
        if self._bias_ih is not None:
            projection += self._bias_ih
        return projection

    def advance(self, y_prev: Array, projection: Array, out: Array, work: Work) -> None:
        """Evaluate the new states, and leave in `work` what the Jacobian needs.

        Parameters
        ----------
        y_prev : array, shape (n_steps, n)
            The states.
        projection : array, shape (3, n, n_steps)
            What `project` returned.
        out : array, shape (n_steps, n)
            Receives the new states.
        work : Work
            Overwritten.
        """
        state, candidate, gates, factors = work.state, work.candidate, work.gates, work.factors
        logistic, hidden = gates[:2], gates[2]
        state[...] = y_prev.T
        heads = (self.n_heads, self.head_size, state.shape[-1])
        _multiply(self._weight_hh, state.reshape(heads), gates.reshape(3, *heads))
        logistic += projection[:2]
        np.tanh(logistic, out=logistic)
        if self._bias_hn is not None:
            hidden += self._bias_hn
        np.add(logistic, 1, out=factors[2:])
        np.multiply(factors[2], hidden, out=candidate)
        candidate += projection[2]
        np.tanh(candidate, out=candidate)
        state -= candidate
        state *= 0.5
        np.multiply(factors[3], state, out=factors[1])
        np.add(factors[1], candidate, out=factors[0])
        out.T[...] = factors[0]

    def differentiate(self, work: Work) -> None:
        """Complete the factors in `work` that `advance` left; only once after it."""
        candidate, gates, factors = work.candidate, work.gates, work.factors
        logistic = gates[:2]
        np.subtract(1, logistic, out=logistic)
        candidate *= candidate
        np.subtract(1, candidate, out=candidate)
        candidate *= logistic[1]
        factors[2] *= candidate
        np.multiply(logistic[0], gates[2], out=factors[0])
        factors[0] *= factors[2]
        factors[1] *= logistic[1]

    def jacobian_memory(self, work: Work) -> Array:
        """Return memory for `jacobian`, ``(k, n_steps, h, k)``."""
        h, k, n_steps = self.n_heads, self.head_size, work.state.shape[-1]
        return empty(work.state, (k, n_steps, h, k), work.state.dtype)

    def jacobian(self, work: Work, out: Array) -> Array:
        """Return the Jacobian from the factors in `work`.

        Parameters
        ----------
        work : Work
            As `differentiate` left it.
        out : array, shape (k, n_steps, h, k)
            Memory, of which the result is a view.

        Returns
        -------
        array, shape (n_steps, h, k, k)
            Its rows are contiguous: row ``i`` of all steps, then row ``i + 1``.
        """
        h, k, n_steps = self.n_heads, self.head_size, work.state.shape[-1]
        factors = work.factors.reshape(4, h, k, n_steps)
        np.matmul(factors.transpose(1, 2, 3, 0), self._row_weights, out=out.transpose(2, 0, 1, 3))
        return out.transpose(1, 2, 0, 3)

    def pull_back(
        self, y_prev: Array, x: Array, lam: Array, work: Work
    ) -> tuple[Array, Array, HeadWeights]:
        """Return the cotangents of states, input and parameters, given the new states'.

        Parameters
        ----------
        y_prev : array, shape (n_steps, n)
            The states.
        x : array, shape (n_steps, m)
            The input.
        lam : array, shape (n_steps, n)
            Cotangent of the new states.
        work : Work
            As `differentiate` left it; overwritten.

        Returns
        -------
        y_bar : array, shape (n, n_steps)
        x_bar : array, shape (m, n_steps)
        weights_bar : HeadWeights
            Summed over the steps.
        """
        heads = (self.n_heads, self.head_size, work.state.shape[-1])
        weights, gates, factors = self.weights, work.gates, work.factors
        work.state[...] = lam.T
        factors *= work.state
        work.candidate *= work.state

        np.multiply(factors[:3], 0.5, out=gates)
        gates[1] *= 2
        in_heads = gates.reshape(3, *heads)
        states = y_prev.reshape(y_prev.shape[0], *heads[:2]).swapaxes(0, 1)
        weight_hh = (in_heads @ states).reshape(3, self.n_units, self.head_size)
        weight_hh = 0.5 * self._by_head(weight_hh)
        bias_hh = None if weights.bias_hh is None else 0.5 * self._by_head(gates.sum(axis=-1))
        _multiply(self._weight_hh.swapaxes(-1, -2), in_heads, factors[:3].reshape(3, *heads))
        factors[3] *= 0.5
        y_bar = factors.sum(axis=0)

        np.multiply(work.candidate, 0.5, out=gates[2])
        x_bar = empty(gates, (3, self.n_inputs, heads[-1]), gates.dtype)
        _multiply(self._weight_ih.swapaxes(-1, -2), gates, x_bar)
        x_bar = x_bar.sum(axis=0)
        weight_ih = gates @ x
        weight_ih[:2] *= 0.5
        bias_ih = None
        if weights.bias_ih is not None:
            bias_ih = gates.sum(axis=-1)
            bias_ih[:2] *= 0.5
            bias_ih = self._by_head(bias_ih)
        return y_bar, x_bar, HeadWeights(self._by_head(weight_ih), weight_hh, bias_ih, bias_hh)

    @cached_property
    def _row_weights(self) -> Array:
        """What the factors of a unit are multiplied by to give its row, ``(h, k, 4, k)``."""
        h, k = self.n_heads, self.head_size
        weights = empty(self._weight_hh, (h, k, 4, k), self._weight_hh.dtype)
        weights[:, :, :3] = 0.5 * self._weight_hh.transpose(1, 2, 0, 3)
        weights[:, :, 1] *= 2
        weights[:, :, 3] = 0
        weights.reshape(h, 4 * k * k)[:, 3 * k :: 4 * k + 1] = 0.5
        return weights

    def _by_gate(self, a: Array) -> Array:
        """Return ``(h, 3 * k, q)`` as ``(3, h, k, q)``."""
        return a.reshape(self.n_heads, 3, self.head_size, a.shape[-1]).swapaxes(0, 1)

    def _by_head(self, a: Array) -> Array:
        """Return ``(3, n)`` or ``(3, n, q)`` as ``(h, 3 * k)`` or ``(h, 3 * k, q)``."""
        h, k = self.n_heads, self.head_size
        rest = a.shape[2:]
        return a.reshape(3, h, k, *rest).swapaxes(0, 1).reshape(h, 3 * k, *rest)

    def _halve_logistic(self, a: Array) -> Array:
        """Return ``(h, 3 * k, q)`` as ``(3, n, q)``, the parts of r and z halved."""
        halved = self._by_gate(a).reshape(3, self.n_units, a.shape[-1]).copy()
        halved[:2] *= 0.5
        return halved


def steps_on_one_thread(n_products: int) -> int:
    """Return how many steps of so many products BLAS multiplies on one thread.

    Threads gain little on narrow matrices, and lose all where cores are shared.
    """
    return max(64, 2**18 // max(1, n_products))


def _multiply(weights: Array, columns: Array, out: Array) -> None:
    """Write ``weights @ columns`` to `out`."""
    *_, rows, inner = weights.shape
    n_steps = columns.shape[-1]
    size = steps_on_one_thread(rows * inner) if isinstance(columns, np.ndarray) else n_steps
    if inner == 1:
        np.multiply(weights, columns, out=out)
    elif n_steps <= size:
        np.matmul(weights, columns, out=out)
    else:
        for start in range(0, n_steps, size):
            part = slice(start, start + size)
            np.matmul(weights, columns[..., part], out=out[..., part])


def empty(like: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an uninitialised C-contiguous array of the library of `like`."""
    return np.empty_like(like, dtype=dtype, shape=shape, order="C")
