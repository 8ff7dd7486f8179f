"""Numba's CUDA side: element steps and linear recurrences as kernels on a device."""

from __future__ import annotations

from seqsolve_numba.gpu.backend import CudaBackend

__all__ = ["CudaBackend"]
