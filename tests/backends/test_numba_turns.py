"""The simulator whose threads take turns finds what goes wrong between threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[1] / "support"

KERNEL = """
import sys
import numpy as np
from numba import cuda

sys.path.insert(0, {support!r})
from turns import take_turns

take_turns()

@cuda.jit
def neighbours(x, y, barrier, early):
    shared = cuda.shared.array(8, np.float64)
    i = cuda.threadIdx.x
    if early and i == 7:
        y[i] = 0
        return
    shared[i] = x[i]
    if barrier:
        cuda.syncthreads()
    y[i] = shared[(i + 1) % 8]

x, y = np.arange(8.0), np.empty(8)
neighbours[1, 8](x, y, {barrier}, {early})
print((y == np.roll(x, -1)).all())
"""


@pytest.mark.parametrize(
    ("barrier", "early", "expected"),
    [
        (True, False, "True"),
        (False, False, "False"),
        (True, True, "Some threads of a block wait for threads that have ended."),
    ],
)
def test_barriers(barrier, early, expected):
    code = KERNEL.format(support=str(SUPPORT), barrier=barrier, early=early)
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
    )
    assert expected in (run.stdout, run.stderr)[early]
