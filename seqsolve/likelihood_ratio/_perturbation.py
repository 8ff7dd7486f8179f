"""The noise of one layer: added in forward passes, and generated once more to weigh it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple, cast

import numpy as np

from seqsolve import random
from seqsolve.backend import Array, Backend, HalfProducts
from seqsolve.likelihood_ratio._columns import orthogonal_bits, sobol_words
from seqsolve.likelihood_ratio.layer import CLEAN, Pass
from seqsolve.likelihood_ratio.noise import Noise

#: Places in a layer that have noise of their own: preactivations first, then parameters.
_PLACES = 16
_OFFSET = 2**16 - 1

_KINDS = {"gaussian": "normal", "sobol": "normal", "sign": "sign", "orthogonal": "sign"}


class Place(NamedTuple):
    """Where numbers are drawn, all steps and copies alike.

    Parameters
    ----------
    number : int
        Distinguishes the places of a model.
    n_data, n_units : int
        How many numbers: for each datum and each of its units.
    first_column : int
        Its first column in what is structured over the copies.
    positions : int
        Data that have columns of their own, because their losses are shared.
    """

    number: int
    n_data: int
    n_units: int
    first_column: int
    positions: int

    @property
    def n_columns(self) -> int:
        """How many columns a step has."""
        return self.positions * self.n_units


def place_number(layer: int, slot: int = 0) -> int:
    """Return what distinguishes a place: slot 0 for preactivations, then parameters."""
    return layer * _PLACES + slot


def streams(
    backend: Backend, noise: Noise, place: Place, step: int, copies: range
) -> random.NoiseStream:
    """Return the stream of one place at one step."""
    seed, iteration = noise.words
    key = (seed, (iteration << 16) + place.number)
    table: Any = None
    start = place.first_column + step * place.n_columns
    columns = range(start, start + place.n_columns)
    if noise.kind == "sobol":
        table = sobol_words(copies, columns)
    elif noise.kind == "orthogonal":
        table = orthogonal_bits(_offset(noise), copies, columns)
    if table is not None:
        table = table.reshape(len(copies), place.positions, place.n_units)
        if 1 < place.positions < place.n_data:
            table = table.repeat(place.n_data // place.positions, axis=1)
        table = backend.asarray(table)
    return random.NoiseStream(key, step, _KINDS[noise.kind], table is not None, table)


def _offset(noise: Noise) -> int:
    """Return how orthogonal columns are permuted in one iteration."""
    seed, iteration = noise.words
    zero = np.zeros(1, np.uint64)
    words = random.philox4x64((zero, zero, zero, zero), (seed, (iteration << 16) + _OFFSET))
    return int(words[0][0]) >> 32


def add(
    backend: Backend, noise: Noise, place: Place, step: int, copies: range, z: Array, sigma: float
) -> Array:
    """Return ``z + sigma eps``, shape ``(copies, n_data, n_units)``."""
    stream = streams(backend, noise, place, step, copies)
    if _has_kernels(type(backend)):
        return cast(random.NoiseKernels, backend).add_noise(z, sigma, stream, copies)
    return random.add_noise(backend.xp, z, sigma, stream, copies)


def weigh(
    backend: Backend, noise: Noise, place: Place, step: int, copies: range, w: Array, out: Array
) -> None:
    """Add ``sum_k w[k] eps[k]`` to `out`."""
    stream = streams(backend, noise, place, step, copies)
    if _has_kernels(type(backend)):
        cast(random.NoiseKernels, backend).weigh_noise(w, stream, copies, out)
    else:
        random.weigh_noise(backend.xp, w, stream, copies, out)


@functools.cache
def _has_kernels(backend_type: type) -> bool:
    """Tell whether backends of a type have kernels: asking a protocol takes longer than these."""
    return issubclass(backend_type, random.NoiseKernels)


class HalfPass(Pass):
    """Operands of products are rounded to half precision, sums are not.

    Parameters
    ----------
    backend : Backend
        Multiplies matrices of half precision, if it can.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend if isinstance(backend, HalfProducts) else None

    def matmul(self, a: Array, b: Array) -> Array:
        """Return the product of the rounded operands."""
        if self._backend is not None and a.ndim == b.ndim == 2:
            return self._backend.half_matmul(a, b)
        return super().matmul(_rounded(a), _rounded(b))


def quiet_pass(noise: Noise, backend: Backend) -> Pass:
    """Return the pass without noise, in the precision that the noise asks for."""
    return HalfPass(backend) if noise.precision == "half" else CLEAN


class NoisyPass(Pass):
    """Adds a layer's noise to its preactivations, or to its parameters.

    Parameters
    ----------
    backend : Backend
        Where the arrays live.
    noise : Noise
        Whose kind, precision and key count.
    places : dict of str to Place
        By name of the parameter; ``""`` for preactivations.
    sigmas : dict of str to float
        Scales of the noise; negative ones mirror it.
    copies : range
        Which copies.
    """

    def __init__(
        self,
        backend: Backend,
        noise: Noise,
        places: dict[str, Place],
        sigmas: dict[str, float],
        copies: range,
    ) -> None:
        self._backend, self._noise, self._copies = backend, noise, copies
        self._places, self._sigmas = places, sigmas
        self._quiet = quiet_pass(noise, backend)

    def weight(self, name: str, weight: Array, data: tuple[int, ...]) -> Array:
        """Return the parameter with noise of its own for each copy and datum."""
        if name not in self._places:
            return weight
        flat = np.broadcast_to(weight.reshape(1, 1, -1), (1, prod(data), weight.size))
        noisy = self._add(name, flat, 0)
        return noisy.reshape(len(self._copies), *data, *weight.shape)

    def output(self, z: Array, n_unit_axes: int = 1, step: int = 0) -> Array:
        """Return the preactivations with noise."""
        if "" not in self._places:
            return z
        units = z.shape[z.ndim - n_unit_axes :]
        noisy = self._add("", z.reshape(z.shape[0], -1, prod(units)), step)
        return noisy.reshape(len(self._copies), *z.shape[1:])

    def product(self, x: Array, weight: Array) -> Array:
        """Return the product, in the precision that the noise asks for."""
        return self._quiet.product(x, weight)

    def _add(self, name: str, z: Array, step: int) -> Array:
        place, sigma = self._places[name], self._sigmas[name]
        return add(self._backend, self._noise, place, step, self._copies, z, sigma)


def ranges(n: int, size: int) -> Iterator[range]:
    """Yield ranges of at most `size` that make up ``range(n)``."""
    for start in range(0, n, size):
        yield range(start, min(start + size, n))


def _rounded(a: Any) -> Any:
    return a.astype(np.float16).astype(a.dtype)
