"""Noise on the device: generated, used and forgotten in one pass."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from seqsolve.backend import Array
from seqsolve.random import NoiseStream
from seqsolve_cupy import layout
from seqsolve_cupy.compilation import kernel

__all__ = ["add_noise", "weigh_noise"]

_THREADS = 256

#: The C++ type of each kind, and how many units have a block of the generator.
_KINDS = {"normal": ("seqsolve::Normal", 8), "sign": ("seqsolve::Sign", 256)}

#: Blocks that keep a multiprocessor busy.
_BLOCKS_PER_MULTIPROCESSOR = 8

#: CUDA's limit on the second axis of a grid.
_MOST_ROWS = 65535


def add_noise(z: Array, sigma: float, stream: NoiseStream, copies: range) -> Array:
    """Return ``z + sigma eps``, with the bits of `seqsolve.random.add_noise`.

    Parameters
    ----------
    z : cupy.ndarray, shape (1 or len(copies), n_data, n_units)
        Float32 or float64. Any strides.
    sigma : float
        Scale.
    stream : NoiseStream
        Its table, if there is one, is on the device.
    copies : range
        Which copies.

    Returns
    -------
    cupy.ndarray, shape (len(copies), n_data, n_units)
        Of the dtype of `z`.
    """
    _, n_data, n_units = z.shape
    out = cupy.empty((len(copies), n_data, n_units), dtype=z.dtype)
    if out.size:
        _, group = _KINDS[stream.kind]
        columns = _n_blocks(stream, n_data, n_units)
        busy = layout.n_multiprocessors() * _BLOCKS_PER_MULTIPROCESSOR
        rows = min(-(-busy // columns), -(-len(copies) // group), _MOST_ROWS)
        share = -(-len(copies) // (rows * group)) * group
        strides = layout.strides(z)
        if z.shape[0] == 1:
            strides[0] = np.int64(0)
        _kernel("add_noise", z.dtype, stream)(
            (columns, -(-len(copies) // share)),
            (_THREADS,),
            (
                *_arguments(stream, copies, n_data, n_units),
                *(z, *strides, z.dtype.type(sigma), np.int64(share), out),
            ),
        )
    return out


def weigh_noise(weights: Array, stream: NoiseStream, copies: range, out: Array) -> None:
    """Add ``sum_k weights[k] eps[k]`` to `out`, with the bits of `seqsolve.random.weigh_noise`.

    Parameters
    ----------
    weights : cupy.ndarray, shape (len(copies), n_data)
        Of the dtype of `out`. Any strides.
    stream : NoiseStream
        Its table, if there is one, is on the device.
    copies : range
        Which copies.
    out : cupy.ndarray, shape (n_data, n_units)
        Float32 or float64. Any strides.
    """
    n_data, n_units = out.shape
    if out.size and len(copies):
        _kernel("weigh_noise", out.dtype, stream)(
            (_n_blocks(stream, n_data, n_units),),
            (_THREADS,),
            (
                *_arguments(stream, copies, n_data, n_units),
                *(weights, *layout.strides(weights), out, *layout.strides(out)),
            ),
        )


def _kernel(name: str, dtype: Any, stream: NoiseStream) -> Any:
    kind, _ = _KINDS[stream.kind]
    has_table = str(stream.table is not None).lower()
    scalar = layout.SCALARS[dtype.name]
    return kernel("noise", f"seqsolve::{name}<{scalar}, {kind}, {has_table}, {_THREADS}>")


def _n_blocks(stream: NoiseStream, n_data: int, n_units: int) -> int:
    _, group = _KINDS[stream.kind]
    return -(-n_data * -(-n_units // group) * group // _THREADS)


def _arguments(stream: NoiseStream, copies: range, n_data: int, n_units: int) -> list[Any]:
    """Return what both kernels begin with: the stream, its table, and the sizes."""
    first = 0 if stream.shared else copies.start
    table = stream.table
    strides = [np.int64(0)] * 3
    if table is not None:
        strides = layout.strides(table)
        if table.shape[1] == 1:
            strides[1] = np.int64(0)
    return [
        *map(np.uint64, (*stream.key, stream.step, first)),
        np.int32(not stream.shared),
        *(table, *strides),
        *map(np.int64, (len(copies), n_data, n_units)),
    ]
