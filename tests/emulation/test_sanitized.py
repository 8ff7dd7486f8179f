"""Every kernel of the CuPy backend, under the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.emulation import reason_not_to_emulate

if reason_not_to_emulate():
    pytest.skip(reason_not_to_emulate(), allow_module_level=True)

import cuda_host

GRID = Path(__file__).parents[1] / "support" / "kernel_grid.py"


def test_every_kernel_is_clean():
    outcome = subprocess.run(
        [sys.executable, str(GRID)],
        env=cuda_host.sanitizer_environment(),
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "every kernel equals its loop" in outcome.stdout
