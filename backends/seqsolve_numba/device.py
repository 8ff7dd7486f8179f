"""Whether there is a CUDA device for Numba, found out without loading Numba."""

from __future__ import annotations

import ctypes
import os
import sys
from importlib import import_module

_DRIVERS = {"win32": "nvcuda.dll"}


def simulated() -> bool:
    """Return whether Numba is asked to simulate CUDA: NUMBA_ENABLE_CUDASIM."""
    return _is_set("NUMBA_ENABLE_CUDASIM")


def why_not() -> str:
    """Return why CUDA cannot be used here; empty if it can."""
    if _is_set("NUMBA_DISABLE_CUDA"):
        return "NUMBA_DISABLE_CUDA is set"
    if simulated():
        return ""
    library = os.environ.get("NUMBA_CUDA_DRIVER", _DRIVERS.get(sys.platform, "libcuda.so.1"))
    try:
        ctypes.CDLL(library)
    except OSError:
        return "no CUDA driver was found"
    return _why_not_with_a_driver()


def _why_not_with_a_driver() -> str:
    try:
        from numba import cuda

        import_module("numba.cuda.cudaimpl")  # what compiling loads: it may not fit this NumPy
    except (ImportError, AttributeError) as error:
        return f"Numba's CUDA support cannot be imported: {error}"
    if not cuda.is_available():  # type: ignore[no-untyped-call]
        return "the CUDA driver finds no device"
    try:
        import cupy
    except ImportError:
        return "CuPy, which holds the arrays, is not installed"
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy cannot use the device: {error}"
    return ""


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "0").strip() not in ("", "0")
