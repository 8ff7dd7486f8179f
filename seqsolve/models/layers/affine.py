"""Layers that are an affine map and an activation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import prod
from typing import Any, Self

import numpy as np

from seqsolve.backend import Array
from seqsolve.likelihood_ratio.layer import Padded, Pass, Site, Tape
from seqsolve.models.layers import activation as activations

__all__ = ["Linear", "Scale"]


class Parametrised:
    """Parameters are the fields in `_parameters` that are not None."""

    _parameters: tuple[str, ...] = ()

    @property
    def params(self) -> Mapping[str, Array]:
        """The parameters by name."""
        named = {name: getattr(self, name) for name in self._parameters}
        return {name: a for name, a in named.items() if a is not None}

    def with_params(self, params: Mapping[str, Array], /) -> Self:
        """Return the same layer with other parameters; those left out are kept."""
        unknown = sorted(set(params) - set(self.params))
        if unknown:
            raise ValueError(
                f"`params` must be named {', '.join(self.params) or 'nothing'}; "
                f"got {', '.join(unknown)}."
            )
        for name, a in params.items():
            if tuple(a.shape) != tuple(self.params[name].shape):
                raise ValueError(
                    f"`params[{name!r}]` must have shape {tuple(self.params[name].shape)}; "
                    f"got {tuple(a.shape)}."
                )
        return replace(self, **params)  # type: ignore[type-var]

    def reach(self, data_shape: tuple[int, ...]) -> tuple[Array | None, Array | None]:
        """Return None twice: every position reaches itself alone."""
        return None, None

    def __repr__(self) -> str:
        shapes = [f"{name}={tuple(a.shape)}" for name, a in self.params.items()]
        others = [
            f"{field.name}={getattr(value, 'name', value)!r}"
            for field in fields(self)  # type: ignore[arg-type]
            if field.name not in self._parameters
            and isinstance(value := getattr(self, field.name), str | int | activations.Activation)
        ]
        return f"{type(self).__name__}({', '.join(shapes + others)})"


class Affine(Parametrised):
    """What layers have in common that are an affine map and an activation."""

    activation: Any
    _n_unit_axes = 1

    def project(self, x: Any, p: Pass) -> Any:
        """Return the affine map of the input."""
        return _like(x, self._map(_values(x), p))

    def finish(self, u: Any, p: Pass) -> Any:
        """Return the activation of the preactivations."""
        return _like(u, self._activation(p.output(_values(u), self._n_unit_axes)))

    def record(self, x: Any, p: Pass) -> tuple[Any, Tape]:
        """Return the output, and what the other methods need."""
        u = self.project(x, p)
        z = _values(u)
        h = self._activation(z)
        return _like(u, h), Tape(x, u, z[0], h[0])

    def backward(self, tape: Tape, output_bar: Array) -> Array:
        """Return ``delta``, given the cotangent of the output."""
        return self._activation.pull(tape.z, tape.kept, output_bar)

    @property
    def _activation(self) -> activations.Activation:
        return activations.find(self.activation)

    def _map(self, x: Array, p: Pass) -> Array:
        raise NotImplementedError


@dataclass(frozen=True, eq=False, repr=False)
class Linear(Affine):
    """``activation(W x + b)``, for vectors along the last axis.

    Parameters
    ----------
    weight : array, shape (n_out, n_in)
        ``W``.
    bias : array, shape (n_out,), optional
        ``b``. None: zero.
    activation : str or Activation
        What follows.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.models import Stack, layers
    >>> layer = layers.Linear(np.array([[1.0, -1.0]]), activation="relu")
    >>> Stack((layer,))(np.array([[3.0, 1.0], [1.0, 3.0]]))
    array([[2.],
           [0.]])
    """

    weight: Array
    bias: Array | None = None
    activation: Any = "identity"

    _parameters = ("weight", "bias")

    def __post_init__(self) -> None:
        _require("weight", self.weight, 2)
        _match("bias", self.bias, self.weight.shape[:1])
        activations.find(self.activation)

    def site(self, data_shape: tuple[int, ...]) -> Site | None:
        """Return one site, with the layer's outputs as units."""
        self._check(data_shape)
        return Site(data_shape[:-1], (self.weight.shape[0],))

    def flops(self, data_shape: tuple[int, ...]) -> tuple[int, int]:
        """Return two for each weight and vector, and none behind the noise."""
        return 2 * prod(data_shape[:-1]) * self.weight.size, 0

    def gradients(self, tape: Tape, delta: Array) -> dict[str, Array]:
        """Return ``delta.T @ x`` and the sum of ``delta``."""
        x = _values(tape.x)[0]
        return linear_gradients(delta, x, self.bias is not None)

    def pull(self, tape: Tape, delta: Array) -> Array:
        """Return ``delta @ W``."""
        return matmul_last(delta, self.weight)

    def _map(self, x: Array, p: Pass) -> Array:
        self._check(x.shape[1:])
        data = tuple(x.shape[1:-1])
        z = p.product(x, p.weight("weight", self.weight, data))
        return z if self.bias is None else z + p.weight("bias", self.bias, data)

    def _check(self, data_shape: tuple[int, ...]) -> None:
        if len(data_shape) < 2 or data_shape[-1] != self.weight.shape[1]:
            raise ValueError(
                f"`x` must have shape (*data, {self.weight.shape[1]}) at {self!r}; "
                f"got {tuple(data_shape)}."
            )


@dataclass(frozen=True, eq=False, repr=False)
class Scale(Affine):
    """``activation(w * x + b)``, element by element: the Hadamard product.

    Parameters
    ----------
    weight : array, shape features
        ``w``; as many axes as features have.
    bias : array, shape features, optional
        ``b``. None: zero.
    activation : str or Activation
        What follows.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.models import Stack, layers
    >>> Stack((layers.Scale(np.array([1.0, 10.0])),))(np.array([[3.0, 1.0]]))
    array([[ 3., 10.]])
    """

    weight: Array
    bias: Array | None = None
    activation: Any = "identity"

    _parameters = ("weight", "bias")

    def __post_init__(self) -> None:
        if not getattr(self.weight, "ndim", 0):
            raise ValueError(
                f"`weight` must be an array with an axis at least; got {self.weight!r}."
            )
        _match("bias", self.bias, self.weight.shape)
        activations.find(self.activation)

    @property
    def _n_unit_axes(self) -> int:  # type: ignore[override]
        return int(self.weight.ndim)

    def site(self, data_shape: tuple[int, ...]) -> Site | None:
        """Return one site, with the features as units."""
        self._check(data_shape)
        return Site(data_shape[: -self.weight.ndim], tuple(self.weight.shape))

    def flops(self, data_shape: tuple[int, ...]) -> tuple[int, int]:
        """Return none: there are no matrix products."""
        return 0, 0

    def gradients(self, tape: Tape, delta: Array) -> dict[str, Array]:
        """Return the sum of ``delta * x``, and of ``delta``."""
        axes = tuple(range(delta.ndim - self.weight.ndim))
        found = {"weight": (delta * _values(tape.x)[0]).sum(axis=axes)}
        if self.bias is not None:
            found["bias"] = delta.sum(axis=axes)
        return found

    def pull(self, tape: Tape, delta: Array) -> Array:
        """Return ``delta * w``."""
        return delta * self.weight

    def _map(self, x: Array, p: Pass) -> Array:
        self._check(x.shape[1:])
        data = tuple(x.shape[1 : x.ndim - self.weight.ndim])
        z = x * p.weight("weight", self.weight, data)
        return z if self.bias is None else z + p.weight("bias", self.bias, data)

    def _check(self, data_shape: tuple[int, ...]) -> None:
        n = self.weight.ndim
        if len(data_shape) <= n or tuple(data_shape[-n:]) != tuple(self.weight.shape):
            raise ValueError(
                f"`x` must have shape (*data, {', '.join(map(str, self.weight.shape))}) at "
                f"{self!r}; got {tuple(data_shape)}."
            )


def linear_gradients(delta: Array, x: Array, has_bias: bool) -> dict[str, Array]:
    """Return gradients of ``W`` and ``b`` in ``W x + b``, summed over all leading axes."""
    rows = delta.reshape(-1, delta.shape[-1])
    found = {"weight": rows.T @ x.reshape(-1, x.shape[-1])}
    if has_bias:
        found["bias"] = rows.sum(axis=0)
    return found


def matmul_last(a: Array, weight: Array) -> Array:
    """Return ``a @ weight`` for vectors along the last axis, as one product."""
    flat = a.reshape(-1, a.shape[-1]) @ weight
    return flat.reshape(*a.shape[:-1], weight.shape[1])


def _values(x: Any) -> Array:
    return x.values if isinstance(x, Padded) else x


def _like(x: Any, values: Array) -> Any:
    return Padded(values, x.mask) if isinstance(x, Padded) else values


def _require(name: str, a: Any, ndim: int) -> None:
    if getattr(a, "ndim", None) != ndim:
        got = getattr(a, "shape", None)
        raise ValueError(
            f"`{name}` must be an array with {ndim} axes; got {a!r}."
            if got is None
            else f"`{name}` must be an array with {ndim} axes; got shape {tuple(got)}."
        )


def _match(name: str, a: Any, shape: Any) -> None:
    if a is not None and tuple(np.shape(a)) != tuple(shape):
        raise ValueError(f"`{name}` must have shape {tuple(shape)}; got {tuple(np.shape(a))}.")
