"""Numba: element steps compiled and fused, on CPU threads."""

from __future__ import annotations

from seqsolve_numba.backend import NumbaBackend

__all__ = ["NumbaBackend", "make_backend"]


def make_backend() -> NumbaBackend:
    """Return the backend; the entry point ``seqsolve.backends`` names this function."""
    return NumbaBackend()
