"""Where the emulation of CUDA and CuPy is, and whether the tests use it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from functools import cache
from pathlib import Path

#: The folder that holds the packages `cuda_host` and `cupy`.
EMULATION = Path(__file__).parent


def has_compiler() -> bool:
    """Whether kernels can be compiled for the host."""
    return platform.system() == "Linux" and bool(shutil.which(os.environ.get("CXX", "g++")))


@cache
def reason_not_to_emulate() -> str:
    """Return why CuPy is not emulated, an empty text if it is."""
    if not has_compiler():
        return "the emulation of CUDA kernels needs Linux and a C++ compiler (g++)"
    spec = importlib.util.find_spec("cupy")
    if spec is not None and EMULATION not in Path(spec.origin or "").parents:
        return "CuPy is installed: it is tested, not its emulation"
    return ""
