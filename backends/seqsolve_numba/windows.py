# mypy: disable-error-code="no-untyped-call"
"""What the fused solvers share: windows reported one by one, positions evaluated in tiles."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
from numba import types

from seqsolve.backend import FusedOutcome
from seqsolve_numba.compilation import inlined, writable
from seqsolve_numba.intrinsics import Layout, known, local
from seqsolve_numba.specialization import NDArray, Specialization
from seqsolve_numba.threads import over_sequences

#: So many positions are evaluated in vector instructions at a time.
TILE = 64

#: Every loop of a small step unrolls, so that the loop over positions has vector instructions.
UNROLL = 3000

#: Types of the last arguments of a kernel that `Report.fill` calls: start, stop, report.
REPORT = (
    *(types.intp, types.intp),
    types.Tuple(
        (
            *(writable(np.intp, 1), writable(np.bool_, 1), writable(np.intp, 2)),
            *(writable(np.float64, 2), writable(np.float64, 2)),
        )
    ),
)


class Report:
    """What becomes of the windows of a batch.

    Parameters
    ----------
    y : array, shape (n_steps + 1, n_batch, n_state)
        The states.
    window : int
        Steps solved together.
    columns : int
        Most residuals of a window that are reported.
    """

    def __init__(self, y: NDArray, window: int, columns: int) -> None:
        n_steps, n_batch = y.shape[0] - 1, y.shape[1]
        windows = (-(-n_steps // window), n_batch)
        self._arrays = (
            np.full(n_batch, n_steps),
            np.zeros(n_batch, bool),
            np.zeros(windows, np.intp),
            np.zeros(windows),
        )
        self._trace = np.zeros((windows[0], columns))
        self._n_values = 4 * y.size

    def fill(self, solve: Callable[..., None]) -> FusedOutcome:
        """Return what ``solve(start, stop, report)`` reports of the sequences from `start` on.

        `report` is a `FusedOutcome` to be filled. Threads take sequences; each has a trace
        of its own.
        """
        lock = Lock()

        n_batch = self._arrays[0].size

        def run(start: int, stop: int) -> None:
            if stop - start == n_batch:
                solve(start, stop, (*self._arrays, self._trace))
                return
            own = np.zeros_like(self._trace)
            solve(start, stop, (*self._arrays, own))
            with lock:
                np.maximum(self._trace, own, out=self._trace)

        over_sequences(run, n_batch, self._n_values)
        return FusedOutcome(*self._arrays, self._trace)


def tiles(special: Specialization, n_rows: int) -> Any:
    """Return the compiled function that allocates ``(n_rows, TILE)`` states, like an array."""
    values = local(n_rows * TILE)
    shaped = known(Layout.contiguous((n_rows, TILE), np.dtype(special.shapes.dtype).itemsize))
    return inlined(lambda like: shaped(values(like)))


def evaluate(special: Specialization, derive: Any) -> Any:
    """Return the compiled function that evaluates the step, and `derive`, on a tile.

    Parameters
    ----------
    special : Specialization
        The step.
    derive : compiled function
        ``derive(state, x, params, p, A)`` sets what belongs to position `p` of
        the tile in `A`.
    """
    n, m = special.shapes.n_state, special.shapes.n_inputs
    step, argument = special.step, special.argument
    new_state, new_input = special.state, special.input

    def evaluate(y_prev: Any, u: Any, params: Any, count: int, f: Any, A: Any) -> None:
        state, image, numbers = new_state(y_prev), new_state(y_prev), new_input(u)
        for p in range(count):
            for i in range(n):
                state[i] = y_prev[i, p]
                image[i] = np.nan
            for i in range(m):
                numbers[i] = u[i, p]
            x = argument(numbers)
            step(state, x, params, image)
            derive(state, x, params, p, A)
            for i in range(n):
                f[i, p] = image[i]

    return inlined(evaluate)


def test(special: Specialization) -> Any:
    """Return the compiled function that takes the largest residuals of a tile's positions.

    ``excess`` is 1 where one of them fails the test, else 0.
    """
    n, infinite = special.shapes.n_state, special.number(np.inf)

    def test(y: Any, count: int, rtol: Any, atol: Any, f: Any, error: Any, excess: Any) -> None:
        for p in range(count):
            error[p] = 0
            excess[p] = 0
        for i in range(n):
            tolerance = atol[i]
            for p in range(count):
                now = y[i, p]
                r = abs(now - f[i, p])
                r = r if r < infinite else infinite
                passes = (r <= tolerance + rtol * abs(now)) & (r < infinite)
                excess[p] = excess[p] if passes else 1
                error[p] = r if r > error[p] else error[p]

    return inlined(test)
