"""Device functions of one position: a step's value, and the test of what changed."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqsolve_numba.gpu import launch
from seqsolve_numba.gpu.program import Program


def evaluate_step(program: Program) -> Any:
    """Return the device function that evaluates the step at one position."""
    n, step, argument = program.n_state, program.step, program.argument

    def evaluate(x: Any, params: Any, state: Any, t: int, k: int, image: Any) -> None:
        for i in range(n):
            image[i] = np.nan
        step(state, argument(x, t, k), params, image)

    return launch.device_function(evaluate)


def test_change(program: Program) -> Any:
    """Return the device function that tests what changed at one position."""
    n = program.n_state

    def test(old: Any, image: Any, rtol: Any, atol: Any) -> Any:
        largest, passed = 0.0, True
        for i in range(n):
            r = abs(old[i] - image[i])
            passed = passed and r <= atol[i] + rtol * abs(old[i]) and r < np.inf
            largest = max(largest, float(r) if r < np.inf else np.inf)
        return largest, passed

    return launch.device_function(test)
