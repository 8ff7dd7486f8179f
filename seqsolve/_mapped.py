"""Memory-mapped arrays: lets go of pages that a long solve has passed."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

#: Bytes of mapped arrays that may become resident before they are let go.
RESIDENT = 2**25


class MappedArrays:
    """The memory-mapped ones among some arrays.

    A page that was read or written stays resident until the system needs the
    memory. Sequences longer than memory should not have to rely on that.

    Parameters
    ----------
    arrays : list
        Any arrays; those that are not mapped, or whose changes are not
        written to their file, are ignored.
    """

    def __init__(self, arrays: list[Any]) -> None:
        mapped = [a for a in arrays if isinstance(a, np.memmap) and a.mode != "c"]
        self._maps = [m for m in map(_map_of, mapped) if m is not None]
        self._bytes_per_step = sum(a.nbytes / max(1, a.shape[0]) for a in mapped if a.ndim)
        self._resident = 0.0

    def advance(self, n_steps: int) -> None:
        """Count steps that were visited; let their pages go once they are many."""
        self._resident += n_steps * self._bytes_per_step
        if self._resident > RESIDENT:
            self._resident = 0.0
            for mapping in self._maps:
                mapping.madvise(mmap.MADV_DONTNEED)


def _map_of(array: Any) -> Any:
    """Return the map behind an array, if the system can let go of its pages."""
    while array is not None and not isinstance(array, mmap.mmap):
        array = getattr(array, "base", None)
    return array if hasattr(array, "madvise") and hasattr(mmap, "MADV_DONTNEED") else None
