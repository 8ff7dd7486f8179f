"""Where the emulation of CUDA and CuPy is, and whether the tests use it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from functools import cache
from pathlib import Path

import pytest

#: The folder that holds the packages `cuda_host` and `cupy`.
EMULATION = Path(__file__).parent


def has_compiler() -> bool:
    """Whether kernels can be compiled for the host."""
    return platform.system() == "Linux" and bool(shutil.which(os.environ.get("CXX", "g++")))


def has_cupy() -> bool:
    """Whether CuPy itself is installed."""
    spec = importlib.util.find_spec("cupy")
    return spec is not None and EMULATION not in Path(spec.origin or "").parents


@cache
def reason_not_to_emulate() -> str:
    """Return why CuPy is not emulated, an empty text if it is."""
    if has_cupy():
        return "CuPy is installed: it is tested, not its emulation"
    if not has_compiler():
        return "the emulation of CUDA kernels needs Linux and a C++ compiler (g++)"
    return ""


def marks() -> list[pytest.MarkDecorator]:
    """Return the marks of tests of the CuPy backend: `gpu`, unless it is emulated."""
    return [pytest.mark.gpu] if reason_not_to_emulate() else []
