"""Layers to which no noise is added: embeddings, pooling, flattening.

Their errors come from the layer behind them, whose affine map is transposed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from seqsolve import _checks
from seqsolve.backend import Array
from seqsolve.likelihood_ratio.layer import Padded, Pass, Site, Tape
from seqsolve.models.layers.affine import Parametrised, _require, _values

__all__ = ["Embedding", "Flatten", "Pool"]


class _Noiseless(Parametrised):
    """What layers without noise have in common."""

    def site(self, data_shape: tuple[int, ...]) -> Site | None:
        """Return None: no noise is added."""
        return None

    def flops(self, data_shape: tuple[int, ...]) -> tuple[int, int]:
        """Return none: there are no matrix products."""
        return 0, 0

    def finish(self, u: Any, p: Pass) -> Any:
        """Return what `project` returned."""
        return u

    def record(self, x: Any, p: Pass) -> tuple[Any, Tape]:
        """Return the output, and what the other methods need."""
        u = self.project(x, p)
        return u, Tape(x, u, None, None)

    def project(self, x: Any, p: Pass) -> Any:
        raise NotImplementedError

    def backward(self, tape: Tape, output_bar: Array) -> Array:
        """Return the cotangent of the output."""
        return output_bar

    def gradients(self, tape: Tape, delta: Array) -> dict[str, Array]:
        """Return none: there are no parameters."""
        return {}


@dataclass(frozen=True, eq=False, repr=False)
class Embedding(_Noiseless):
    """A vector for each token.

    Parameters
    ----------
    weight : array, shape (n_tokens, n_features)
        The vectors. The input is an array of int, ``(n_steps, n_data)``, padded
        with negative numbers: those have zeros, and what follows leaves them out.
    trainable : bool
        Whether the vectors are parameters. Otherwise they stay as they are.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.models import Stack, layers
    >>> model = Stack((layers.Embedding(np.array([[1.0], [5.0]])), layers.Pool("mean")))
    >>> model(np.array([[0, 1], [1, -1]]))
    array([[3.],
           [5.]])
    """

    weight: Array
    trainable: bool = True

    _parameters = ("weight",)

    def __post_init__(self) -> None:
        _require("weight", self.weight, 2)
        _checks.boolean("trainable", self.trainable)

    @property
    def params(self) -> Mapping[str, Array]:
        """The vectors, if they are trained."""
        return super().params if self.trainable else {}

    def project(self, x: Any, p: Pass) -> Padded:
        """Return the tokens' vectors."""
        tokens = x[0]
        if tokens.ndim != 2 or str(tokens.dtype)[:3] != "int":
            raise ValueError(
                "`x` must be integer tokens of shape (n_steps, n_data); "
                f"got {tokens.dtype} values of shape {tuple(tokens.shape)}."
            )
        n_tokens = self.weight.shape[0]
        if tokens.size and int(tokens.max()) >= n_tokens:
            raise ValueError(f"`x` must be tokens below {n_tokens}; got {int(tokens.max())}.")
        mask = tokens >= 0
        vectors = self.weight[tokens * mask] * mask[..., None]
        return Padded(vectors.astype(self.weight.dtype)[None], mask)

    def gradients(self, tape: Tape, delta: Array) -> dict[str, Array]:
        """Return the sum of ``delta`` over each token's places."""
        tokens, mask = tape.x[0].reshape(-1), tape.u.mask.reshape(-1)
        rows = delta.reshape(-1, delta.shape[-1]) * mask[:, None]
        bar = np.zeros_like(self.weight)
        _checks.namespace(bar).add.at(bar, tokens * mask, rows.astype(bar.dtype))
        return {"weight": bar}

    def pull(self, tape: Tape, delta: Array) -> Array:
        """Raise: tokens have no derivative."""
        raise TypeError("`x` must be tokens of the data at Embedding: no layer can come before it.")


@dataclass(frozen=True, eq=False, repr=False)
class Pool(_Noiseless):
    """One vector for each sequence.

    Parameters
    ----------
    kind : {"mean", "last"}
        Mean of the steps that belong to the sequence, or the last step.
        Recurrent layers keep their state behind the end of a sequence.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.models import Stack, layers
    >>> Stack((layers.Pool("last"),))(np.array([[[1.0]], [[3.0]]]))
    array([[3.]])
    """

    kind: str = "mean"

    def __post_init__(self) -> None:
        _checks.one_of("kind", self.kind, ("mean", "last"))

    def reach(self, data_shape: tuple[int, ...]) -> tuple[Any, Any]:
        """Return one row of ones: every step reaches the one result."""
        return None, np.ones((1, data_shape[0]))

    def project(self, x: Any, p: Pass) -> Array:
        """Return the mean or the last state."""
        values = _values(x)
        if values.ndim != 4:
            raise ValueError(
                "`x` must have shape (n_steps, n_data, n_features) at Pool; "
                f"got {tuple(values.shape[1:])}."
            )
        if self.kind == "last":
            return values[:, -1]
        return (values * self._weights(x, values)[..., None]).sum(axis=1)

    def pull(self, tape: Tape, delta: Array) -> Array:
        """Return the cotangent, on the steps it belongs to."""
        values = _values(tape.x)
        if self.kind == "mean":
            return self._weights(tape.x, values)[..., None] * delta
        bar = np.zeros_like(values[0])
        bar[-1] = delta
        return bar

    def _weights(self, x: Any, values: Array) -> Array:
        """Return what each step of each sequence weighs in its mean."""
        if not isinstance(x, Padded):
            return np.full_like(values, 1 / values.shape[1], shape=(values.shape[1], 1))
        mask = x.mask.astype(values.dtype)
        return mask / np.maximum(mask.sum(axis=0), 1)


@dataclass(frozen=True, eq=False, repr=False)
class Flatten(_Noiseless):
    """All features in one axis: ``(n_data, ...)`` becomes ``(n_data, n_features)``.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.models import Stack, layers
    >>> Stack((layers.Flatten(),))(np.zeros((5, 4, 4, 2))).shape
    (5, 32)
    """

    def project(self, x: Any, p: Pass) -> Array:
        """Return a view of another shape."""
        return x.reshape(x.shape[0], x.shape[1], prod(x.shape[2:]))

    def pull(self, tape: Tape, delta: Array) -> Array:
        """Return the cotangent in the input's shape."""
        return delta.reshape(tape.x.shape[1:])
