"""Recurrent layers: simple, long short-term memory, gated units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqsolve import _checks
from seqsolve.backend import Array
from seqsolve.likelihood_ratio.layer import Padded, Pass, Site, Tape
from seqsolve.models.layers.affine import (
    Parametrised,
    _like,
    _match,
    _require,
    _values,
    linear_gradients,
    matmul_last,
)
from seqsolve.models.layers.cells import CELLS, Cell

__all__ = ["Recurrent"]


@dataclass(frozen=True, eq=False, repr=False)
class Recurrent(Parametrised):
    """A recurrent network over time, which returns the states of all steps.

    Noise is added to the gates' preactivations at every step; it changes the
    losses of that step and of later ones, and only those count in the
    gradient. Behind the end of a sequence the state stays as it is.

    Parameters
    ----------
    weight_ih : array, shape (n_gates * n_units, n_in)
        Of the input, gates one below the other: LSTM has input, forget, cell and
        output gate, GRU reset and update gate and candidate, as PyTorch has them.
    weight_hh : array, shape (n_gates * n_units, n_units)
        Of the state.
    bias : array, shape (n_gates * n_units,), optional
        None: zero.
    cell : {"rnn", "lstm", "gru"}
        ``tanh`` of the sum; with memory and three gates; with two gates.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.models import Stack, layers
    >>> layer = layers.Recurrent(np.array([[1.0]]), np.array([[0.5]]))
    >>> x = np.array([[[1.0]], [[0.0]]])  # two steps, one sequence
    >>> Stack((layer,))(x)[:, 0, 0].round(4)
    array([0.7616, 0.3634])
    """

    weight_ih: Array
    weight_hh: Array
    bias: Array | None = None
    cell: str = "rnn"

    _parameters = ("weight_ih", "weight_hh", "bias")

    def __post_init__(self) -> None:
        _checks.one_of("cell", self.cell, tuple(CELLS))
        _require("weight_ih", self.weight_ih, 2)
        _require("weight_hh", self.weight_hh, 2)
        n_units = self.weight_hh.shape[1]
        n_rows = self._cell.n_gates * n_units
        _match("weight_hh", self.weight_hh, (n_rows, n_units))
        _match("weight_ih", self.weight_ih, (n_rows, self.weight_ih.shape[1]))
        _match("bias", self.bias, (n_rows,))

    @property
    def _cell(self) -> Cell:
        return CELLS[self.cell]

    def site(self, data_shape: tuple[int, ...]) -> Site | None:
        """Return one site, with a step after the other and the gates as units."""
        self._check(data_shape)
        return Site(data_shape[1:2], (self.weight_ih.shape[0],), data_shape[0])

    def reach(self, data_shape: tuple[int, ...]) -> tuple[Any, Any]:
        """Return ones below the diagonal: a step reaches itself and later ones."""
        return None, np.tri(data_shape[0])

    def flops(self, data_shape: tuple[int, ...]) -> tuple[int, int]:
        """Return two for each weight, step and sequence, before and behind the noise."""
        rows = data_shape[0] * data_shape[1]
        return 2 * rows * self.weight_ih.size, 2 * rows * self.weight_hh.size

    def project(self, x: Any, p: Pass) -> Any:
        """Return the input's part of the preactivations, of all steps at once."""
        values = _values(x)
        self._check(values.shape[1:])
        data = tuple(values.shape[2:3])
        weight = p.weight("weight_ih", self.weight_ih, data)
        u = p.product(values, weight if weight.ndim == 2 else weight[:, None])
        if self.bias is not None:
            bias = p.weight("bias", self.bias, data)
            u = u + (bias if bias.ndim == 1 else bias[:, None])
        return _like(x, u)

    def finish(self, u: Any, p: Pass) -> Any:
        """Return the states of all steps."""
        states = [state[0] for _, _, state in self._steps(u, p)]
        return _like(u, np.stack(states, axis=1))

    def record(self, x: Any, p: Pass) -> tuple[Any, Tape]:
        """Return the states of all steps, and what the other methods need."""
        u = self.project(x, p)
        steps = list(self._steps(u, p))
        h = np.stack([state[0] for _, _, state in steps], axis=1)
        kept = [(z[0], v[0], tuple(s[0] for s in state)) for z, v, state in steps]
        return _like(u, h), Tape(x, u, np.stack([z for z, _, _ in kept]), kept)

    def backward(self, tape: Tape, output_bar: Array) -> Array:
        """Return ``delta`` of all steps, by going through them in reverse."""
        cell, kept = self._cell, tape.kept
        start = tuple(np.zeros_like(s) for s in kept[0][2])
        bars = list(start)
        deltas = []
        for t in reversed(range(len(kept))):
            z, v, _ = kept[t]
            before = kept[t - 1][2] if t else start
            bars[0] = bars[0] + output_bar[t]
            delta, earlier = cell.backward(z, v, before, tuple(bars))
            if tape.mask is not None:
                here = tape.mask[t][:, None]
                delta = delta * here
                earlier = tuple(e * here + b * ~here for e, b in zip(earlier, bars, strict=True))
            deltas.append(delta)
            through = matmul_last(cell.state_delta(z, v, delta), self.weight_hh)
            bars = [earlier[0] + through, *earlier[1:]]
        return np.stack(deltas[::-1])

    def gradients(self, tape: Tape, delta: Array) -> dict[str, Array]:
        """Return the sums of ``delta x.T``, ``delta h.T`` and ``delta`` over all steps."""
        states = np.stack([np.zeros_like(tape.kept[0][2][0]), *(s[0] for _, _, s in tape.kept)])
        of_state = np.stack(
            [self._cell.state_delta(z, v, d) for (z, v, _), d in zip(tape.kept, delta, strict=True)]
        )
        found = {
            "weight_ih": linear_gradients(delta, _values(tape.x)[0], False)["weight"],
            "weight_hh": linear_gradients(of_state, states[:-1], False)["weight"],
        }
        if self.bias is not None:
            found["bias"] = delta.sum(axis=(0, 1))
        return found

    def pull(self, tape: Tape, delta: Array) -> Array:
        """Return ``delta @ weight_ih``."""
        return matmul_last(delta, self.weight_ih)

    def _steps(self, u: Any, p: Pass) -> Iterator[tuple[Array, Array, tuple[Array, ...]]]:
        """Yield preactivations, the state's part of them, and the new state, step by step."""
        cell, projected = self._cell, _values(u)
        mask = u.mask if isinstance(u, Padded) else None
        data = tuple(projected.shape[2:3])
        weight = p.weight("weight_hh", self.weight_hh, data)
        shape = (projected.shape[0], *data, self.weight_hh.shape[1])
        state = (np.zeros_like(projected, shape=shape),) * cell.n_states
        for t in range(projected.shape[1]):
            v = p.product(state[0], weight)
            z = p.output(cell.preactivations(projected[:, t], v), 1, t)
            new = cell.forward(z, v, state)
            if mask is not None:
                here = mask[t][:, None]
                new = tuple(np.where(here, a, b) for a, b in zip(new, state, strict=True))
            state = new
            yield z, v, state

    def _check(self, data_shape: tuple[int, ...]) -> None:
        if len(data_shape) != 3 or data_shape[2] != self.weight_ih.shape[1] or not data_shape[0]:
            raise ValueError(
                f"`x` must have shape (n_steps, n_data, {self.weight_ih.shape[1]}) at {self!r}, "
                f"with a step at least; got {tuple(data_shape)}."
            )
