# mypy: disable-error-code="no-untyped-call, attr-defined"
"""Noise as CUDA kernels: generated, used and forgotten in one pass."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import cuda, types

from seqsolve.random import NoiseStream
from seqsolve_numba.gpu import launch
from seqsolve_numba.noise_scalars import (
    Arithmetic,
    make_block,
    make_normal,
    round_keys,
    wide_in_parts,
)

#: Threads of a block. Each generates eight normal numbers at a time.
THREADS = 128

#: Blocks of one launch; they go on to further rows.
_MAX_BLOCKS = 2**16

_HALF_WORD, _ONE = np.uint64(32), np.int32(1)
_PER_BLOCK = {"normal": 8, "sign": 256}
_TABLE_DTYPES: dict[str, Any] = {"normal": np.dtype(np.uint32), "sign": np.dtype(np.uint8)}


def add_noise(
    xp: Any,
    z: Any,
    sigma: float,
    stream: NoiseStream,
    copies: range,
    out: Any,
    *,
    threads: int = THREADS,
) -> None:
    """Set `out` to ``z + sigma eps``, as `seqsolve.random` says.

    Parameters
    ----------
    xp : namespace
        Of the arrays.
    z : device array, shape (1 or len(copies), n_data, n_units)
        Float32 or float64.
    sigma : float
        Scale.
    stream : NoiseStream
        Its table, if there is one, is on the device.
    copies : range
        Which copies.
    out : device array, shape (len(copies), n_data, n_units)
        Of the dtype of `z`.
    threads : int
        Threads of a block. Results do not depend on it.
    """
    n_copies, n_data, n_units = out.shape
    n_pieces = n_copies * n_data * -(-n_units // _piece(stream.kind, threads))
    if n_pieces:
        kernel = _compiled(adding, np.dtype(out.dtype), stream.kind, _has(stream), threads)
        launch.run(
            kernel,
            min(n_pieces, _MAX_BLOCKS),
            threads,
            *(z, np.dtype(out.dtype).type(sigma), *_arguments(xp, stream, copies), out),
        )


def weigh_noise(
    xp: Any,
    weights: Any,
    stream: NoiseStream,
    copies: range,
    out: Any,
    *,
    threads: int = THREADS,
) -> None:
    """Add ``sum_k weights[k] eps[k]`` to `out`, as `seqsolve.random` says.

    Parameters
    ----------
    xp : namespace
        Of the arrays.
    weights : device array, shape (len(copies), n_data)
        Of the dtype of `out`.
    stream : NoiseStream
        Its table, if there is one, is on the device.
    copies : range
        Which copies.
    out : device array, shape (n_data, n_units)
        Float32 or float64.
    threads : int
        Threads of a block. Results do not depend on it.
    """
    n_data, n_units = out.shape
    n_pieces = n_data * -(-n_units // _piece(stream.kind, threads))
    if n_pieces and len(copies):
        kernel = _compiled(weighing, np.dtype(out.dtype), stream.kind, _has(stream), threads)
        launch.run(
            kernel,
            min(n_pieces, _MAX_BLOCKS),
            threads,
            *(weights, *_arguments(xp, stream, copies), out),
        )


def signatures(dtype: Any, kind: str) -> dict[str, tuple[types.Type, ...]]:
    """Return the types of the arguments of both kernels, to compile them beforehand."""
    number = numba.from_dtype(np.dtype(dtype))
    table = types.Array(numba.from_dtype(_TABLE_DTYPES[kind]), 3, "C")
    keys = types.Array(types.uint64, 2, "C")
    stream = (keys, types.uint64, types.uint64, types.boolean, table)
    return {
        "adding": (number[:, :, ::1], number, *stream, number[:, :, ::1]),
        "weighing": (number[:, ::1], *stream, number[:, ::1]),
    }


def adding(dtype: np.dtype[Any], kind: str, has_table: bool, threads: int) -> Callable[..., None]:
    """Return the kernel of `add_noise`, not compiled."""
    multiply, add = _arithmetic(dtype)
    fill, number, n_words = _generating(kind, has_table, threads)
    piece = _piece(kind, threads)

    def kernel(
        z: Any,
        scale: Any,
        keys: Any,
        step: Any,
        origin: Any,
        differ: bool,
        table: Any,
        out: Any,
    ) -> None:
        words = cuda.shared.array(n_words, types.uint64)
        thread = cuda.threadIdx.x
        n_copies, n_data, n_units = out.shape
        per_row = (n_units + piece - 1) // piece
        for index in range(cuda.blockIdx.x, n_copies * n_data * per_row, cuda.gridDim.x):
            row, first = index // per_row, index % per_row * piece
            k, n = row // n_data, row % n_data
            own = k if z.shape[0] > 1 else 0
            copy = np.uint64(origin + np.uint64(k)) if differ else origin
            length = min(piece, n_units - first)
            fill(keys, step, copy, np.uint64(n), first, length, thread, words)
            cuda.syncthreads()
            for j in range(thread, length, threads):
                eps = number(words, j, table, k, n, first)
                out[k, n, first + j] = add(z[own, n, first + j], multiply(scale, eps))
            cuda.syncthreads()

    return kernel


def weighing(dtype: np.dtype[Any], kind: str, has_table: bool, threads: int) -> Callable[..., None]:
    """Return the kernel of `weigh_noise`, not compiled."""
    multiply, add = _arithmetic(dtype)
    fill, number, n_words = _generating(kind, has_table, threads)
    piece, real = _piece(kind, threads), numba.from_dtype(dtype)
    n_own = -(-piece // threads)

    def kernel(
        w: Any, keys: Any, step: Any, origin: Any, differ: bool, table: Any, out: Any
    ) -> None:
        words = cuda.shared.array(n_words, types.uint64)
        totals = cuda.local.array(n_own, real)
        thread = cuda.threadIdx.x
        n_data, n_units = out.shape
        per_row = (n_units + piece - 1) // piece
        for index in range(cuda.blockIdx.x, n_data * per_row, cuda.gridDim.x):
            n, first = index // per_row, index % per_row * piece
            length = min(piece, n_units - first)
            for j in range(thread, length, threads):
                totals[j // threads] = out[n, first + j]
            for k in range(w.shape[0]):
                copy = np.uint64(origin + np.uint64(k)) if differ else origin
                fill(keys, step, copy, np.uint64(n), first, length, thread, words)
                cuda.syncthreads()
                for j in range(thread, length, threads):
                    eps = number(words, j, table, k, n, first)
                    totals[j // threads] = add(totals[j // threads], multiply(w[k, n], eps))
                cuda.syncthreads()
            for j in range(thread, length, threads):
                out[n, first + j] = totals[j // threads]

    return kernel


def _piece(kind: str, threads: int) -> int:
    """Return how many numbers a block of threads generates at a time: whole blocks of bits."""
    return -(-8 * threads // _PER_BLOCK[kind]) * _PER_BLOCK[kind]


def _generating(kind: str, has_table: bool, threads: int) -> tuple[Any, Any, int]:
    """Return what fills the words of a piece, what makes numbers of them, and how many they are."""
    per_block = _PER_BLOCK[kind]
    block = make_block(_device())

    def fill(
        keys: Any,
        step: Any,
        copy: Any,
        datum: Any,
        first: int,
        length: int,
        thread: int,
        words: Any,
    ) -> None:
        for b in range(thread, (length + per_block - 1) // per_block, threads):
            block(np.uint64(first // per_block + b), copy, datum, step, keys, words, 4 * b)

    number = _normal_number(has_table) if kind == "normal" else _sign(has_table)
    return _compiler(fill), _compiler(number), 4 * _piece(kind, threads) // per_block


def _normal_number(has_table: bool) -> Any:
    normal = make_normal(_device())

    def number(words: Any, j: int, table: Any, k: int, n: int, first: int) -> Any:
        word = np.uint32((words[j // 2] >> np.uint64(j % 2 * 32)) & np.uint64(0xFFFFFFFF))
        if has_table:
            word = np.uint32(word ^ table[k, min(n, table.shape[1] - 1), first + j])
        return normal(np.uint32(word).view(np.int32))

    return number


def _sign(has_table: bool) -> Any:
    def number(words: Any, j: int, table: Any, k: int, n: int, first: int) -> Any:
        bit = np.int32((words[j // 64] >> np.uint64(j % 64)) & np.uint64(1))
        if has_table:
            bit = np.int32(bit ^ table[k, min(n, table.shape[1] - 1), first + j])
        return np.float32(bit + bit - _ONE)

    return number


@functools.cache
def _compiled(make: Callable[..., Any], *variant: Any) -> Any:
    """Return a kernel that is compiled once for each variant and each kind of arrays."""
    return launch.kernel(make(*variant))


def _has(stream: NoiseStream) -> bool:
    return stream.table is not None


def _arguments(xp: Any, stream: NoiseStream, copies: range) -> tuple[Any, ...]:
    origin = np.uint64(0 if stream.shared else copies.start)
    keys, table = xp.asarray(round_keys(stream.key)), stream.table
    if table is None:
        table = xp.zeros((1, 1, 1), dtype=_TABLE_DTYPES[stream.kind])
    return keys, np.uint64(stream.step), origin, not stream.shared, table


def _compiler(function: Any) -> Any:
    return cuda.jit(device=True)(function)


@functools.cache
def _device() -> Arithmetic:
    multiply, add = _arithmetic(np.dtype(np.float32))
    return Arithmetic(_compiler, multiply, add, _compiler(wide_in_parts))


@functools.cache
def _arithmetic(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Return product and sum that are rounded one by one, whatever the compiler fuses."""
    if numba.config.ENABLE_CUDASIM:
        return _compiler(_multiply), _compiler(_add)
    if dtype.itemsize == 4:
        return cuda.libdevice.fmul_rn, cuda.libdevice.fadd_rn
    return cuda.libdevice.dmul_rn, cuda.libdevice.dadd_rn


def _multiply(a: Any, b: Any) -> Any:
    return a * b


def _add(a: Any, b: Any) -> Any:
    return a + b
