"""Batches of initial value problems, against SciPy in a loop."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import scipy.integrate

import seqsolve

from .common import BACKENDS, Benchmark

#: Trajectories that SciPy solves; its time for all is in proportion.
FEW = 20


def lotka_volterra(t: Any, y: Any) -> list[Any]:
    return [1.5 * y[0] - y[0] * y[1], -3 * y[1] + y[0] * y[1]]


def pendulum(t: Any, y: Any) -> list[Any]:
    return [y[1], -np.sin(y[0])]


def van_der_pol(t: Any, y: Any) -> list[Any]:
    return [y[1], 100 * (1 - y[0] ** 2) * y[1] - y[0]]


#: Function, end, and the range of initial states.
PROBLEMS = {
    "RK45": (lotka_volterra, 10.0, (1.0, 5.0)),
    "DOP853": (pendulum, 10.0, (-2.0, 2.0)),
    "Radau": (van_der_pol, 200.0, (-2.0, 2.0)),
}


class Sweep(Benchmark):
    """Time of a batch, and how much longer SciPy takes in a loop."""

    timeout = 300
    param_names = ("backend", "method", "n_trajectories", "rtol")
    params = (BACKENDS, tuple(PROBLEMS), (1, 1000, 10_000), (1e-3, 1e-6))

    def prepare(self, method: str, n_trajectories: int, rtol: float) -> None:
        if method == "Radau" and n_trajectories > 1000:
            raise NotImplementedError
        fun, end, bounds = PROBLEMS[method]
        self.y0 = np.random.default_rng(0).uniform(*bounds, (2, n_trajectories))
        self.options = {
            "fun": fun, "t_span": (0, end), "method": method, "rtol": rtol, "atol": rtol * 1e-3,
        }  # fmt: skip

    def solve(self) -> Any:
        y0 = self.asarray(self.y0)
        result = seqsolve.solve_ivp(y0=y0, backend=self.backend, **self.options)
        self.backend.synchronize()
        return result

    def time_solve(self, *_: Any) -> None:
        self.solve()

    def peakmem_solve(self, *_: Any) -> None:
        self.solve()

    def track_scipy_ratio(self, *_: Any) -> float:
        n = self.y0.shape[1]
        few = min(FEW, n)
        self.solve()
        ours, theirs = np.inf, np.inf
        for _ in range(3):
            start = time.process_time()
            self.solve()
            ours = min(ours, time.process_time() - start)
            start = time.process_time()
            for i in range(few):
                scipy.integrate.solve_ivp(y0=self.y0[:, i], **self.options)
            theirs = min(theirs, (time.process_time() - start) / few * n)
        return theirs / ours

    track_scipy_ratio.unit = "times as long"
