"""How many copies there are and how large the noise is, for each layer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from seqsolve.backend import Array


def for_each(value: Any, layers: Any, name: str, *, longer: bool = False) -> dict[int, Any]:
    """Return a value for each layer: the same for all, or one each."""
    if not isinstance(value, tuple):
        return dict.fromkeys(layers, value)
    if len(value) < len(layers) or (len(value) > len(layers) and not longer):
        raise ValueError(
            f"`{name}` must be a number or have one for each of {len(layers)} layers with noise; "
            f"got {len(value)}."
        )
    return dict(zip(layers, value, strict=False))


def root_mean_square(layer: int, arrays: Iterable[Array]) -> float:
    """Return the size of what noise is added to; positive."""
    squares = [(float((a * a).sum()), a.size) for a in arrays]
    size = math.sqrt(sum(s for s, _ in squares) / sum(n for _, n in squares))
    if not size > 0:
        raise ValueError(
            f"`scale` must be 'absolute' where what noise is added to is zero or not finite, as "
            f"in layer {layer}; got 'rms'."
        )
    return size
