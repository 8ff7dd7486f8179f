# mypy: disable-error-code="no-untyped-call"
"""Noise on CPU threads: generated, used and forgotten in one pass."""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from seqsolve.random import NoiseStream
from seqsolve_numba.compilation import EXACT, Kernel, compile_kernel, readable, writable
from seqsolve_numba.intrinsics import local
from seqsolve_numba.noise_scalars import Arithmetic, make_block, make_normal, round_keys
from seqsolve_numba.specialization import NDArray
from seqsolve_numba.threads import over_sequences

#: Numbers that are generated together; they stay in the first-level cache.
_PIECE = 1024


def add_noise(z: NDArray, sigma: float, stream: NoiseStream, copies: range) -> NDArray:
    """Return ``z + sigma eps``, as `seqsolve.random` says."""
    _, n_data, n_units = z.shape
    out = np.empty((len(copies), n_data, n_units), z.dtype.newbyteorder("="))
    if out.size:
        kernel = _adding(out.dtype, stream.kind, stream.table is not None)
        keys, table = round_keys(stream.key), _table(stream)
        scale, step, origin = out.dtype.type(sigma), np.uint64(stream.step), _origin(stream, copies)
        z = np.broadcast_to(z.astype(out.dtype, copy=False), out.shape)
        over_sequences(
            lambda start, stop: kernel(
                z, scale, keys, step, origin, not stream.shared, table, out, start, stop
            ),
            len(copies) * n_data,
            out.size,
        )
    return out


def weigh_noise(weights: NDArray, stream: NoiseStream, copies: range, out: NDArray) -> None:
    """Add ``sum_k weights[k] eps[k]`` to `out`, as `seqsolve.random` says."""
    if out.size and len(copies):
        kernel = _weighing(out.dtype, stream.kind, stream.table is not None)
        keys, table = round_keys(stream.key), _table(stream)
        step, origin = np.uint64(stream.step), _origin(stream, copies)
        w = weights.astype(out.dtype, copy=False)
        over_sequences(
            lambda start, stop: kernel(
                w, keys, step, origin, not stream.shared, table, out, start, stop
            ),
            out.shape[0],
            out.size * len(copies),
        )


def _origin(stream: NoiseStream, copies: range) -> Any:
    return np.uint64(0 if stream.shared else copies.start)


def _table(stream: NoiseStream) -> NDArray:
    if stream.table is None:
        return np.zeros((1, 1, 1), _TABLE_DTYPES[stream.kind])
    table: NDArray = stream.table
    return table


_TABLE_DTYPES: dict[str, Any] = {"normal": np.uint32, "sign": np.uint8}


@functools.cache
def _adding(dtype: np.dtype[Any], kind: str, has_table: bool) -> Kernel:
    fill = _filling(kind, has_table)
    numbers = local(_PIECE)

    def kernel(
        z: Any,
        scale: Any,
        keys: Any,
        step: Any,
        origin: Any,
        differ: bool,
        table: Any,
        out: Any,
        start: int,
        stop: int,
    ) -> None:
        n_data, n_units = out.shape[1], out.shape[2]
        eps = numbers(_FLOAT32)
        for row in range(start, stop):
            k, n = row // n_data, row % n_data
            copy = origin + np.uint64(k) if differ else origin
            for first in range(0, n_units, _PIECE):
                length = min(_PIECE, n_units - first)
                fill(keys, step, copy, np.uint64(n), first, length, table, k, n, eps)
                for j in range(length):
                    out[k, n, first + j] = z[k, n, first + j] + scale * eps[j]

    number = numba.from_dtype(dtype)
    return compile_kernel(
        kernel,
        (readable(dtype, 3), number, *_stream_types(kind), writable(dtype, 3), _INT, _INT),
        f"{dtype} {kind} {has_table}",
        options=EXACT,
    )


@functools.cache
def _weighing(dtype: np.dtype[Any], kind: str, has_table: bool) -> Kernel:
    fill = _filling(kind, has_table)
    numbers = local(_PIECE)

    def kernel(
        w: Any,
        keys: Any,
        step: Any,
        origin: Any,
        differ: bool,
        table: Any,
        out: Any,
        start: int,
        stop: int,
    ) -> None:
        n_units = out.shape[1]
        eps, total = numbers(_FLOAT32), numbers(out)
        for n in range(start, stop):
            for first in range(0, n_units, _PIECE):
                length = min(_PIECE, n_units - first)
                for j in range(length):
                    total[j] = out[n, first + j]
                for k in range(w.shape[0]):
                    copy = origin + np.uint64(k) if differ else origin
                    fill(keys, step, copy, np.uint64(n), first, length, table, k, n, eps)
                    weight = w[k, n]
                    for j in range(length):
                        total[j] += weight * eps[j]
                for j in range(length):
                    out[n, first + j] = total[j]

    return compile_kernel(
        kernel,
        (readable(dtype, 2), *_stream_types(kind), writable(dtype, 2), _INT, _INT),
        f"{dtype} {kind} {has_table}",
        options=EXACT,
    )


def _stream_types(kind: str) -> tuple[types.Type, ...]:
    """Return the types of keys, step, first copy, whether copies differ, and table."""
    table = readable(_TABLE_DTYPES[kind], 3)
    return readable(np.uint64, 2), types.uint64, types.uint64, types.boolean, table


@functools.cache
def _filling(kind: str, has_table: bool) -> Any:
    """Return the compiled function that generates a piece of one copy's numbers."""
    make = {"normal": _filling_normal, "sign": _filling_signs}[kind]
    return _compiler(make(has_table))


def _filling_normal(has_table: bool) -> Any:
    block, normal, words = make_block(_CPU), make_normal(_CPU), local(_PIECE // 2)

    def fill(
        keys: Any,
        step: Any,
        copy: Any,
        datum: Any,
        first: int,
        length: int,
        table: Any,
        k: int,
        n: int,
        eps: Any,
    ) -> None:
        pairs = words(keys)
        for b in range((length + 7) // 8):
            block(np.uint64(first // 8 + b), copy, datum, step, keys, pairs, 4 * b)
        row = min(n, table.shape[1] - 1)
        for i in range((length + 1) // 2):
            eps[2 * i] = _as_float(np.uint32(pairs[i]))
            eps[2 * i + 1] = _as_float(np.uint32(pairs[i] >> _HALF_WORD))
        for j in range(length):
            word = _as_bits(eps[j])
            if has_table:
                word ^= np.int32(table[k, row, first + j])
            eps[j] = normal(word)

    return fill


def _filling_signs(has_table: bool) -> Any:
    block, words = make_block(_CPU), local(_PIECE // 64)

    def fill(
        keys: Any,
        step: Any,
        copy: Any,
        datum: Any,
        first: int,
        length: int,
        table: Any,
        k: int,
        n: int,
        eps: Any,
    ) -> None:
        bits = words(keys)
        for b in range((length + 255) // 256):
            block(np.uint64(first // 256 + b), copy, datum, step, keys, bits, 4 * b)
        row = min(n, table.shape[1] - 1)
        for i in range((length + 63) // 64):
            word = bits[i]
            for j in range(64 * i, min(64 * i + 64, length)):
                bit = np.int32(word >> np.uint64(j - 64 * i)) & _ONE
                if has_table:
                    bit ^= np.int32(table[k, row, first + j])
                eps[j] = np.float32(np.int32(bit + bit - _ONE))

    return fill


def _compiler(function: Any) -> Any:
    return numba.njit(**EXACT)(function)


@intrinsic
def _wide(typing_context: Any, a: Any, b: Any) -> Any:
    """Return high and low word of a product of 64-bit words, by one of 128 bits."""
    pair = types.UniTuple(types.uint64, 2)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        double, single = ir.IntType(128), ir.IntType(64)
        x, y = (builder.zext(argument, double) for argument in arguments)
        product = builder.mul(x, y)
        high = builder.trunc(builder.lshr(product, double(64)), single)
        return context.make_tuple(builder, pair, (high, builder.trunc(product, single)))

    return pair(types.uint64, types.uint64), generate


@intrinsic
def _bits_as_float(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


@intrinsic
def _float_as_bits(typing_context: Any, number: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


def _multiply(a: Any, b: Any) -> Any:
    return a * b


def _add(a: Any, b: Any) -> Any:
    return a + b


_CPU = Arithmetic(_compiler, _compiler(_multiply), _compiler(_add), _wide)
_as_float: Any = _bits_as_float
_as_bits: Any = _float_as_bits
_FLOAT32 = np.zeros(1, np.float32)
_HALF_WORD, _ONE, _INT = np.uint64(32), np.int32(1), types.intp
