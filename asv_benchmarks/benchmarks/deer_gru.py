"""Newton's method on a GRU over a long sequence."""

from __future__ import annotations

from typing import Any

import seqsolve

from .common import BACKENDS, Benchmark, fastest, gru_loop, gru_problem

N_STEPS = 100_000
SIZES = (1, 2, 4, 8, 16, 32)


class _Forward(Benchmark):
    param_names = ("backend", "n")
    params = (BACKENDS, SIZES)

    def prepare(self, n: int) -> None:
        self.cell, x, y0 = gru_problem(n, N_STEPS)
        self.host = x, y0
        self.x, self.y0 = self.asarray(x), self.asarray(y0)
        self.solve()

    def solve(self) -> Any:
        solution = seqsolve.deer(
            self.cell, None, self.x, self.y0, backend=self.backend, on_failure="raise"
        )
        self.backend.synchronize()
        return solution


class Forward(_Forward):
    """Time, memory and iterations of one sequence."""

    def time_deer(self, backend: str, n: int) -> None:
        self.solve()

    def peakmem_deer(self, backend: str, n: int) -> None:
        self.solve()

    def track_iterations(self, backend: str, n: int) -> float:
        history = self.solve().history
        return sum(record.nit for record in history) / len(history)

    track_iterations.unit = "iterations/window"


class Speedup(_Forward):
    """How many times faster than a plain NumPy loop, in the same run."""

    def track_speedup(self, backend: str, n: int) -> float:
        best = fastest({"loop": lambda: gru_loop(self.cell, *self.host), "deer": self.solve})
        return best["loop"] / best["deer"]

    track_speedup.unit = "times"


class Batched(Benchmark):
    """Sixteen sequences: what the default window makes of them."""

    param_names = ("backend", "n")
    params = (BACKENDS, (4, 16))

    def prepare(self, n: int) -> None:
        self.cell, x, y0 = gru_problem(n, N_STEPS // 10, (16,))
        self.x, self.y0 = self.asarray(x), self.asarray(y0)
        self.time_deer()

    def time_deer(self, *_: Any) -> None:
        seqsolve.deer(self.cell, None, self.x, self.y0, backend=self.backend, on_failure="raise")
        self.backend.synchronize()
