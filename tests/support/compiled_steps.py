"""Runs element steps as the CuPy backend compiles them, and as Python does."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from seqsolve import element_step
from seqsolve_cupy.element.march import march
from seqsolve_cupy.element.program import Program


def compiled(step: Any, y: Any, x: Any = None, params: Any = None) -> np.ndarray:
    """Return the new states of sequences, ``(n_batch, n_state)``, from kernels."""
    cell = element_step(step, n_state=y.shape[1], params=params)
    cell = cell.with_params({name: cupy.asarray(p) for name, p in cell.params.items()})
    states = cupy.asarray(np.stack([y, np.full_like(y, 777)]))
    x = None if x is None else cupy.asarray(x[None])
    march(Program(cell, x, y.dtype), x, cell.params, states)
    return states.get()[1]


def interpreted(step: Any, y: Any, x: Any = None, params: Any = None) -> np.ndarray:
    """Return the same from Python."""
    numbers = tuple(
        p if p.ndim else p[()] for p in element_step(step, n_state=1, params=params).params.values()
    )
    out = np.full_like(y, 777)
    with np.errstate(all="ignore"):
        for k in range(len(y)):
            step(y[k], None if x is None else x[k], numbers, out[k])
    return out
