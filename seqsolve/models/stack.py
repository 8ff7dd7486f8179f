"""Layers one after the other, and the networks that are made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np

from seqsolve import _checks
from seqsolve._tree import tree_map
from seqsolve.backend import Array
from seqsolve.likelihood_ratio.layer import CLEAN, Layer, Padded, Params
from seqsolve.models.layers import Embedding, GraphConv, Linear, Pool, Recurrent
from seqsolve.models.layers.cells import CELLS

__all__ = ["GCN", "MLP", "RNN", "Stack"]


@dataclass(frozen=True, eq=False)
class Stack:
    """Layers one after the other.

    Parameters
    ----------
    layers : sequence of Layer
        From input to output.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.models import Stack, layers
    >>> model = Stack([layers.Linear(np.eye(2)), layers.Linear(np.ones((1, 2)))])
    >>> model(np.array([[1.0, 2.0]]))
    array([[3.]])
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise ValueError("`layers` must hold a layer at least; got none.")
        for i, layer in enumerate(self.layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"`layers[{i}]` must be a layer; got {type(layer).__name__}.")

    @property
    def params(self) -> tuple[Params, ...]:
        """The parameters of each layer, by name."""
        return tuple(dict(layer.params) for layer in self.layers)

    def with_params(self, params: Sequence[Params], /) -> Self:
        """Return the same model with other parameters.

        Parameters
        ----------
        params : sequence of mapping of str to array
            As :attr:`params` has them.

        Returns
        -------
        Stack
            A new model.
        """
        if len(params) != len(self.layers):
            raise ValueError(
                f"`params` must have those of {len(self.layers)} layers; got {len(params)}."
            )
        pairs = zip(self.layers, params, strict=True)
        return type(self)(tuple(layer.with_params(p) for layer, p in pairs))

    def __call__(self, x: Any, /) -> Array:
        """Return the output.

        Parameters
        ----------
        x : array or tree of arrays
            Input of the first layer, ``(*data, *features)``.

        Returns
        -------
        array, shape (*data, n_out)
            Of the last layer.
        """
        flow: Any = tree_map(lambda a: _checks.array("x", a)[None], x)
        for layer in self.layers:
            flow = layer.finish(layer.project(flow, CLEAN), CLEAN)
        output: Array = (flow.values if isinstance(flow, Padded) else flow)[0]
        return output


class MLP(Stack):
    """A multilayer perceptron: a `models.Stack` of linear layers, made by :meth:`random`.

    Parameters
    ----------
    layers : sequence of Layer
        From input to output.
    """

    @classmethod
    def random(
        cls,
        sizes: Sequence[int],
        *,
        activation: Any = "relu",
        dtype: Any = "float64",
        rng: Any = None,
    ) -> MLP:
        """Return one with random weights, its biases zero.

        Parameters
        ----------
        sizes : sequence of int
            Numbers of inputs, of units of each hidden layer, and of outputs.
        activation : str or Activation
            Of the hidden layers; the last layer has none.
        dtype : dtype
            Of the parameters.
        rng : int or numpy.random.Generator, optional
            Seed or generator.

        Returns
        -------
        MLP
            Weights are normal with variance ``2 / n_in`` before a rectifier,
            ``1 / n_in`` elsewhere; biases are zero.

        Examples
        --------
        >>> from seqsolve.models import MLP
        >>> MLP.random((784, 256, 10), rng=0).layers
        (Linear(weight=(256, 784), bias=(256,), activation='relu'), \
Linear(weight=(10, 256), bias=(10,), activation='identity'))
        """
        draw = _Draw(dtype, rng)

        def layer(n_in: int, n_out: int, follows: Any) -> Linear:
            return Linear(draw((n_out, n_in), _gain(follows), n_in), draw.zeros(n_out), follows)

        return cls(_chain(sizes, activation, layer))


class RNN(Stack):
    """A classifier of sequences of tokens: a `models.Stack`, made by :meth:`random`.

    Parameters
    ----------
    layers : sequence of Layer
        From input to output.
    """

    @classmethod
    def random(
        cls,
        n_tokens: int,
        n_embedding: int,
        n_units: int,
        n_classes: int,
        *,
        cell: str = "rnn",
        pool: str = "mean",
        dtype: Any = "float64",
        rng: Any = None,
    ) -> RNN:
        """Return one with random weights: embedding, recurrence, pooling, linear map.

        Parameters
        ----------
        n_tokens, n_embedding, n_units, n_classes : int
            Sizes of the vocabulary, of its vectors, of the state and of the output.
        cell : {"rnn", "lstm", "gru"}
            Which recurrence.
        pool : {"mean", "last"}
            What is classified of a sequence's states.
        dtype : dtype
            Of the parameters.
        rng : int or numpy.random.Generator, optional
            Seed or generator.

        Returns
        -------
        RNN
            Its input is an array of int, ``(n_steps, n_data)``, padded with
            negative numbers. The forget gate of an LSTM has bias 1.

        Examples
        --------
        >>> import numpy as np
        >>> from seqsolve.models import RNN
        >>> model = RNN.random(100, 8, 16, 4, cell="lstm", rng=0)
        >>> model(np.array([[5, 7], [99, -1], [3, -1]])).shape
        (2, 4)
        """
        draw = _Draw(dtype, rng)
        cell = _checks.one_of("cell", cell, tuple(CELLS))
        rows = CELLS[cell].n_gates * n_units
        bias = draw.zeros(rows)
        if cell == "lstm":
            bias[n_units : 2 * n_units] = 1
        recurrent = Recurrent(
            draw((rows, n_embedding), 1.0, n_embedding),
            draw((rows, n_units), 1.0, n_units),
            bias,
            cell,
        )
        return cls(
            (
                Embedding(draw((n_tokens, n_embedding), 1.0, 1)),
                recurrent,
                Pool(pool),
                Linear(draw((n_classes, n_units), 1.0, n_units), draw.zeros(n_classes)),
            )
        )


class GCN(Stack):
    """A graph convolutional network: a `models.Stack`, made by :meth:`random`.

    Parameters
    ----------
    layers : sequence of Layer
        From input to output.
    """

    @classmethod
    def random(
        cls,
        sizes: Sequence[int],
        adjacency: Any,
        *,
        activation: Any = "relu",
        dtype: Any = "float64",
        rng: Any = None,
    ) -> GCN:
        """Return one with random weights.

        Parameters
        ----------
        sizes : sequence of int
            Numbers of inputs, of units of each hidden layer, and of outputs.
        adjacency : array or sparse matrix, shape (n_nodes, n_nodes)
            Of all layers, normalised already.
        activation : str or Activation
            Of the hidden layers; the last layer has none.
        dtype : dtype
            Of the parameters.
        rng : int or numpy.random.Generator, optional
            Seed or generator.

        Returns
        -------
        GCN
            Weights are normal with variance ``2 / (n_in + n_out)``; biases are zero.

        Examples
        --------
        >>> import numpy as np
        >>> from seqsolve.models import GCN
        >>> GCN.random((3, 4, 2), np.eye(5), rng=0)(np.ones((5, 3))).shape
        (5, 2)
        """
        draw = _Draw(dtype, rng)

        def layer(n_in: int, n_out: int, follows: Any) -> GraphConv:
            weight = draw((n_out, n_in), 1.0, (n_in + n_out) / 2)
            return GraphConv(weight, draw.zeros(n_out), adjacency, follows)

        return cls(_chain(sizes, activation, layer))


class _Draw:
    """Random weights of one dtype."""

    def __init__(self, dtype: Any, rng: Any) -> None:
        if np.dtype(dtype).kind != "f":
            raise TypeError(f"`dtype` must be a real floating-point dtype; got {dtype!r}.")
        self._dtype, self._rng = np.dtype(dtype), np.random.default_rng(rng)

    def __call__(self, shape: tuple[int, ...], gain: float, n_in: float) -> Any:
        return (self._rng.standard_normal(shape) * (gain / n_in) ** 0.5).astype(self._dtype)

    def zeros(self, n: int) -> Any:
        return np.zeros(n, self._dtype)


def _gain(activation: Any) -> float:
    return 2.0 if getattr(activation, "name", activation) == "relu" else 1.0


def _chain(
    sizes: Sequence[int], activation: Any, layer: Callable[[int, int, Any], Layer]
) -> tuple[Layer, ...]:
    """Return layers from each size to the next; no activation follows the last."""
    checked = tuple(_checks.integer(f"sizes[{i}]", n, 1) for i, n in enumerate(sizes))
    if len(checked) < 2:
        raise ValueError(f"`sizes` must name input and output at least; got {sizes!r}.")
    follows = [activation] * (len(checked) - 2) + ["identity"]
    pairs = zip(pairwise(checked), follows, strict=True)
    return tuple(layer(n_in, n_out, after) for (n_in, n_out), after in pairs)
