"""One trajectory of an initial value problem, without stiffness and with."""

from __future__ import annotations

from typing import Any

import numpy as np

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
