"""Windows of an element step, solved one after the other: what Newton's method and sweeps share."""

from __future__ import annotations

from typing import Any, NamedTuple

import cupy
import numpy as np

from seqsolve.backend import Array, FusedOutcome
from seqsolve_cupy import layout
from seqsolve_cupy.compilation import kernel
from seqsolve_cupy.element.march import input_arguments
from seqsolve_cupy.element.program import Program

__all__ = ["LOOK_EVERY", "Window", "Windows", "strided", "tolerances"]

#: Iterations or sweeps between two looks at what still runs: a look waits for the device.
LOOK_EVERY = 4

#: Threads of the blocks that begin and conclude.
THREADS = 128

#: Rows of numbers that are kept of each sequence; `Control` of ``kernels/control.cuh``.
_STAGE, _ROWS = 2, 7


class Window(NamedTuple):
    """One window, and what kernels take for it.

    Parameters
    ----------
    begin, size : int
        Its first step, and how many there are.
    old, new : cupy.ndarray, shape (size + 1, n_batch, n_state)
        The iterate, and where the next goes.
    given : tuple
        Input and parameters.
    report : tuple of cupy.ndarray
        Steps that are solved, whether a sequence is stuck, iterations,
        residual, trace.
    """

    begin: int
    size: int
    old: Array
    new: Array
    given: tuple[Any, ...]
    report: tuple[Array, ...]


class Windows:
    """The windows of one call, and what the device keeps of them.

    Parameters
    ----------
    program : Program
        The step.
    x : cupy.ndarray, shape (n_steps, n_batch or 1, *item), or None
        Its input.
    params : mapping of str to cupy.ndarray
        Its parameters.
    y : cupy.ndarray, shape (n_steps + 1, n_batch, n_state)
        The states.
    window : int
        Steps solved together.
    n_trace : int
        Residuals to be kept of each window.
    """

    def __init__(
        self, program: Program, x: Array | None, params: Any, y: Array, window: int, n_trace: int
    ) -> None:
        self.program, self.y = program, y
        self.n_steps, self.n_batch = y.shape[0] - 1, y.shape[1]
        self.n_windows = -(-self.n_steps // window)
        self.width = min(window, max(1, self.n_steps))
        self.control = cupy.zeros((_ROWS, self.n_batch), dtype="int64")
        self._x, self._params = x, program.packed(params)
        self._other = cupy.empty((self.width + 1, *y.shape[1:]), dtype=y.dtype)
        self._converged = cupy.full(self.n_batch, self.n_steps, dtype="int64")
        self._stuck = cupy.zeros(self.n_batch, dtype="int64")
        self._nit = cupy.zeros((self.n_windows, self.n_batch), dtype="int64")
        self._residual = cupy.zeros((self.n_windows, self.n_batch), dtype="float64")
        self._trace = cupy.zeros((self.n_windows, n_trace), dtype="uint64")

    def begin(self, number: int, guessed: bool) -> Window:
        """Set the first iterate of a window; all sequences run that have not given up."""
        begin = number * self.width
        size = min(self.width, self.n_steps - begin)
        x = None if self._x is None else self._x[begin : begin + size]
        window = Window(
            begin,
            size,
            self.y[begin : begin + size + 1],
            self._other[: size + 1],
            (*input_arguments(x, self.n_batch), self._params),
            (
                *(self._converged, self._stuck),
                *(self._nit[number], self._residual[number], self._trace[number]),
            ),
        )
        self.each(
            "element_begin",
            (size + 1) * self.n_batch,
            *(*strided(window.old), *strided(window.new), np.int32(guessed)),
            np.int32(self.program.n_state),
            *(np.int64(size), np.int64(self.n_batch), self.control),
        )
        return window

    @property
    def any_runs(self) -> bool:
        """Whether any sequence still runs; waits for the device."""
        return bool((self.control[_STAGE] == 0).any())

    def each(self, name: str, n_items: int, *arguments: Any) -> None:
        """Launch a kernel with a thread for each of some items."""
        scalar = layout.SCALARS[self.program.dtype.name]
        run = kernel("element_windows", f"seqsolve::{name}<{scalar}, {THREADS}>")
        run((-(-n_items // THREADS),), (THREADS,), arguments)

    def outcome(self) -> FusedOutcome:
        """Return what became of the windows."""
        return FusedOutcome(
            cupy.asnumpy(self._converged).astype(np.intp),
            cupy.asnumpy(self._stuck).astype(bool),
            cupy.asnumpy(self._nit).astype(np.intp),
            cupy.asnumpy(self._residual),
            cupy.asnumpy(self._trace).view(np.float64),
        )


def strided(a: Array) -> tuple[Any, ...]:
    """Return an array and its strides, as kernels take them."""
    return (a, *layout.strides(a))


def tolerances(rtol: float, atol: Array) -> tuple[Any, ...]:
    """Return the tolerances as kernels take them."""
    return np.float64(rtol), cupy.ascontiguousarray(cupy.asarray(atol, dtype="float64"))
