"""The Numba backend's CUDA side in Numba's simulator, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import environment

SCRIPT = Path(__file__).parents[1] / "support" / "simulated.py"

TASKS = [
    ("conformance", "0", "2"),
    ("conformance", "1", "2"),
    ("newton",),
    ("sweeps",),
    ("gru",),
    ("chunks",),
    ("memory",),
    ("faults", "0", "2"),
    ("faults", "1", "2"),
]


@pytest.mark.parametrize("task", TASKS, ids="-".join)
def test_simulated(task):
    run = subprocess.run(
        [sys.executable, str(SCRIPT), *task],
        env=environment(SCRIPT.parent, NUMBA_ENABLE_CUDASIM="1"),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert run.returncode == 0, run.stderr[-4000:]
