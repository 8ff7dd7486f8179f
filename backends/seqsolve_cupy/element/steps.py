"""What the backend offers for element steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqsolve.backend import Array, FusedOutcome
from seqsolve.step import BoundStep
from seqsolve_cupy import layout, memory
from seqsolve_cupy.element import newton, sweeps
from seqsolve_cupy.element.evaluate import BoundElementStep
from seqsolve_cupy.element.march import march
from seqsolve_cupy.element.program import Programs
from seqsolve_cupy.placement import common_device

__all__ = ["ElementSteps"]

#: Sequences for each multiprocessor from which stepping through time, a thread for each, takes no
#: longer than the iterations that would replace it: a warp for each of its schedulers.
BUSY_SEQUENCES = 128


class ElementSteps:
    """Element steps, compiled and fused with the solvers."""

    def __init__(self) -> None:
        self._programs = Programs()

    def element_window(
        self, step: Any, *, n_steps: int, n_batch: int, n_jacobian: int, dtype: Any
    ) -> int:
        """Return 1 where the sequences alone keep the device busy, else what fits its memory."""
        if n_batch >= BUSY_SEQUENCES * layout.n_multiprocessors():
            return 1
        return memory.default_window(
            n_steps=n_steps,
            n_batch=n_batch,
            n_state=step.n_state,
            n_jacobian=n_jacobian,
            itemsize=np.dtype(dtype).itemsize,
        )

    def fuses(self, step: Any, dtype: Any) -> bool:
        """Return whether a thread's registers hold the map of a run of steps."""
        dtype, n = np.dtype(dtype), step.n_state
        return dtype.kind == "f" and newton.fits(n, step.jac_structure.width(n), dtype.itemsize)

    def march(self, step: Any, x: Array | None, y: Array) -> None:
        """Step through time, a thread for each sequence."""
        if y.shape[0] > 1 and y.size:
            with common_device(x, y):
                program, x = self._programs.of(step, x, y)
                march(program, x, step.params, y)

    def newton_windows(self, step: Any, x: Array | None, y: Array, **options: Any) -> FusedOutcome:
        """Solve one window after the other by Newton's method, fused."""
        with common_device(x, y):
            program, x = self._programs.of(step, x, y)
            return newton.newton_windows(program, x, step.params, y, **options)

    def sweep_windows(self, step: Any, x: Array | None, y: Array, **options: Any) -> FusedOutcome:
        """Solve one window after the other by Jacobi sweeps, fused."""
        with common_device(x, y):
            program, x = self._programs.of(step, x, y)
            return sweeps.sweep_windows(program, x, step.params, y, **options)

    def bind_step(self, step: Any, x: Array | None) -> BoundStep:
        """Return the step with its input fixed, compiled."""
        return BoundElementStep(step, x, self._programs)
