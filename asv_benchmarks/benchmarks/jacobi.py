"""The Jacobi family on a contractive recurrence."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import seqsolve

from .common import BACKENDS, Benchmark, fastest, gru_problem

N_STEPS = 20_000
BLOCK = 100


class Sweeps(Benchmark):
    """Time and sweeps of each method; the gain is how strongly a step depends on the last."""

    param_names = ("backend", "method", "gain")
    params = (BACKENDS, ("jacobi", "gs_jacobi", "jacobi_gs"), (0.3, 0.9))

    def prepare(self, method: str, gain: float) -> None:
        x = self.asarray(np.random.default_rng(0).standard_normal((N_STEPS, 4)))
        y0 = self.asarray(np.zeros(4))
        self.h = seqsolve.triangular_map(
            lambda y, x: np.tanh(gain * y + x), x, y0, backend=self.backend
        )
        self.guess = self.asarray(np.zeros((N_STEPS, 4)))
        self.method = getattr(seqsolve, method)
        self.options = {} if method == "jacobi" else {"block_size": BLOCK}

    def solve(self) -> Any:
        solution = self.method(self.h, self.guess, backend=self.backend, **self.options)
        self.backend.synchronize()
        return solution

    def time_solve(self, *_: Any) -> None:
        self.solve()

    def track_sweeps(self, *_: Any) -> int:
        return self.solve().nit

    track_sweeps.unit = "sweeps"


class FusedSweeps(Benchmark):
    """Compiled sweeps of a GRU as an element step; what stepping it takes is the measure."""

    param_names = ("backend", "method", "n")
    params = (("numba",), ("jacobi", "gs_jacobi", "jacobi_gs"), (1, 2))

    def prepare(self, method: str, n: int) -> None:
        cell, self.x, self.y0 = gru_problem(n, N_STEPS)
        self.step = cell.element_step()
        self.h = seqsolve.triangular_map(self.step, self.x, self.y0, backend=self.backend)
        self.guess = np.zeros((N_STEPS, n), np.float32)
        self.method = getattr(seqsolve, method)
        self.options = {"window" if method == "jacobi" else "block_size": 10 * BLOCK}
        self.time_solve()

    def time_solve(self, *_: Any) -> None:
        self.method(self.h, self.guess, on_failure="raise", **self.options)

    def track_stepping(self, *_: Any) -> float:
        def step() -> None:
            seqsolve.sequential(self.step, self.x, self.y0, backend=self.backend)

        calls = {"sweeps": self.time_solve, "stepping": step}
        best = fastest(calls, timer=time.process_time)
        return best["sweeps"] / best["stepping"]

    track_stepping.unit = "times as long"
