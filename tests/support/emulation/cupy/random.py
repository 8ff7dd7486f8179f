"""Random numbers; NumPy's streams, not those of CuPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from cupy._array import ndarray, upload


class Generator:
    """A generator whose numbers are on the current device."""

    def __init__(self, seed: Any = None) -> None:
        self._host = np.random.default_rng(seed)

    def random(self, size: Any = None, dtype: Any = np.float64) -> ndarray:
        return upload(np.asarray(self._host.random(size, dtype)))

    def standard_normal(self, size: Any = None, dtype: Any = np.float64) -> ndarray:
        return upload(np.asarray(self._host.standard_normal(size, dtype)))

    def integers(self, low: int, high: int | None = None, size: Any = None) -> ndarray:
        return upload(np.asarray(self._host.integers(low, high, size)))


def default_rng(seed: Any = None) -> Generator:
    return Generator(seed)


_default = Generator(0)


def seed(seed: Any = None) -> None:
    """Seed the functions of this module."""
    global _default
    _default = Generator(seed)


def random(size: Any = None, dtype: Any = np.float64) -> ndarray:
    return _default.random(size, dtype)


def standard_normal(size: Any = None, dtype: Any = np.float64) -> ndarray:
    return _default.standard_normal(size, dtype)
