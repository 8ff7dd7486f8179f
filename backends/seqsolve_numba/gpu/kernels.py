"""All that runs on the device; importing it loads Numba."""

from __future__ import annotations

from seqsolve_numba import noise_cuda
from seqsolve_numba.gpu import launch, linear, marching, memory, newton, sweeps
from seqsolve_numba.gpu.program import Programs, explained

__all__ = [
    "Programs",
    "explained",
    "launch",
    "linear",
    "marching",
    "memory",
    "newton",
    "noise_cuda",
    "sweeps",
]
