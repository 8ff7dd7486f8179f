"""The error of allocations."""

from cupy._memory import MemoryPool, OutOfMemoryError

__all__ = ["MemoryPool", "OutOfMemoryError"]
