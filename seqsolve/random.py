"""Counter-based random numbers: the same bits on every backend, regenerated instead of stored.

The generator is Philox4x64 with ten rounds. Its counter is made of what the
number is for, so any part of the noise can be generated at any time, in any
order, on any machine. All that follows the integers is arithmetic that IEEE 754
rounds in one way only, in one order, so normal numbers have the same bits too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from seqsolve.backend import Array

__all__ = [
    "LOG_COEFFICIENTS",
    "NORMAL_DENOMINATOR",
    "NORMAL_NUMERATOR",
    "PHILOX_MULTIPLIERS",
    "PHILOX_ROUNDS",
    "PHILOX_WEYL",
    "NoiseKernels",
    "NoiseStream",
    "add_noise",
    "normal_from_words",
    "philox4x64",
    "weigh_noise",
]

#: Constants of the generator (Salmon et al., 2011).
PHILOX_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
PHILOX_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
PHILOX_ROUNDS = 10

#: ``log(m) = s (c0 + c1 s**2 + ...)`` with ``s = (m - 1) / (m + 1)``: the series of atanh.
LOG_COEFFICIENTS = (2.0, 2.0 / 3.0, 2.0 / 5.0, 2.0 / 7.0)

#: ``P`` in ``t - P(t) / Q(t)``, the quantile whose tail is ``exp(-t**2 / 2)``.
NORMAL_NUMERATOR = (3.220579284046531, 9.327121738898636, 2.6316877270029986, 0.09690829074375473)
#: ``Q`` there. Fitted for the smallest largest error: 2.4e-8 for tails from 2**-33 to 1/2.
NORMAL_DENOMINATOR = (
    1.0,
    5.630493872224596,
    4.656175722419199,
    0.7234251917742274,
    0.015775644341758682,
)

_WORD = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_LOG_2 = 0.6931471805599453
_SQRT_HALF = np.int32(0x3F3504F3)  # the bits of sqrt(1/2)
_TAIL_EXPONENT = np.int32(32)
_UNITS_PER_BLOCK = {"normal": 8, "sign": 256}
#: Blocks of the generator that the portable version computes at once: they stay in cache.
_BLOCKS_AT_ONCE = 2**13


class NoiseStream(NamedTuple):
    """Which random numbers: one layer's, at one step.

    Parameters
    ----------
    key : tuple of int
        The key of the generator, two words of 64 bits.
    step : int
        The last word of the counter; the others are the block of units, the
        copy and the datum.
    kind : str
        ``"normal"``: 32 bits make a number of the normal distribution; unit
        ``8 b + 2 w`` has the low half of word ``w`` of block ``b``, unit
        ``8 b + 2 w + 1`` the high half. ``"sign"``: one bit makes -1 (0) or
        1 (1); unit ``256 b + 64 w + i`` has bit ``i`` of word ``w``.
    shared : bool
        All copies have the bits of copy 0.
    table : array or None
        XORed to the bits: uint32 for ``"normal"``, uint8, 0 or 1, for
        ``"sign"``; shape ``(n_copies, 1 or n_data, n_units)``, for the copies
        of one call.
    """

    key: tuple[int, int]
    step: int
    kind: str
    shared: bool
    table: Array | None


@runtime_checkable
class NoiseKernels(Protocol):
    """What a backend offers besides, if it has its own kernels for noise.

    Optional: without these methods, the portable functions of this module
    are used. Results must have the same bits as theirs: products and sums are
    rounded one by one, never fused, and sums over copies are taken in order.
    """

    def add_noise(self, z: Array, sigma: float, stream: NoiseStream, copies: range) -> Array:
        """Return ``z + sigma * eps`` for the copies named; see :func:`add_noise`."""
        ...

    def weigh_noise(self, weights: Array, stream: NoiseStream, copies: range, out: Array) -> None:
        """Add ``sum_k weights[k] * eps[k]`` to `out`; see :func:`weigh_noise`."""
        ...


def philox4x64(
    counter: tuple[Array, Array, Array, Array], key: tuple[int, int]
) -> tuple[Array, Array, Array, Array]:
    """Return the four random words that belong to each counter.

    Parameters
    ----------
    counter : tuple of four arrays of uint64
        Broadcast against each other; none without axes.
    key : tuple of two int
        Words of 64 bits.

    Returns
    -------
    tuple of four arrays of uint64
        The bits that ``numpy.random.Philox`` has at that counter and key.

    References
    ----------
    .. [1] J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, "Parallel
       random numbers: as easy as 1, 2, 3", SC11, 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.random import philox4x64
    >>> counter = tuple(np.array([c], np.uint64) for c in (5, 0, 0, 0))
    >>> words = philox4x64(counter, (7, 0))
    >>> reference = np.random.Philox(key=7, counter=4)  # it counts before it generates
    >>> [int(w[0]) for w in words] == [int(w) for w in reference.random_raw(4)]
    True
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(PHILOX_ROUNDS):
        high0, low0 = _multiply(c0, PHILOX_MULTIPLIERS[0])
        high1, low1 = _multiply(c2, PHILOX_MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ np.uint64(k0), low1, high0 ^ c3 ^ np.uint64(k1), low0
        k0, k1 = (k0 + PHILOX_WEYL[0]) % 2**64, (k1 + PHILOX_WEYL[1]) % 2**64
    return c0, c1, c2, c3


def normal_from_words(words: Array) -> Array:
    """Return the normal quantile of ``(word + 1/2) / 2**32``, the same bits everywhere.

    Parameters
    ----------
    words : array of uint32
        Any shape, but at least one axis.

    Returns
    -------
    array of float32
        Between -6.4 and 6.4; the error is below 1e-6.

    Notes
    -----
    With ``q`` the smaller tail and ``t = sqrt(-2 log q)``, the quantile is
    ``t`` less a rational function of ``t``. The logarithm comes from the
    exponent and a series for the mantissa. Only additions, multiplications,
    divisions and a square root of float32 are used, each rounded once.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.random import normal_from_words
    >>> x = normal_from_words(np.array([0, 2**30, 3 * 2**30], np.uint32))
    >>> [round(float(a), 4) for a in x]
    [-6.338, -0.6745, 0.6745]
    """
    signed = words.view(np.int32)
    flipped = signed ^ (signed >> 31)
    scaled = (flipped.astype(np.float32) + np.float32(0.5)).view(np.int32)
    exponent = (scaled - _SQRT_HALF) >> 23
    m = (scaled - (exponent << 23)).view(np.float32)
    s = (m - np.float32(1)) / (m + np.float32(1))
    log = s * _polynomial(s * s, LOG_COEFFICIENTS)
    below = (_TAIL_EXPONENT - exponent).astype(np.float32)  # q = 2**-below * m
    t = np.sqrt(np.float32(2 * _LOG_2) * below - (log + log))
    x = t - _polynomial(t, NORMAL_NUMERATOR) / _polynomial(t, NORMAL_DENOMINATOR)
    upper = (~signed) & np.int32(-(2**31))
    return (x.view(np.int32) ^ upper).view(np.float32)


def add_noise(xp: Any, z: Array, sigma: float, stream: NoiseStream, copies: range) -> Array:
    """Return ``z + sigma * eps``.

    Parameters
    ----------
    xp : namespace
        Array functions named and behaving as NumPy's.
    z : array, shape (1 or len(copies), n_data, n_units)
        Float32 or float64.
    sigma : float
        Scale, of either sign.
    stream : NoiseStream
        Which numbers.
    copies : range
        Which copies.

    Returns
    -------
    array, shape (len(copies), n_data, n_units)
        Of the dtype of `z`: the product is rounded to it, then the sum.
    """
    _, n_data, n_units = z.shape
    out = xp.empty((len(copies), n_data, n_units), dtype=z.dtype)
    scale = np.dtype(str(z.dtype)).type(sigma)
    for rows, data, units, eps in _pieces(xp, stream, copies, n_data, n_units):
        own = rows if z.shape[0] > 1 else slice(None)
        out[rows, data, units] = z[own, data, units] + scale * eps.astype(z.dtype)
    return out


def weigh_noise(xp: Any, weights: Array, stream: NoiseStream, copies: range, out: Array) -> None:
    """Add ``sum_k weights[k] * eps[k]`` to `out`, copy after copy.

    Parameters
    ----------
    xp : namespace
        Array functions named and behaving as NumPy's.
    weights : array, shape (len(copies), n_data)
        Of the dtype of `out`.
    stream : NoiseStream
        Which numbers.
    copies : range
        Which copies.
    out : array, shape (n_data, n_units)
        Float32 or float64. Products are rounded to its dtype, and so is every
        sum: no result depends on how the copies are divided between calls.
    """
    n_data, n_units = out.shape
    for rows, data, units, eps in _pieces(xp, stream, copies, n_data, n_units):
        total = out[data, units]
        scaled = weights[rows, data][..., None] * eps.astype(out.dtype)
        for one in scaled:
            total = total + one
        out[data, units] = total


def _pieces(
    xp: Any, stream: NoiseStream, copies: range, n_data: int, n_units: int
) -> Iterator[tuple[slice, slice, slice, Array]]:
    """Yield slices of copies, data and units, in order, and their noise, of float32."""
    per_block = _UNITS_PER_BLOCK[stream.kind]
    n_blocks = -(-n_units // per_block)
    width = min(n_blocks, _BLOCKS_AT_ONCE)
    depth = max(1, min(n_data, _BLOCKS_AT_ONCE // max(1, width)))
    height = max(1, _BLOCKS_AT_ONCE // max(1, width * depth))
    for block in range(0, n_blocks, width):
        blocks = range(block, min(block + width, n_blocks))
        units = slice(block * per_block, min(blocks.stop * per_block, n_units))
        for datum in range(0, n_data, depth):
            data = slice(datum, min(datum + depth, n_data))
            for row in range(0, len(copies), height):
                rows = slice(row, min(row + height, len(copies)))
                words = _words(xp, stream, copies[rows], data, blocks)
                table = stream.table
                if table is not None:
                    table = table[rows, data if table.shape[1] > 1 else slice(None), units]
                eps = _FROM_WORDS[stream.kind](xp, words, units.stop - units.start, table)
                yield rows, data, units, eps


def _words(xp: Any, stream: NoiseStream, copies: range, data: slice, blocks: range) -> Array:
    """Return words of 32 bits, shape (copies, data, 8 * blocks)."""
    copy = range(1) if stream.shared else copies
    counter = (
        xp.arange(blocks.start, blocks.stop, dtype=np.uint64)[None, None, :],
        xp.arange(copy.start, copy.stop, dtype=np.uint64)[:, None, None],
        xp.arange(data.start, data.stop, dtype=np.uint64)[None, :, None],
        xp.full((1, 1, 1), stream.step, dtype=np.uint64),
    )
    words = xp.stack(philox4x64(counter, stream.key), axis=-1)
    halves = words.view(np.uint32)  # the low half comes first: no supported machine is big-endian
    halves = halves.reshape(words.shape[0], words.shape[1], 8 * len(blocks))
    return xp.broadcast_to(halves, (len(copies), *halves.shape[1:]))


def _normal(xp: Any, words: Array, n_units: int, table: Array | None) -> Array:
    words = xp.ascontiguousarray(words[..., :n_units])
    return normal_from_words(words if table is None else words ^ table)


def _signs(xp: Any, words: Array, n_units: int, table: Array | None) -> Array:
    bits = (words[..., None] >> xp.arange(32, dtype=np.uint32)) & np.uint32(1)
    bits = bits.reshape(*words.shape[:2], -1)[..., :n_units].astype(np.int8)
    if table is not None:
        bits = bits ^ table.astype(np.int8)
    return (bits + bits - np.int8(1)).astype(np.float32)


_FROM_WORDS = {"normal": _normal, "sign": _signs}


def _multiply(a: Array, constant: int) -> tuple[Array, Array]:
    """Return the high and the low word of a product of two words of 64 bits."""
    c_high, c_low = np.uint64(constant >> 32), np.uint64(constant & 0xFFFFFFFF)
    high, low = a >> _HALF, a & _WORD
    middle = high * c_low + (low * c_low >> _HALF)
    other = low * c_high + (middle & _WORD)
    return high * c_high + (middle >> _HALF) + (other >> _HALF), a * np.uint64(constant)


def _polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    total = np.float32(coefficients[-1]) * x
    for c in coefficients[-2:0:-1]:
        total = (total + np.float32(c)) * x
    return total + np.float32(coefficients[0])
