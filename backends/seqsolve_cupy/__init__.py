"""CuPy: the primitives as CUDA kernels, on NVIDIA GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqsolve_cupy.availability import require_device

if TYPE_CHECKING:
    from seqsolve_cupy.backend import CupyBackend

__all__ = ["make_backend"]


def make_backend() -> CupyBackend:
    """Return the backend; the entry point ``seqsolve.backends`` names this function.

    Raises
    ------
    BackendUnavailableError
        CuPy, the driver or a device is missing or too old; the message says
        which.
    """
    require_device()
    from seqsolve_cupy.backend import CupyBackend

    return CupyBackend()
