"""Element steps at many positions at once: a kernel in place of a launch for each operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy as np

from seqsolve.backend import Array
from seqsolve.step import ElementStepError
from seqsolve_cupy import layout
from seqsolve_cupy.element.march import input_arguments
from seqsolve_cupy.element.program import Program, Programs

__all__ = ["BoundElementStep"]

_THREADS = 128


class BoundElementStep:
    """An element step with its input fixed: a :class:`seqsolve.step.BoundStep`.

    Parameters
    ----------
    step : ElementStep
        The step, its parameters on the device.
    x : cupy.ndarray, shape (*lead, *item), or None
        The input.
    programs : Programs
        Where compiled steps are kept.
    """

    def __init__(self, step: Any, x: Array | None, programs: Programs) -> None:
        self._step, self._x, self._programs = step, x, programs

    def __call__(self, y_prev: Array, /) -> Array:
        """Return the new states."""
        return self._evaluate(y_prev, self._step, (self._step.n_state,), "false")

    def linearize(self, y_prev: Array, /) -> tuple[Array, Callable[[], Array]]:
        """Return the new states, and a function that completes the Jacobian."""
        step = self._step
        return self(y_prev), lambda: self._evaluate(y_prev, step.jac, step.jac_shape, "true")

    def _evaluate(self, y_prev: Array, plain: Any, shape: tuple[int, ...], which: str) -> Array:
        n_lead = y_prev.ndim - 1
        if n_lead not in (1, 2):
            return plain(y_prev, self._x)
        lead, x = tuple(y_prev.shape[:-1]), self._x
        if x is not None:
            lead = np.broadcast_shapes(lead, x.shape[:n_lead])
            x = cupy.broadcast_to(x, (*lead, *x.shape[n_lead:]))
        y = cupy.broadcast_to(y_prev, (*lead, y_prev.shape[-1]))
        y = y.astype(self._step.result_dtype(y_prev, x), copy=False)
        if n_lead == 1:
            y, x = y[:, None], None if x is None else x[:, None]
        try:
            program, x = self._programs.of(self._step, x, y)
        except ElementStepError:
            if y.dtype.kind == "f":
                raise
            return plain(y_prev, self._x)  # a real step, perturbed along the imaginary axis
        out = cupy.empty((*lead, *shape), dtype=y.dtype)
        if out.size:
            _launch(program, x, self._step.params, y, out, which)
        return out


def _launch(
    program: Program, x: Array | None, params: Any, y: Array, out: Array, which: str
) -> None:
    n_steps, n_batch = y.shape[:2]
    instance = f"seqsolve::element_evaluate<{which}, {_THREADS}>"
    program.kernel("element_evaluate", instance)(
        (-(-n_steps * n_batch // _THREADS),),
        (_THREADS,),
        (
            *input_arguments(x, n_batch),
            *(program.packed(params), y, *layout.strides(y), out),
            *map(np.int64, (n_steps, n_batch)),
        ),
    )
