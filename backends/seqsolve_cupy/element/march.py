"""Stepping through time on the device, compiled."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from seqsolve.backend import Array
from seqsolve_cupy import layout
from seqsolve_cupy.element.program import Program

__all__ = ["march"]


def march(program: Program, x: Array | None, params: Any, y: Array) -> None:
    """Set ``y[t + 1]`` to ``step(y[t], x[t])``, a thread for each sequence.

    Parameters
    ----------
    program : Program
        The step.
    x : cupy.ndarray, shape (n_steps, n_batch or 1, *item), or None
        Its input.
    params : mapping of str to cupy.ndarray
        Its parameters.
    y : cupy.ndarray, shape (n_steps + 1, n_batch, n_state)
        The states; the first is given.
    """
    n_steps, n_batch = y.shape[0] - 1, y.shape[1]
    threads = 32 if n_batch <= 32 * layout.n_multiprocessors() else 128
    program.kernel("element_march", f"seqsolve::element_march<{threads}>")(
        (-(-n_batch // threads),),
        (threads,),
        (
            *input_arguments(x, n_batch),
            *(program.packed(params), y, *layout.strides(y)),
            *map(np.int64, (n_steps, n_batch)),
        ),
    )


def input_arguments(x: Array | None, n_batch: int) -> tuple[Any, ...]:
    """Return the input as kernels take it: the items of a position lie side by side."""
    if x is None:
        return (cupy.zeros(1, dtype="int8"), np.int64(0), np.int64(0))
    expected = [x.itemsize]
    for size in x.shape[:1:-1]:
        expected.append(expected[-1] * size)
    if x.ndim > 2 and list(x.strides[:1:-1]) != expected[:-1]:
        x = cupy.ascontiguousarray(x)
    step, batch = layout.strides(x, (0, 1))
    return (x, step, batch if x.shape[1] == n_batch != 1 else np.int64(0))
