"""Compiled element steps: stepping through time, and fused Newton iterations."""

from __future__ import annotations

from typing import Any

import numpy as np

import seqsolve

from .common import Benchmark, gru_problem

N_STEPS = 100_000


class Element(Benchmark):
    """A GRU as an element step, one sequence."""

    param_names = ("backend", "n", "dtype")
    params = (("numba",), (1, 2, 4, 8, 16, 32), ("float32", "float64"))

    def prepare(self, n: int, dtype: str) -> None:
        cell, self.x, self.y0 = gru_problem(n, N_STEPS, dtype=dtype)
        self.step = cell.element_step()
        self.time_sequential()

    def time_sequential(self, *_: Any) -> None:
        seqsolve.sequential(self.step, self.x, self.y0, backend=self.backend)

    def peakmem_sequential(self, *_: Any) -> None:
        seqsolve.sequential(self.step, self.x, self.y0, backend=self.backend)


class FusedNewton(Benchmark):
    """The same by Newton's method; the update gates' bias shifted for a longer memory."""

    param_names = ("backend", "n", "shift", "dtype")
    params = (("numba",), (1, 2), (0.0, 5.0), ("float32", "float64"))

    def prepare(self, n: int, shift: float, dtype: str) -> None:
        cell, self.x, self.y0 = gru_problem(n, N_STEPS, dtype=dtype)
        bias = np.array(cell.params["bias_ih"])
        bias[n : 2 * n] += shift
        self.step = cell.with_params({"bias_ih": bias}).element_step()
        self.time_deer()

    def time_deer(self, *_: Any) -> None:
        self.solve()

    def solve(self) -> seqsolve.Solution:
        return seqsolve.deer(
            self.step,
            None,
            self.x,
            self.y0,
            backend=self.backend,
            window=4096,
            on_failure="raise",
        )

    def track_iterations(self, *_: Any) -> int:
        return self.solve().nit

    track_iterations.unit = "iterations"


class Batch(Benchmark):
    """Sixteen sequences, on threads."""

    param_names = ("backend", "n")
    params = (("numba",), (1, 4, 16))

    def prepare(self, n: int) -> None:
        cell, self.x, self.y0 = gru_problem(n, N_STEPS // 10, (16,))
        self.step = cell.element_step()
        self.time_sequential()

    def time_sequential(self, *_: Any) -> None:
        seqsolve.sequential(self.step, self.x, self.y0, backend=self.backend)
