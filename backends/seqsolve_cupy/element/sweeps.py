"""Jacobi sweeps of element steps, fused: nothing but states is stored."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqsolve.backend import Array, FusedOutcome
from seqsolve_cupy.element.program import Program
from seqsolve_cupy.element.windows import LOOK_EVERY, THREADS, Window, Windows, strided, tolerances

__all__ = ["sweep_windows"]


def sweep_windows(
    program: Program,
    x: Array | None,
    params: Any,
    y: Array,
    *,
    rtol: float,
    atol: Array,
    maxiter: int,
    window: int,
    block_size: int,
) -> FusedOutcome:
    """Solve window after window, as the backend contract says.

    A sweep is one kernel, a thread for each block of positions; another draws
    its conclusions, a block of threads for each sequence.

    Parameters
    ----------
    program : Program
        The step, real.
    x : cupy.ndarray, shape (n_steps, n_batch or 1, *item), or None
        Its input.
    params : mapping of str to cupy.ndarray
        Its parameters.
    y, rtol, atol, maxiter, window, block_size
        As `seqsolve.backend.JacobiSweeps.sweep_windows` takes them.
    """
    sweeps = _Sweeps(program, x, params, y, window, min(maxiter, 2 * window))
    for number in range(sweeps.n_windows):
        sweeps.solve(number, tolerances(rtol, atol), block_size)
    return sweeps.outcome()


class _Sweeps(Windows):
    """Sweeps of the windows of one call."""

    def __init__(
        self, program: Program, x: Array | None, params: Any, y: Array, window: int, maxiter: int
    ) -> None:
        super().__init__(program, x, params, y, window, maxiter)
        self._maxiter = maxiter

    def solve(self, number: int, judged_by: tuple[Any, ...], block_size: int) -> None:
        """Sweep a window until no sequence runs."""
        window = self.begin(number, guessed=True)
        old, new = window.old, window.new
        for sweep in range(self._maxiter):
            arrays = (*strided(old), *strided(new))
            self._sweep(window, arrays, judged_by, block_size)
            self.each(
                "element_settle_sweep",
                THREADS * self.n_batch,
                *(*arrays, np.int32(self.program.n_state)),
                *map(np.int64, (window.begin, window.size, self.n_batch, block_size)),
                *map(np.int32, (sweep, self._maxiter)),
                *(self.control, *window.report),
            )
            old, new = new, old
            if (sweep + 1) % LOOK_EVERY == 0 and not self.any_runs:
                break

    def _sweep(
        self, window: Window, arrays: tuple[Any, ...], judged_by: tuple[Any, ...], block_size: int
    ) -> None:
        n_threads = -(-window.size // block_size) * self.n_batch
        self.program.kernel("element_sweep", f"seqsolve::element_sweep<{THREADS}>")(
            (-(-n_threads // THREADS),),
            (THREADS,),
            (
                *(*window.given, *arrays, *judged_by),
                *map(np.int64, (block_size, window.size, self.n_batch)),
                self.control,
            ),
        )
