"""Numba: element steps compiled and fused, on CPU threads or a CUDA device."""

from __future__ import annotations

from seqsolve_numba import device
from seqsolve_numba.backend import NumbaBackend
from seqsolve_numba.gpu import CudaBackend

__all__ = ["CudaBackend", "NumbaBackend", "make_backend"]


def make_backend() -> NumbaBackend | CudaBackend:
    """Return the backend; the entry point ``seqsolve.backends`` names this function.

    On a CUDA device if Numba and CuPy can use one, else on CPU threads.
    Numba's own variables decide otherwise: NUMBA_DISABLE_CUDA=1 keeps to CPU
    threads, NUMBA_ENABLE_CUDASIM=1 simulates a device.
    """
    reason = device.why_not()
    return NumbaBackend(reason) if reason else CudaBackend()
