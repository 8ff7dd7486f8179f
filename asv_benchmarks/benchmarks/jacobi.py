"""The Jacobi family on a contractive recurrence."""

from __future__ import annotations

from typing import Any

import numpy as np

import seqsolve

from .common import BACKENDS, Benchmark

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
