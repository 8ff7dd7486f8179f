"""Random numbers one by one, in plain Python that compiles for CPUs and for CUDA.

The operations are those of `seqsolve.random`, in its order. What a compiler
could fuse or what differs between processors is handed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seqsolve.random import (
    LOG_COEFFICIENTS,
    NORMAL_DENOMINATOR,
    NORMAL_NUMERATOR,
    PHILOX_MULTIPLIERS,
    PHILOX_ROUNDS,
    PHILOX_WEYL,
)

#: Compiles a function of numbers, to be called from other compiled functions.
Compiler = Callable[[Callable[..., Any]], Any]

_ROUNDS = PHILOX_ROUNDS
_M0, _M1 = (np.uint64(m) for m in PHILOX_MULTIPLIERS)
_MASK, _SHIFT = np.uint64(2**32 - 1), np.uint64(32)
_L0, _L1, _L2, _L3 = (np.float32(c) for c in LOG_COEFFICIENTS)
_P0, _P1, _P2, _P3 = (np.float32(c) for c in NORMAL_NUMERATOR)
_Q0, _Q1, _Q2, _Q3, _Q4 = (np.float32(c) for c in NORMAL_DENOMINATOR)
_ONE, _MINUS_ONE, _HALF = np.float32(1), np.float32(-1), np.float32(0.5)
_TWO_LOG_2 = np.float32(2 * 0.6931471805599453)
_SQRT_HALF, _TAIL_EXPONENT = np.int32(0x3F3504F3), np.int32(32)
_SIGN, _ALL_BITS, _MANTISSA = np.int32(-(2**31)), np.int32(31), np.int32(23)


class Arithmetic(NamedTuple):
    """What differs between processors.

    Parameters
    ----------
    compiler : callable
        Compiles what calls the others.
    multiply, add : callable
        Of two float32 numbers, rounded; never fused.
    wide : callable
        High and low word of the product of two words of 64 bits.
    """

    compiler: Compiler
    multiply: Any
    add: Any
    wide: Any


def wide_in_parts(a: Any, b: Any) -> Any:
    """Return high and low word of a product; nothing overflows."""
    a_high, a_low, b_high, b_low = a >> _SHIFT, a & _MASK, b >> _SHIFT, b & _MASK
    product = a_low * b_low
    middle = a_high * b_low + (product >> _SHIFT)
    other = a_low * b_high + (middle & _MASK)
    high = a_high * b_high + (middle >> _SHIFT) + (other >> _SHIFT)
    return high, (other << _SHIFT) | (product & _MASK)


def round_keys(key: tuple[int, int]) -> npt.NDArray[np.uint64]:
    """Return the keys of all rounds, shape ``(rounds, 2)``."""
    pairs = list(zip(key, PHILOX_WEYL, strict=True))
    keys = [[(k + r * w) % 2**64 for k, w in pairs] for r in range(_ROUNDS)]
    return np.array(keys, np.uint64)


def make_block(arithmetic: Arithmetic) -> Any:
    """Return the compiled function that sets ``words[place:place + 4]`` to a counter's block."""
    wide = arithmetic.wide

    def block(c0: Any, c1: Any, c2: Any, c3: Any, keys: Any, words: Any, place: int) -> None:
        for i in range(_ROUNDS):
            high0, low0 = wide(c0, _M0)
            high1, low1 = wide(c2, _M1)
            c0, c1, c2, c3 = high1 ^ c1 ^ keys[i, 0], low1, high0 ^ c3 ^ keys[i, 1], low0
        words[place], words[place + 1], words[place + 2], words[place + 3] = c0, c1, c2, c3

    return arithmetic.compiler(block)


def make_normal(arithmetic: Arithmetic) -> Any:
    """Return the compiled function from 32 bits, an int32, to a normal number, a float32."""
    mul, add = arithmetic.multiply, arithmetic.add

    def normal(word: Any) -> Any:
        flipped = np.int32(word ^ (word >> _ALL_BITS))
        scaled = np.float32(add(np.float32(flipped), _HALF)).view(np.int32)
        exponent = np.int32((scaled - _SQRT_HALF) >> _MANTISSA)
        m = np.int32(scaled - (exponent << _MANTISSA)).view(np.float32)
        s = add(m, _MINUS_ONE) / add(m, _ONE)
        ss = mul(s, s)
        log = mul(s, add(mul(add(mul(add(mul(_L3, ss), _L2), ss), _L1), ss), _L0))
        below = np.float32(np.int32(_TAIL_EXPONENT - exponent))
        t = np.float32(math.sqrt(add(mul(_TWO_LOG_2, below), -add(log, log))))
        p = add(mul(add(mul(add(mul(_P3, t), _P2), t), _P1), t), _P0)
        q = add(mul(add(mul(add(mul(add(mul(_Q4, t), _Q3), t), _Q2), t), _Q1), t), _Q0)
        x = np.float32(add(t, -(p / q))).view(np.int32)
        return np.int32(x ^ (~word & _SIGN)).view(np.float32)

    return arithmetic.compiler(normal)
