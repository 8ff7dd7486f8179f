"""The CPU reference backend: NumPy, its inner loops compiled by Numba."""

from __future__ import annotations

from seqsolve_numpy.backend import NumpyBackend

__all__ = ["NumpyBackend", "make_backend"]


def make_backend() -> NumpyBackend:
    """Return the backend; the entry point ``seqsolve.backends`` names this function."""
    return NumpyBackend()
