"""Cells of recurrent layers: what follows from the gates' preactivations."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np

from seqsolve.backend import Array
from seqsolve.models.layers.activation import sigmoid

__all__ = ["CELLS", "Cell"]

State: TypeAlias = tuple[Array, ...]


class Cell(Protocol):
    """One step, from preactivations ``z`` and the state's product ``v = weight_hh @ h``."""

    n_gates: int
    n_states: int

    def preactivations(self, u: Array, v: Array) -> Array:
        """Return ``z`` without noise, given the input's part ``u``."""
        ...

    def forward(self, z: Array, v: Array, state: State) -> State:
        """Return the new state; its first array is the output."""
        ...

    def backward(self, z: Array, v: Array, state: State, bars: State) -> tuple[Array, State]:
        """Return ``delta``, and the state's cotangents but for what passes through ``v``."""
        ...

    def state_delta(self, z: Array, v: Array, delta: Array) -> Array:
        """Return the cotangent of ``v``, given ``delta``."""
        ...


class _Simple:
    """``h = tanh(z)``."""

    n_gates, n_states = 1, 1

    def preactivations(self, u: Array, v: Array) -> Array:
        return u + v

    def forward(self, z: Array, v: Array, state: State) -> State:
        return (np.tanh(z),)

    def backward(self, z: Array, v: Array, state: State, bars: State) -> tuple[Array, State]:
        h = np.tanh(z)
        return bars[0] * (1 - h * h), (bars[0] * 0,)

    def state_delta(self, z: Array, v: Array, delta: Array) -> Array:
        return delta


class _LongShortTermMemory:
    """``c = f c + i g``, ``h = o tanh(c)``; rows are i, f, g, o."""

    n_gates, n_states = 4, 2

    def preactivations(self, u: Array, v: Array) -> Array:
        return u + v

    def forward(self, z: Array, v: Array, state: State) -> State:
        i, f, g, o = self._gates(z)
        c = f * state[1] + i * g
        return o * np.tanh(c), c

    def backward(self, z: Array, v: Array, state: State, bars: State) -> tuple[Array, State]:
        i, f, g, o = self._gates(z)
        squashed = np.tanh(f * state[1] + i * g)
        c_bar = bars[1] + bars[0] * o * (1 - squashed * squashed)
        delta = np.concatenate(
            [
                c_bar * g * i * (1 - i),
                c_bar * state[1] * f * (1 - f),
                c_bar * i * (1 - g * g),
                bars[0] * squashed * o * (1 - o),
            ],
            axis=-1,
        )
        return delta, (bars[0] * 0, c_bar * f)

    def state_delta(self, z: Array, v: Array, delta: Array) -> Array:
        return delta

    def _gates(self, z: Array) -> tuple[Array, Array, Array, Array]:
        i, f, g, o = _split(z, 4)
        return sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)


class _GatedUnit:
    """``h' = s h + (1 - s) tanh(z_n + r v_n)``; rows are r, s and the candidate n."""

    n_gates, n_states = 3, 1

    def preactivations(self, u: Array, v: Array) -> Array:
        n = v.shape[-1] // 3
        gates = u[..., : 2 * n] + v[..., : 2 * n]
        return np.concatenate([gates, u[..., 2 * n :] + 0 * v[..., 2 * n :]], axis=-1)

    def forward(self, z: Array, v: Array, state: State) -> State:
        _, s, candidate = self._gates(z, v)
        return (candidate + s * (state[0] - candidate),)

    def backward(self, z: Array, v: Array, state: State, bars: State) -> tuple[Array, State]:
        r, s, candidate = self._gates(z, v)
        n_bar = bars[0] * (1 - s) * (1 - candidate * candidate)
        r_bar = n_bar * _split(v, 3)[2] * r * (1 - r)
        s_bar = bars[0] * (state[0] - candidate) * s * (1 - s)
        return np.concatenate([r_bar, s_bar, n_bar], axis=-1), (bars[0] * s,)

    def state_delta(self, z: Array, v: Array, delta: Array) -> Array:
        r_bar, s_bar, n_bar = _split(delta, 3)
        return np.concatenate([r_bar, s_bar, n_bar * sigmoid(_split(z, 3)[0])], axis=-1)

    def _gates(self, z: Array, v: Array) -> tuple[Array, Array, Array]:
        r, s, n = _split(z, 3)
        r = sigmoid(r)
        return r, sigmoid(s), np.tanh(n + r * _split(v, 3)[2])


def _split(a: Array, parts: int) -> Any:
    n = a.shape[-1] // parts
    return tuple(a[..., k * n : (k + 1) * n] for k in range(parts))


#: The cells by name.
CELLS: dict[str, Cell] = {
    "rnn": _Simple(),
    "lstm": _LongShortTermMemory(),
    "gru": _GatedUnit(),
}
