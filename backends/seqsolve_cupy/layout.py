"""How arrays are handed to kernels: C++ types, strides, the device."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cupy
import numpy as np

from seqsolve.backend import Array

#: dtype -> C++ type in ``kernels/scalar.cuh``.
SCALARS = {
    "float32": "float",
    "float64": "double",
    "complex64": "seqsolve::complex64",
    "complex128": "seqsolve::complex128",
}

#: dtype -> the one that long products are computed in.
WIDE = {
    "float32": "float64",
    "float64": "float64",
    "complex64": "complex128",
    "complex128": "complex128",
}


def strides(a: Array, axes: Sequence[int] | None = None) -> list[np.int64]:
    """Return the strides of some axes (all by default), in elements, as a kernel takes them.

    Raises
    ------
    ValueError
        Elements do not lie where a device can load one: views of another dtype may not.
    """
    reaches = [stride for size, stride in zip(a.shape, a.strides, strict=True) if size > 1]
    if a.size and any(place % a.itemsize for place in (a.data.ptr, *reaches)):
        raise ValueError(
            f"Arrays on the device must begin at a multiple of their {a.itemsize}-byte elements, "
            f"and have such strides; got one of shape {tuple(a.shape)}, {a.dtype}, "
            f"{a.data.ptr % a.itemsize} bytes off, with strides {tuple(a.strides)}. Copy what it "
            "is a view of."
        )
    chosen = a.strides if axes is None else [a.strides[axis] for axis in axes]
    return [np.int64(stride // a.itemsize) for stride in chosen]


def n_multiprocessors() -> int:
    """Return how many multiprocessors the current device has."""
    return _attribute(cupy.cuda.Device().id, "MultiProcessorCount")


def shared_memory() -> int:
    """Return the bytes of shared memory that a block on the current device may ask for."""
    return _attribute(cupy.cuda.Device().id, "MaxSharedMemoryPerBlockOptin")


@functools.cache
def _attribute(device: int, name: str) -> int:
    return int(cupy.cuda.Device(device).attributes[name])
