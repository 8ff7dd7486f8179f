"""Gradients of a GRU with respect to its input, its parameters and its initial state."""

from __future__ import annotations

from typing import Any

import numpy as np

import seqsolve

from .common import BACKENDS, Benchmark, gru_problem

N_STEPS = 100_000


class Gradient(Benchmark):
    param_names = ("backend", "n")
    params = (BACKENDS, (1, 4, 16))

    def prepare(self, n: int) -> None:
        cell, x, y0 = gru_problem(n, N_STEPS)
        self.solution = seqsolve.deer(
            cell, None, self.asarray(x), self.asarray(y0), backend=self.backend, on_failure="raise"
        )
        rng = np.random.default_rng(1)
        self.cotangent = self.asarray(rng.standard_normal((N_STEPS, n), dtype=np.float32))
        self.pull_back()

    def pull_back(self) -> None:
        seqsolve.vjp(self.solution, self.cotangent)
        self.backend.synchronize()

    def time_vjp(self, *_: Any) -> None:
        self.pull_back()

    def peakmem_vjp(self, *_: Any) -> None:
        self.pull_back()
