"""Tiny models of every layer type, with smooth activations, and data for them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from seqsolve.models import Stack, layers


class Problem(NamedTuple):
    """A model, its input, and the shape of its output."""

    model: Stack
    x: Any


def linear(rng, n):
    return Problem(
        Stack(
            (
                layers.Linear(_normal(rng, 4, 3), _normal(rng, 4), "tanh"),
                layers.Linear(_normal(rng, 2, 4), _normal(rng, 2)),
            )
        ),
        _repeated(rng.standard_normal((1, 3)), n),
    )


def scale(rng, n):
    return Problem(
        Stack(
            (
                layers.Scale(_normal(rng, 2, 3), _normal(rng, 2, 3), "sigmoid"),
                layers.Flatten(),
                layers.Linear(_normal(rng, 2, 6)),
            )
        ),
        _repeated(rng.standard_normal((1, 2, 3)), n),
    )


def conv(rng, n):
    return Problem(
        Stack(
            (
                layers.Conv2d(
                    _normal(rng, 2, 2, 3, 2), _normal(rng, 2), "tanh", stride=2, padding=1
                ),
                layers.Conv2d(_normal(rng, 1, 2, 2, 2), None, "tanh", stride=2, padding=1),
                layers.Flatten(),
                layers.Linear(_normal(rng, 2, 4)),
            )
        ),
        _repeated(rng.standard_normal((1, 5, 4, 2)), n),
    )


def graph(rng, n):
    """Return `n` graphs of three nodes, side by side: nodes 0 and 1 know each other, 2 is alone."""
    one = np.array([[0.5, 0.5, 0.0], [0.3, 0.7, 0.0], [0.0, 0.0, 1.0]])
    adjacency = sparse.kron(sparse.eye_array(n), one, format="csr")
    return Problem(
        Stack(
            (
                layers.GraphConv(_normal(rng, 2, 3), _normal(rng, 2), adjacency, "tanh"),
                layers.GraphConv(_normal(rng, 2, 2), None, adjacency),
            )
        ),
        np.tile(rng.standard_normal((3, 3)), (n, 1)),
    )


def recurrent(cell, pool="mean"):
    def make(rng, n):
        gates = {"rnn": 1, "lstm": 4, "gru": 3}[cell]
        tokens = np.array([0, 2, 1] + ([-1] if pool == "mean" else []))[:, None]
        return Problem(
            Stack(
                (
                    layers.Embedding(_normal(rng, 3, 2)),
                    layers.Recurrent(
                        _normal(rng, 2 * gates, 2),
                        _normal(rng, 2 * gates, 2),
                        _normal(rng, 2 * gates),
                        cell,
                    ),
                    layers.Pool(pool),
                    layers.Linear(_normal(rng, 2, 2)),
                )
            ),
            tokens.repeat(n, axis=1),
        )

    return make


def stacked_recurrent(rng, n):
    """Return two recurrences, one on the other, with an output and a loss at every step."""
    return Problem(
        Stack(
            (
                layers.Linear(_normal(rng, 2, 2), None, "tanh"),
                layers.Recurrent(_normal(rng, 2, 2), _normal(rng, 2, 2)),
                layers.Recurrent(_normal(rng, 2, 2), _normal(rng, 2, 2), _normal(rng, 2)),
                layers.Linear(_normal(rng, 2, 2)),
            )
        ),
        _repeated(rng.standard_normal((1, 3, 2)), n).swapaxes(0, 1),
    )


#: By name: functions of a generator and of the number of equal data.
PROBLEMS = {
    "linear": linear,
    "scale": scale,
    "conv": conv,
    "graph": graph,
    "rnn": recurrent("rnn", "last"),
    "lstm": recurrent("lstm"),
    "gru": recurrent("gru"),
    "stacked rnn": stacked_recurrent,
}


def _normal(rng, *shape):
    return rng.standard_normal(shape) / np.sqrt(shape[-1])


def _repeated(x, n):
    return np.repeat(x, n, axis=0)
