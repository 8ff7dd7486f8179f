"""One trajectory of an initial value problem, without stiffness and with, and many states."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import scipy.integrate

import seqsolve

from .common import NDArray


def lotka_volterra(t: NDArray, y: NDArray) -> Any:
    """Prey and predators, over twelve periods."""
    return [1.5 * y[0] - y[0] * y[1], -3 * y[1] + y[0] * y[1]]


def van_der_pol(t: NDArray, y: NDArray) -> Any:
    """Relaxation oscillations, mu = 1000."""
    return [y[1], 1000 * (1 - y[0] ** 2) * y[1] - y[0]]


PROBLEMS: dict[str, dict[str, Any]] = {
    "RK45": {"fun": lotka_volterra, "t_span": (0, 50), "y0": [10.0, 5.0]},
    "DOP853": {"fun": lotka_volterra, "t_span": (0, 50), "y0": [10.0, 5.0]},
    "Radau": {"fun": van_der_pol, "t_span": (0, 2000), "y0": [2.0, 0.0]},
}


class Trajectory:
    param_names = ("method", "rtol")
    params = (tuple(PROBLEMS), (1e-3, 1e-6, 1e-10))

    def setup(self, method: str, rtol: float) -> None:
        self.options = PROBLEMS[method] | {"method": method, "rtol": rtol, "atol": 1e-3 * rtol}
        self.result = seqsolve.solve_ivp(**self.options)
        assert self.result.success
        assert np.isfinite(self.result.y).all()

    def time_solve_ivp(self, *_: Any) -> None:
        seqsolve.solve_ivp(**self.options)

    def peakmem_solve_ivp(self, *_: Any) -> None:
        seqsolve.solve_ivp(**self.options)

    def track_depth(self, *_: Any) -> int:
        return self.result.depth

    def track_steps(self, *_: Any) -> int:
        return int(self.result.t.size - 1)

    def time_vjp(self, *_: Any) -> None:
        seqsolve.ivp.vjp(self.result, np.ones_like(self.result.y))


class Heat:
    """The heat equation on a grid, stepped as SciPy steps it."""

    param_names = ("n_state", "jac_sparsity")
    params = ((30, 100, 300), (False, True))

    def setup(self, n: int, sparse: bool) -> None:
        def fun(t: NDArray, u: NDArray) -> NDArray:
            padded = np.concatenate([0 * u[:1], u, 0 * u[:1]])
            difference: NDArray = padded[2:] - 2 * u + padded[:-2]
            return difference * (n + 1) ** 2

        i = np.arange(n)
        u0 = np.sin(np.pi * (i + 1) / (n + 1))
        self.options = {
            "fun": fun, "t_span": (0, 0.2), "method": "Radau", "rtol": 1e-4, "atol": 1e-6,
            "jac_sparsity": abs(i - i[:, None]) <= 1 if sparse else None,
        }  # fmt: skip
        self.u0 = u0
        self.time_batch_of_one()

    def time_batch_of_one(self, *_: Any) -> None:
        assert seqsolve.solve_ivp(y0=self.u0[:, None], **self.options).success.all()

    def track_scipy_ratio(self, *_: Any) -> float:
        ours, theirs = np.inf, np.inf
        for _ in range(3):
            start = time.process_time()
            self.time_batch_of_one()
            ours = min(ours, time.process_time() - start)
            start = time.process_time()
            scipy.integrate.solve_ivp(y0=self.u0, **self.options)
            theirs = min(theirs, time.process_time() - start)
        return theirs / ours

    track_scipy_ratio.unit = "times as long"
