"""Many states: banded Jacobians of partial differential equations, and dense ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.integrate
from scipy.sparse import diags_array

import seqsolve

from .common import NDArray


def heat(n: int) -> dict[str, Any]:
    """The heat equation on a line."""

    def fun(t: Any, u: NDArray) -> NDArray:
        padded = np.concatenate([0 * u[:1], u, 0 * u[:1]])
        change: NDArray = (padded[2:] - 2 * u + padded[:-2]) * (n + 1) ** 2
        return change

    x = np.arange(1, n + 1) / (n + 1)
    u0 = np.sin(np.pi * x) + 0.3 * np.sin(7 * np.pi * x)
    return {"fun": fun, "t_span": (0, 0.2), "y0": u0, "jac_sparsity": pattern(n, 1)}


def brusselator(n: int) -> dict[str, Any]:
    """Two substances that react and diffuse, on ``n / 2`` points; Hairer and Wanner II, IV.10."""
    points = n // 2
    c = 0.02 * (points + 1) ** 2

    def diffusion(u: NDArray, edge: float) -> NDArray:
        ends = np.full_like(u[:1], edge)
        padded = np.concatenate([ends, u, ends])
        change: NDArray = c * (padded[2:] - 2 * u + padded[:-2])
        return change

    def fun(t: Any, y: NDArray) -> NDArray:
        u, v, change = y[0::2], y[1::2], np.empty_like(y)
        reaction = u * u * v
        change[0::2] = 1 + reaction - 4 * u + diffusion(u, 1.0)
        change[1::2] = 3 * u - reaction + diffusion(v, 3.0)
        return change

    y0 = np.full(n, 3.0)
    y0[0::2] = 1 + np.sin(2 * np.pi * np.arange(1, points + 1) / (points + 1))
    return {"fun": fun, "t_span": (0, 10), "y0": y0, "jac_sparsity": pattern(n, 2)}


def kuramoto(n: int) -> dict[str, Any]:
    """Phases of oscillators, each of which depends on all others; not stiff."""
    rng = np.random.default_rng(0)
    frequencies = rng.normal(size=n)

    def fun(t: Any, phase: NDArray) -> NDArray:
        s, c = np.sin(phase), np.cos(phase)
        own = frequencies.reshape(n, *(1,) * (phase.ndim - 1))
        change: NDArray = own + 2 * (c * s.mean(axis=0) - s * c.mean(axis=0))
        return change

    return {"fun": fun, "t_span": (0, 10), "y0": rng.uniform(-3, 3, n)}


def dense_brusselator(n: int) -> dict[str, Any]:
    """The Brusselator by those who do not say which states depend on which."""
    problem = brusselator(n)
    del problem["jac_sparsity"]
    return problem


def pattern(n: int, width: int) -> Any:
    """Return a matrix with some diagonals on either side."""
    offsets = range(-width, width + 1)
    return diags_array([np.ones(n - abs(k)) for k in offsets], offsets=offsets)


PROBLEMS: dict[str, Callable[[int], dict[str, Any]]] = {"heat": heat, "brusselator": brusselator}


DENSE = {"RK45": kuramoto, "Radau": dense_brusselator}


class ManyStates:
    """All steps together, or one after the other."""

    timeout = 600
    param_names = ("problem", "n_state", "rtol", "steps")
    params = (tuple(PROBLEMS), (100, 300, 1000, 3000), (1e-3, 1e-6), ("together", "one by one"))

    def setup(self, problem: str, n: int, rtol: float, steps: str) -> None:
        self._prepare(PROBLEMS[problem](n), "Radau", rtol, steps)

    def _prepare(self, problem: dict[str, Any], method: str, rtol: float, steps: str) -> None:
        self.theirs = problem | {"rtol": rtol, "atol": 1e-3 * rtol}
        self.ours = self.theirs | {"method": method, "steps": steps}
        self.result = self.solve()
        assert np.all(self.result.success)

    def solve(self) -> Any:
        return seqsolve.solve_ivp(**self.ours)

    def time_solve_ivp(self, *_: Any) -> None:
        self.solve()

    def time_vjp(self, *_: Any) -> None:
        seqsolve.ivp.vjp(self.result, np.ones_like(self.result.y))

    def peakmem_solve_ivp(self, *_: Any) -> None:
        self.solve()

    def track_depth(self, *_: Any) -> int:
        return int(self.result.depth)

    def track_scipy_radau_ratio(self, *_: Any) -> float:
        return self._ratio("Radau")

    def track_scipy_bdf_ratio(self, *_: Any) -> float:
        return self._ratio("BDF")

    def _ratio(self, method: str) -> float:
        """Return the quotient of the least processor times of runs in turn."""
        runs = (self.solve, lambda: scipy.integrate.solve_ivp(method=method, **self.theirs))
        least = [np.inf, np.inf]
        for _ in range(3):
            for i, run in enumerate(runs):
                start = time.process_time()
                run()
                least[i] = min(least[i], time.process_time() - start)
        return least[1] / least[0]

    track_scipy_radau_ratio.unit = "times as long"
    track_scipy_bdf_ratio.unit = "times as long"


class DenseStates(ManyStates):
    """The same where every derivative may depend on every state."""

    param_names = ("method", "n_state", "rtol", "steps")
    params = (tuple(DENSE), (4, 8, 16, 30, 100), (1e-3, 1e-6), ("together", "one by one"))  # type: ignore[assignment]

    def setup(self, method: str, n: int, rtol: float, steps: str) -> None:
        self.method = method
        self._prepare(DENSE[method](n), method, rtol, steps)

    def track_scipy_ratio(self, *_: Any) -> float:
        return self._ratio(self.method)

    track_scipy_ratio.unit = "times as long"
