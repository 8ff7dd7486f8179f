"""What a layer and a model supply, so that their gradients can be estimated.

Inside a pass every array has a leading axis of copies, of length 1 where all
copies are equal: ``(copies, *data, *features)``. A layer is an affine map of
its input, to which noise is added, and what follows from it: activations,
recurrences. The values to which the noise is added are its preactivations
``z``; ``delta`` is the derivative of the loss with respect to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np

from seqsolve.backend import Array

__all__ = ["CLEAN", "Layer", "Model", "Padded", "Params", "Pass", "Site", "Tape"]

#: Parameters of a layer by name; those of a model are a tuple with one for each layer.
Params: TypeAlias = Mapping[str, Array]


class Padded(NamedTuple):
    """Sequences of different lengths, in one array.

    Parameters
    ----------
    values : array, shape (copies, n_steps, n_data, n_features)
        What flows between layers.
    mask : array of bool, shape (n_steps, n_data)
        Whether a step belongs to its sequence.
    """

    values: Array
    mask: Array


class Site(NamedTuple):
    """Where noise enters a layer, for one batch.

    Parameters
    ----------
    data : tuple of int
        Shape of the data that have noise of their own.
    units : tuple of int
        Shape of one datum's preactivations, at one step.
    steps : int or None
        How often noise is added in a recurrence, one step after the other;
        None: it is no recurrence.
    """

    data: tuple[int, ...]
    units: tuple[int, ...]
    steps: int | None = None

    @property
    def n_units(self) -> int:
        """Numbers that are perturbed together, for each datum."""
        return prod(self.units) * (1 if self.steps is None else self.steps)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the preactivations: ``(*data, *units)``, steps first where there are many."""
        return (() if self.steps is None else (self.steps,)) + self.data + self.units


class Tape(NamedTuple):
    """What a clean pass keeps of a layer.

    Parameters
    ----------
    x : array or Padded
        The layer's input.
    u : array or Padded
        What its `project` returned.
    z : array or None
        Its preactivations, of the shape of its site; None: it has no noise.
    kept : object
        What else its `backward` needs.
    """

    x: Any
    u: Any
    z: Any
    kept: Any

    @property
    def mask(self) -> Array | None:
        """Which steps belong to their sequences; None: all."""
        return self.x.mask if isinstance(self.x, Padded) else None


class Pass:
    """How a forward pass is computed. This one is clean: no noise, products as they are."""

    def weight(self, name: str, weight: Array, data: tuple[int, ...]) -> Array:
        """Return a parameter, perhaps with noise: then ``(copies, *data, *weight.shape)``."""
        return weight

    def output(self, z: Array, n_unit_axes: int = 1, step: int = 0) -> Array:
        """Return preactivations ``(copies, *data, *units)``, perhaps with noise."""
        return z

    def product(self, x: Array, weight: Array) -> Array:
        """Return ``weight @ x`` for vectors along the last axis of `x`.

        Parameters
        ----------
        x : array, shape (..., n_in)
            Vectors.
        weight : array, shape (n_out, n_in) or (..., n_out, n_in)
            One matrix, or one for each vector.

        Returns
        -------
        array, shape (..., n_out)
            One matrix product if there is one matrix.
        """
        if weight.ndim > 2:
            return self.matmul(weight, x[..., None])[..., 0]
        flat = self.matmul(x.reshape(-1, x.shape[-1]), weight.T)
        return flat.reshape(*x.shape[:-1], weight.shape[0])

    def matmul(self, a: Array, b: Array) -> Array:
        """Return ``a @ b``, in the pass's precision."""
        product: Array = np.matmul(a, b)
        return product


#: The pass without noise.
CLEAN = Pass()


@runtime_checkable
class Layer(Protocol):
    """An affine map with noise behind it, then what is not affine.

    ``finish(project(x, p), p)`` is the layer's output. `project` needs its
    input alone, so where that is the same for all copies it is computed once.

    Notes
    -----
    In the methods below, `x` is the layer's input and `u` what `project`
    returned: arrays of shape ``(copies or 1, *data, *features)``, or `Padded`
    ones. `data_shape` is the input's shape without the axis of copies. `p` is a
    `Pass`, which adds the noise and multiplies matrices. `tape` is what `record`
    returned. `delta` has the shape of the layer's `Site`, ``(*data, *units)``.
    """

    @property
    def params(self) -> Params:
        """The parameters by name."""
        ...

    def with_params(self, params: Params, /) -> Self:
        """Return the same layer with other parameters."""
        ...

    def site(self, data_shape: tuple[int, ...]) -> Site | None:
        """Return where noise enters, or None if none does, for an input ``(*data, *features)``."""
        ...

    def reach(self, data_shape: tuple[int, ...]) -> tuple[Array | None, Array | None]:
        """Return which positions reach which: input to `z`, and `z` to output.

        Positions are the first axis of the data: steps, or nodes. A matrix
        ``(n_to, n_from)`` is 1 where one depends on the other; None: each
        on itself alone.
        """
        ...

    def flops(self, data_shape: tuple[int, ...]) -> tuple[int, int]:
        """Return the operations in matrix products of `project` and of `finish`, for one copy."""
        ...

    def project(self, x: Any, p: Pass) -> Any:
        """Return the affine map of the input."""
        ...

    def finish(self, u: Any, p: Pass) -> Any:
        """Return the output, given what `project` returned."""
        ...

    def record(self, x: Any, p: Pass) -> tuple[Any, Tape]:
        """Return the output, and what the other methods need; one copy."""
        ...

    def backward(self, tape: Tape, output_bar: Array) -> Array:
        """Return ``delta``, given the cotangent of the output; neither has the axis of copies.

        Where no noise enters, this is the cotangent of what `project` returned.
        """
        ...

    def gradients(self, tape: Tape, delta: Array) -> dict[str, Array]:
        """Return the parameters' gradients, summed over the data, given ``delta``."""
        ...

    def pull(self, tape: Tape, delta: Array) -> Array:
        """Return the cotangent of the input's values, given ``delta``."""
        ...


@runtime_checkable
class Model(Protocol):
    """Layers, one after the other."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, from input to output."""
        ...

    @property
    def params(self) -> tuple[Params, ...]:
        """The parameters of each layer."""
        ...

    def with_params(self, params: Any, /) -> Self:
        """Return the same model with other parameters."""
        ...
