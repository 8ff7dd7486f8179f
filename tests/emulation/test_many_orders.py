"""Blocks that wait for each other give the same bits, in hundreds of orders."""

from __future__ import annotations

import numpy as np
import pytest
from support.emulation import reason_not_to_emulate

if reason_not_to_emulate():
    pytest.skip(reason_not_to_emulate(), allow_module_level=True)

import cuda_host
import cupy
from support import kernel_grid

from seqsolve_cupy import scans
from seqsolve_cupy.plans import Tiles

SEEDS = 200

#: Plan, dtype, states that are coupled (0: diagonal, of two states), sequences, steps.
CASES = {
    "numbers": (Tiles(2, 64, reach=2), "float32", 0, 1, 5300),
    "numbers, one tile back": (Tiles(4, 32, reach=3), "float64", 0, 3, 1300),
    "matrices": (Tiles(8, 32, reach=2), "complex64", 2, 2, 330),
}


@pytest.mark.parametrize("name", CASES)
def test_same_bits_in_every_order(name):
    plan, dtype, n, n_batch, n_steps = CASES[name]
    rng = np.random.default_rng(0)
    shape = (n_batch, n or 2)
    A = kernel_grid.noise(rng, (n_steps, *shape, n) if n else (n_steps, *shape), dtype)
    A = (A / max(1, n**0.5)).astype(dtype)
    b = kernel_grid.noise(rng, (n_steps, *shape), dtype)
    y0 = kernel_grid.noise(rng, shape, dtype)
    arrays = [cupy.asarray(a) for a in (A, b, y0)]
    solved, updated = set(), set()
    for seed in range(SEEDS):
        y, iterate = cupy.empty(b.shape, dtype=dtype), cupy.zeros(b.shape, dtype=dtype)
        with cuda_host.schedule(seed=seed, resident=1 + seed % 9, shuffle=seed % 3 == 0):
            scans.launch(scans.Task.linear(*arrays, y), plan)
            if seed % 4 == 0:
                scans.launch(scans.Task.newton(*arrays[:2], iterate), plan)
                updated.add(iterate.get().tobytes())
        solved.add(y.get().tobytes())
    assert len(solved) == len(updated) == 1
    kernel_grid.check(y, kernel_grid.loop(A, b, y0), name)
