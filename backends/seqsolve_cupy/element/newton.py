"""Newton's method on element steps, fused: no array of Jacobians is ever stored."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import cupy
import numpy as np

from seqsolve.backend import Array, FusedOutcome
from seqsolve_cupy.element.program import Program
from seqsolve_cupy.element.windows import LOOK_EVERY, Window, Windows, strided, tolerances
from seqsolve_cupy.plans import Tiles, board_sizes, reach_of

__all__ = ["fits", "newton_windows"]

#: Numbers of the map of a run of steps, the most that a thread's registers hold beside the
#: steps themselves, by the bytes of a state's number.
LARGEST_MAP = {4: 20, 8: 12}

#: Bytes that one access to memory moves at least.
_SECTOR = 32

#: Bytes of a run of steps that a thread holds; `steps_of_thread` of ``kernels/element_newton.cu``.
_HELD = 256


def fits(n_state: int, width: int, itemsize: int) -> bool:
    """Return whether a thread's registers hold the map of its steps."""
    return n_state * (width + 1) <= LARGEST_MAP[itemsize]


def plan(n_batch: int, bytes_of_state: int) -> Tiles:
    """Return the plan for sequences of states of some bytes, side by side in memory."""
    side_by_side = max(1, _SECTOR // bytes_of_state)
    lanes = min(1 << (n_batch - 1).bit_length(), 1 << (side_by_side.bit_length() - 1))
    return Tiles(lanes, 128, reach_of(lanes))


def newton_windows(
    program: Program,
    x: Array | None,
    params: Any,
    y: Array,
    *,
    guessed: bool,
    rtol: float,
    atol: Array,
    maxiter: int,
    scale: float,
    window: int,
) -> FusedOutcome:
    """Solve window after window, as the backend contract says.

    An iteration is one pass over a window, in tiles that look back on each
    other; the host looks every few iterations whether any sequence still runs.

    Parameters
    ----------
    program : Program
        The step, of a size that `fits`, and real.
    x : cupy.ndarray, shape (n_steps, n_batch or 1, *item), or None
        Its input.
    params : mapping of str to cupy.ndarray
        Its parameters.
    y, guessed, rtol, atol, maxiter, scale, window
        As `seqsolve.backend.FusedSteps.newton_windows` takes them.

    References
    ----------
    .. [1] F. Danieli et al., "ParaRNN: Unlocking Parallel Training of
       Nonlinear RNNs for Large Language Models", 2025, arXiv:2510.21450:
       cells fused with the solver of their Newton iterations.
    .. [2] D. Merrill, M. Garland, "Single-pass parallel prefix scan with
       decoupled look-back", NVIDIA NVR-2016-002.
    """
    newton = _Newton(
        program, x, params, y, window=window, maxiter=maxiter, judged_by=(rtol, atol, scale)
    )
    for number in range(newton.n_windows):
        newton.solve(number, guessed)
    return newton.outcome()


class _Newton(Windows):
    """Newton's method on the windows of one call."""

    def __init__(
        self,
        program: Program,
        x: Array | None,
        params: Any,
        y: Array,
        *,
        window: int,
        maxiter: int,
        judged_by: tuple[float, Array, float],
    ) -> None:
        super().__init__(program, x, params, y, window, min(maxiter, window) + 1)
        self._maxiter = min(maxiter, window)
        rtol, atol, scale = judged_by
        self._judged_by = (*tolerances(rtol, atol), program.dtype.type(scale))
        self._plan = plan(self.n_batch, y.shape[2] * y.itemsize)
        n, width = program.n_state, program.width
        lanes, threads, reach = astuple(self._plan)
        length = min(8, max(1, _HELD // (n * (width + 2) * y.itemsize)))
        self._n_groups = -(-self.n_batch // lanes)
        self._n_tiles = -(-self.width // (threads // lanes * length))
        n_links, n_ends = (self._n_groups * size for size in board_sizes(self._n_tiles, reach))
        self._flags = cupy.zeros(1 + n_links + n_ends, dtype="int32")
        self._links = cupy.empty((n_links, lanes, n * (width + 2) + 1), dtype="float64")
        self._ends = cupy.empty((n_ends, lanes, n + 1), dtype="float64")
        self._round = 0

    def solve(self, number: int, guessed: bool) -> None:
        """Iterate on a window until no sequence runs."""
        window = self.begin(number, guessed)
        old, new = window.old, window.new
        for iteration in range(self._maxiter + 1):
            self._iterate(window, old, new, is_last=iteration == self._maxiter)
            old, new = new, old
            self.each(
                "element_settle",
                self.n_batch,
                *map(np.int64, (window.begin, window.size, self.n_batch)),
                *map(np.int32, (iteration, self._maxiter)),
                *(self.control, self._flags, *window.report),
            )
            if (iteration + 1) % LOOK_EVERY == 0 and not self.any_runs:
                break

    def _iterate(self, window: Window, old: Array, new: Array, *, is_last: bool) -> None:
        lanes, threads, reach = astuple(self._plan)
        self._round += 1  # the flags of the one before stay
        self.program.kernel("element_newton", f"seqsolve::element_newton<{lanes}, {threads}>")(
            (self._n_tiles * self._n_groups,),
            (threads,),
            (
                *(*window.given, *strided(old), *strided(new), *self._judged_by),
                *(np.int32(is_last), np.int64(window.size), np.int64(self.n_batch)),
                *map(np.int32, (self._n_groups, self._n_tiles, reach, self._round)),
                *(self.control, self._flags, self._links, self._ends),
            ),
        )

    def outcome(self) -> FusedOutcome:
        """Repeat the last states of the windows that failed; return what became of all."""
        outcome = super().outcome()
        converged, n_steps = outcome.converged, self.n_steps
        if (converged < n_steps).any():
            ends = np.minimum((converged // self.width + 1) * self.width, n_steps)
            ends[converged == n_steps] = n_steps
            self.each(
                "element_repeat",
                n_steps * self.n_batch,
                *(*strided(self.y), cupy.asarray(ends.astype(np.int64))),
                np.int32(self.program.n_state),
                *map(np.int64, (n_steps, self.n_batch)),
            )
        return outcome
