"""Newton's method on element steps, fused: no array of Jacobians is ever stored."""

from __future__ import annotations

from typing import Any, NamedTuple

import cupy
import numpy as np

from seqsolve.backend import Array, FusedOutcome
from seqsolve_cupy import layout
from seqsolve_cupy.compilation import kernel
from seqsolve_cupy.element.march import input_arguments
from seqsolve_cupy.element.program import Program

__all__ = ["fits", "newton_windows"]

#: Numbers of the map of a run of steps, the most that a thread's registers hold.
LARGEST_MAP = 20

#: Iterations between two looks at what still runs: a look waits for the device.
LOOK_EVERY = 4

#: Bytes that one access to memory moves at least.
_SECTOR = 32

#: Bytes of a run of steps that a thread holds; `steps_of_thread` of ``kernels/element_newton.cu``.
_HELD = 256

#: How many tiles back a block looks at most.
_LONGEST_REACH = 128

#: Threads of the blocks that begin and conclude.
_THREADS = 128

#: Rows of numbers that are kept of each sequence; `Control` of ``kernels/control.cuh``.
_STAGE, _ROWS = 2, 7


class Plan(NamedTuple):
    """How a window lies over the device: adjacent sequences of a block, and its threads."""

    lanes: int
    threads: int


def fits(n_state: int, width: int) -> bool:
    """Return whether a thread's registers hold the map of its steps."""
    return n_state * (width + 1) <= LARGEST_MAP


def plan(n_batch: int, bytes_of_state: int) -> Plan:
    """Return the plan for sequences of states of some bytes, side by side in memory."""
    side_by_side = max(1, _SECTOR // bytes_of_state)
    lanes = min(1 << (n_batch - 1).bit_length(), 1 << (side_by_side.bit_length() - 1))
    return Plan(lanes, 128)


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
    solve = _Windows(program, x, params, y, window, min(maxiter, window))
    solve.tolerances(rtol, atol, scale)
    for number in range(solve.n_windows):
        solve.window(number, guessed)
    return solve.outcome()


class _Windows:
    """The windows of one call, and what the device keeps of them."""

    def __init__(
        self, program: Program, x: Array | None, params: Any, y: Array, window: int, maxiter: int
    ) -> None:
        self._program, self._x, self._y = program, x, y
        self._params = program.packed(params)
        self._n_steps, self._n_batch = y.shape[0] - 1, y.shape[1]
        self._window, self._maxiter = min(window, max(1, self._n_steps)), maxiter
        self.n_windows = -(-self._n_steps // window)
        self._other = cupy.empty((self._window + 1, *y.shape[1:]), dtype=y.dtype)
        self._control = cupy.zeros((_ROWS, self._n_batch), dtype="int64")
        self._converged = cupy.full(self._n_batch, self._n_steps, dtype="int64")
        self._stuck = cupy.zeros(self._n_batch, dtype="int64")
        self._nit = cupy.zeros((self.n_windows, self._n_batch), dtype="int64")
        self._residual = cupy.zeros((self.n_windows, self._n_batch), dtype="float64")
        self._trace = cupy.zeros((self.n_windows, maxiter + 1), dtype="uint64")
        self._plan = plan(self._n_batch, y.shape[2] * y.itemsize)
        self._lay_out()

    def _lay_out(self) -> None:
        """Allocate what tiles tell each other."""
        n, width = self._program.n_state, self._program.width
        lanes, threads = self._plan
        bytes_of_step = n * (width + 2) * self._y.itemsize
        length = min(8, max(1, _HELD // bytes_of_step))
        self._n_groups = -(-self._n_batch // lanes)
        self._n_slots = -(-self._window // (threads // lanes * length)) * self._n_groups
        self._flags = cupy.zeros(1 + self._n_slots, dtype="int32")
        self._links = cupy.empty((self._n_slots, lanes, n * (width + 2) + 1), dtype="float64")
        self._ends = cupy.empty((self._n_slots, lanes, n + 1), dtype="float64")
        self._epoch = 0

    def tolerances(self, rtol: float, atol: Array, scale: float) -> None:
        """Take what iterations are judged by."""
        self._judged_by = (
            np.float64(rtol),
            cupy.ascontiguousarray(cupy.asarray(atol, dtype="float64")),
            self._program.dtype.type(scale),
        )

    def window(self, number: int, guessed: bool) -> None:
        """Iterate on a window until no sequence runs."""
        begin = number * self._window
        size = min(self._window, self._n_steps - begin)
        old, new = self._y[begin : begin + size + 1], self._other[: size + 1]
        arrays = (*_strided(old), *_strided(new))
        self._each(
            "element_begin",
            (size + 1) * self._n_batch,
            *(*arrays, np.int32(guessed), np.int32(self._program.n_state)),
            *(np.int64(size), np.int64(self._n_batch), self._control),
        )
        x = None if self._x is None else self._x[begin : begin + size]
        given = (*input_arguments(x, self._n_batch), self._params)
        for iteration in range(self._maxiter + 1):
            self._iterate(given, old, new, size, is_last=iteration == self._maxiter)
            old, new = new, old
            self._settle(number, begin, size, iteration)
            if (iteration + 1) % LOOK_EVERY == 0 and not bool((self._control[_STAGE] == 0).any()):
                break

    def _iterate(self, given: Any, old: Array, new: Array, size: int, *, is_last: bool) -> None:
        lanes, threads = self._plan
        self._epoch += 1
        self._program.kernel("element_newton", f"seqsolve::element_newton<{lanes}, {threads}>")(
            (self._n_slots,),
            (threads,),
            (
                *(*given, *_strided(old), *_strided(new), *self._judged_by, np.int32(is_last)),
                *map(np.int64, (size, self._n_batch, self._n_groups)),
                *(np.int32(min(threads // lanes, _LONGEST_REACH)), np.int32(self._epoch)),
                *(self._control, self._flags, self._links, self._ends),
            ),
        )

    def _settle(self, number: int, begin: int, size: int, iteration: int) -> None:
        self._each(
            "element_settle",
            self._n_batch,
            *map(np.int64, (begin, size, self._n_batch)),
            *map(np.int32, (iteration, self._maxiter)),
            *(self._control, self._flags, self._converged, self._stuck),
            *(self._nit[number], self._residual[number], self._trace[number]),
        )

    def outcome(self) -> FusedOutcome:
        """Return what became of the windows, and repeat the last states of those that failed."""
        converged = cupy.asnumpy(self._converged).astype(np.intp)
        if (converged < self._n_steps).any():
            ends = np.minimum((converged // self._window + 1) * self._window, self._n_steps)
            ends[converged == self._n_steps] = self._n_steps
            self._each(
                "element_repeat",
                self._n_steps * self._n_batch,
                *(*_strided(self._y), cupy.asarray(ends.astype(np.int64))),
                np.int32(self._program.n_state),
                *map(np.int64, (self._n_steps, self._n_batch)),
            )
        return FusedOutcome(
            converged,
            cupy.asnumpy(self._stuck).astype(bool),
            cupy.asnumpy(self._nit).astype(np.intp),
            cupy.asnumpy(self._residual),
            cupy.asnumpy(self._trace).view(np.float64),
        )

    def _each(self, name: str, n_items: int, *arguments: Any) -> None:
        """Launch a kernel with a thread for each of some items."""
        scalar = layout.SCALARS[self._program.dtype.name]
        run = kernel("element_windows", f"seqsolve::{name}<{scalar}, {_THREADS}>")
        run((-(-n_items // _THREADS),), (_THREADS,), arguments)


def _strided(a: Array) -> tuple[Any, ...]:
    return (a, *layout.strides(a))
