"""Structure over the copies: quasi-random points and orthogonal columns, as bits to be XORed."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from seqsolve.random import philox4x64

#: Dimensions for which SciPy has direction numbers.
MAX_SOBOL = 21201


def sobol_words(copies: range, columns: range) -> npt.NDArray[np.uint32]:
    """Return points of Sobol's sequence, in the order of the Gray code.

    Parameters
    ----------
    copies : range
        Which points.
    columns : range
        Which dimensions.

    Returns
    -------
    array of uint32, shape (len(copies), len(columns))
        Fractions of ``2**32``.
    """
    if columns.stop > MAX_SOBOL:
        raise ValueError(
            f"`kind` 'sobol' has {MAX_SOBOL} dimensions; the noise that is drawn together "
            f"has {columns.stop}. Take 'orthogonal' or 'gaussian'."
        )
    n_bits = max(1, (copies.stop - 1).bit_length())
    directions = _directions(1 << (columns.stop - 1).bit_length(), n_bits)
    k = np.arange(copies.start, copies.stop, dtype=np.uint32)
    gray = k ^ (k >> 1)
    words = np.zeros((len(copies), len(columns)), np.uint32)
    for bit in range(n_bits):
        chosen = (gray >> bit & 1).astype(bool)
        words[chosen] ^= directions[bit, columns.start : columns.stop]
    return words


def orthogonal_bits(seed: tuple[int, int], copies: range, columns: range) -> npt.NDArray[np.uint8]:
    """Return a Hadamard matrix whose rows have random signs.

    Element ``(k, j)`` is the parity of ``k & j``: over any aligned block of
    ``2**m`` rows, columns below ``2**m`` are orthogonal, and they stay so when
    rows change their signs.

    Parameters
    ----------
    seed : tuple of int
        Key of the rows' signs.
    copies : range
        Which rows.
    columns : range
        Which columns.

    Returns
    -------
    array of uint8, shape (len(copies), len(columns))
        0 or 1.
    """
    k = np.arange(copies.start, copies.stop, dtype=np.uint64)
    zero = np.zeros(1, np.uint64)
    signs = philox4x64((k, zero, zero, zero), seed)[0] & np.uint64(1)
    both = k[:, None] & np.arange(columns.start, columns.stop, dtype=np.uint64)
    for shift in (32, 16, 8, 4, 2, 1):
        both ^= both >> np.uint64(shift)
    bits: npt.NDArray[np.uint8] = ((both & np.uint64(1)) ^ signs[:, None]).astype(np.uint8)
    return bits


@functools.lru_cache(maxsize=64)
def sobol_shrinkage(copies: int) -> float:
    """Return the variance of the mean of `copies` quasi-random normal numbers.

    The numbers are the quantiles of ``(i + u) / copies`` with one uniform
    ``u``. Subtracting the copies' mean takes that share of the estimate away.
    """
    from scipy.special import ndtri

    u = (np.arange(1024) + 0.5) / 1024
    mean = sum(ndtri((i + u) / copies) for i in range(copies)) / copies
    return float(np.mean(mean**2))


@functools.lru_cache(maxsize=8)
def _directions(n_dimensions: int, n_bits: int) -> npt.NDArray[np.uint32]:
    """Return the direction numbers, which are points of the sequence themselves."""
    from scipy.stats import qmc

    engine = qmc.Sobol(min(n_dimensions, MAX_SOBOL), scramble=False, bits=32)
    rows: list[Any] = []
    position = 0
    for bit in range(n_bits):
        place = 2 ** (bit + 1) - 1  # whose Gray code has this bit alone
        if place > position:
            engine.fast_forward(place - position)
        rows.append(engine.random(1)[0] * 2.0**32)
        position = place + 1
    return np.asarray(rows).astype(np.uint32)
