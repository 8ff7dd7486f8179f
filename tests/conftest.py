"""Puts what the tests need besides where installed packages are found, and looks for a GPU."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import settings
from support.emulation import EMULATION, has_compiler, has_cupy, reason_not_to_emulate

import seqsolve

sys.path.insert(0, str(Path(__file__).parent / "support" / "loopback"))
if has_compiler() or has_cupy():
    sys.path.append(str(EMULATION))  # an installed CuPy comes first

settings.register_profile("seqsolve", deadline=None)  # speed is measured elsewhere
settings.load_profile("seqsolve")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of a GPU where there is none."""
    if item.get_closest_marker("gpu"):
        if not reason_not_to_emulate():
            pytest.skip("there is no GPU: CuPy is emulated")
        reason = seqsolve.backend_status("cupy").reason
        if reason:
            pytest.skip(reason)
