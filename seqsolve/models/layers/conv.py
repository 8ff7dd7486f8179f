"""Convolutions of images."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from seqsolve.backend import Array
from seqsolve.likelihood_ratio.layer import Pass, Site, Tape
from seqsolve.models.layers import activation as activations
from seqsolve.models.layers.affine import Affine, _match, _require, linear_gradients, matmul_last

__all__ = ["Conv2d"]


@dataclass(frozen=True, eq=False, repr=False)
class Conv2d(Affine):
    """A convolution, as one matrix product of the patches (im2col).

    Parameters
    ----------
    weight : array, shape (n_out, height, width, n_in)
        The kernels. Images are ``(n_data, height, width, n_in)``, channels last.
    bias : array, shape (n_out,), optional
        None: zero.
    activation : str or Activation
        What follows.
    stride : int
        Distance between patches.
    padding : int
        Zeros around the image.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.models import Stack, layers
    >>> images = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> mean = layers.Conv2d(np.full((1, 2, 2, 1), 0.25), stride=2)
    >>> Stack((mean,))(images)[0, :, :, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """

    weight: Array
    bias: Array | None = None
    activation: Any = "identity"
    stride: int = 1
    padding: int = 0

    _parameters = ("weight", "bias")
    _n_unit_axes = 3

    def __post_init__(self) -> None:
        _require("weight", self.weight, 4)
        _match("bias", self.bias, self.weight.shape[:1])
        activations.find(self.activation)
        if self.stride < 1 or self.padding < 0:
            raise ValueError(
                "`stride` must be at least 1 and `padding` at least 0; "
                f"got {self.stride} and {self.padding}."
            )

    def site(self, data_shape: tuple[int, ...]) -> Site | None:
        """Return one site, with all places and channels as units."""
        return Site(data_shape[:1], (*self._places(data_shape), self.weight.shape[0]))

    def flops(self, data_shape: tuple[int, ...]) -> tuple[int, int]:
        """Return two for each weight and place, and none behind the noise."""
        return 2 * data_shape[0] * prod(self._places(data_shape)) * self.weight.size, 0

    def gradients(self, tape: Tape, delta: Array) -> dict[str, Array]:
        """Return ``delta.T @ patches`` and the sum of ``delta``."""
        found = linear_gradients(delta, self._patches(tape.x)[0], self.bias is not None)
        found["weight"] = found["weight"].reshape(self.weight.shape)
        return found

    def pull(self, tape: Tape, delta: Array) -> Array:
        """Return the patches' cotangents, added where they overlap."""
        n, height, width, n_in = tape.x.shape[1:]
        rows, columns = delta.shape[1:3]
        flat = matmul_last(delta, self.weight.reshape(self.weight.shape[0], -1))
        patches = flat.reshape(*delta.shape[:3], *self.weight.shape[1:])
        pad, s = self.padding, self.stride
        bar = np.zeros_like(delta, shape=(n, height + 2 * pad, width + 2 * pad, n_in))
        for i in range(self.weight.shape[1]):
            for j in range(self.weight.shape[2]):
                place = (slice(None), slice(i, i + s * rows, s), slice(j, j + s * columns, s))
                bar[place] = bar[place] + patches[:, :, :, i, j]
        return bar[:, pad : pad + height, pad : pad + width]

    def _map(self, x: Array, p: Pass) -> Array:
        n_out, *_ = self.weight.shape
        data = tuple(x.shape[1:2])
        patches = self._patches(x)
        weight = p.weight("weight", self.weight, data)
        if weight.ndim == 4:
            z = p.product(patches, weight.reshape(n_out, -1))
        else:
            z = p.product(patches, weight.reshape(*weight.shape[:2], 1, 1, n_out, -1))
        if self.bias is None:
            return z
        bias = p.weight("bias", self.bias, data)
        return z + (bias if bias.ndim == 1 else bias[:, :, None, None])

    def _patches(self, x: Array) -> Array:
        """Return ``(copies, n_data, rows, columns, height * width * n_in)``."""
        rows, columns = self._places(x.shape[1:])
        pad, s = self.padding, self.stride
        if pad:
            shape = (*x.shape[:2], x.shape[2] + 2 * pad, x.shape[3] + 2 * pad, x.shape[4])
            padded = np.zeros_like(x, shape=shape)
            padded[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]] = x
            x = padded
        return np.concatenate(
            [
                x[:, :, i : i + s * rows : s, j : j + s * columns : s]
                for i in range(self.weight.shape[1])
                for j in range(self.weight.shape[2])
            ],
            axis=-1,
        )

    def _places(self, data_shape: tuple[int, ...]) -> tuple[int, int]:
        _, height, width, n_in = self.weight.shape
        if len(data_shape) != 4 or data_shape[3] != n_in:
            raise ValueError(
                f"`x` must have shape (n_data, height, width, {n_in}) at {self!r}; "
                f"got {tuple(data_shape)}."
            )
        rows = (data_shape[1] + 2 * self.padding - height) // self.stride + 1
        columns = (data_shape[2] + 2 * self.padding - width) // self.stride + 1
        if rows < 1 or columns < 1:
            raise ValueError(f"`x` must be as large as the kernel of {self!r}; got {data_shape}.")
        return rows, columns
