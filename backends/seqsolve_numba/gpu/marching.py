# mypy: disable-error-code="attr-defined,no-untyped-call"
"""Stepping through time on the device: a thread for each sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from seqsolve_numba.gpu import launch
from seqsolve_numba.gpu.program import Array, Program


def march(program: Program, x: Array, params: tuple[Any, ...], y: Array) -> None:
    """Set ``y[t + 1]`` to ``step(y[t], x[t])`` for all steps and sequences.

    Parameters
    ----------
    program : Program
        The step.
    x : array, shape (n_steps, n_batch, *item)
        The input; anything where there is none.
    params : tuple of array or number
        The parameters.
    y : array, shape (n_steps + 1, n_batch, n_state)
        Its first step is given.
    """
    launch.each(program.kernel("march", _build), y.shape[1], x, params, y)


def _build(program: Program) -> Any:
    n, number = program.n_state, program.number
    step, argument = program.step, program.argument

    def march(x: Any, params: Any, y: Any) -> None:
        k = cuda.grid(1)
        if k < y.shape[1]:
            state = cuda.local.array(n, number)
            new = cuda.local.array(n, number)
            for i in range(n):
                state[i] = y[0, k, i]
            for t in range(y.shape[0] - 1):
                for i in range(n):
                    new[i] = np.nan
                step(state, argument(x, t, k), params, new)
                for i in range(n):
                    state[i] = new[i]
                    y[t + 1, k, i] = new[i]

    return march
