"""Compiled element steps: stepping through time, and fused Newton iterations."""

from __future__ import annotations

from typing import Any

import seqsolve

from .common import Benchmark, gru_problem

N_STEPS = 100_000


class Element(Benchmark):
    """A GRU as an element step, one sequence."""

    param_names = ("backend", "n")
    params = (("numba",), (1, 2, 4, 8, 16, 32))

    def prepare(self, n: int) -> None:
        cell, self.x, self.y0 = gru_problem(n, N_STEPS)
        self.step = cell.element_step()
        self.time_sequential()

    def time_sequential(self, *_: Any) -> None:
        seqsolve.sequential(self.step, self.x, self.y0, backend=self.backend)

    def peakmem_sequential(self, *_: Any) -> None:
        seqsolve.sequential(self.step, self.x, self.y0, backend=self.backend)


class FusedNewton(Element):
    """The same by Newton's method."""

    params = (("numba",), (1, 2))

    def prepare(self, n: int) -> None:
        super().prepare(n)
        self.time_deer()

    def time_deer(self, *_: Any) -> None:
        seqsolve.deer(
            self.step,
            None,
            self.x,
            self.y0,
            backend=self.backend,
            window=4096,
            on_failure="raise",
        )


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
