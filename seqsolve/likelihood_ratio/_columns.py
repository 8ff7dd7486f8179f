"""Structure over the copies: quasi-random points and orthogonal columns, as bits to be XORed."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

#: Dimensions for which SciPy has direction numbers.
MAX_SOBOL = 21201

_EVEN_BITS = np.uint64(0x5555555555555555)


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


def orthogonal_bits(offset: int, copies: range, columns: range) -> npt.NDArray[np.uint8]:
    """Return a Hadamard matrix whose rows have the signs of a bent function.

    Element ``(k, j)`` of the matrix is the parity of ``k & (j ^ offset)``: over
    any aligned block of ``2**m`` rows, columns that differ in the last `m` bits
    are orthogonal, and they stay so when rows change their signs. These are the
    parity of ``k0 k1 + k2 k3 + ...``, where ``k0`` is the last bit of ``k``. So
    the mean of a column over ``copies = 4**m`` rows is ``+-1 / sqrt(copies)``,
    and over other numbers of rows that is its root mean square over all offsets.

    Parameters
    ----------
    offset : int
        Below ``2**32``; which column stands where.
    copies : range
        Which rows.
    columns : range
        Which columns.

    Returns
    -------
    array of uint8, shape (len(copies), len(columns))
        0 or 1.

    References
    ----------
    .. [1] O. S. Rothaus, "On 'bent' functions", Journal of Combinatorial
       Theory A 20, 1976.
    """
    k = np.arange(copies.start, copies.stop, dtype=np.uint64)[:, None]
    j = np.arange(columns.start, columns.stop, dtype=np.uint64) ^ np.uint64(offset)
    bits = (k & j) ^ (k & (k >> np.uint64(1)) & _EVEN_BITS)
    for shift in (32, 16, 8, 4, 2, 1):
        bits ^= bits >> np.uint64(shift)
    parity: npt.NDArray[np.uint8] = (bits & np.uint64(1)).astype(np.uint8)
    return parity


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
