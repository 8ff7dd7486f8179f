"""The recurrences of the demonstration, each with the loop that a user would write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from seqsolve.models import GRU

NDArray = npt.NDArray[Any]


@dataclass(frozen=True)
class Example:
    """A recurrence to solve.

    Parameters
    ----------
    name : str
        For tables and legends.
    description : str
        What it is.
    f, jac, x, y0
        As `seqsolve.deer` takes them.
    loop : callable
        Returns the trajectory, step by step, in plain NumPy.
    """

    name: str
    description: str
    f: Any
    jac: Any
    x: NDArray
    y0: NDArray
    loop: Callable[[], NDArray]


def examples(n_steps: int) -> list[Example]:
    """Return the three recurrences of the demonstration."""
    return [gru(1, n_steps), gru(4, n_steps), catchment(n_steps)]


def gru(n_units: int, n_steps: int, *, n_inputs: int = 4) -> Example:
    """Return a gated recurrent unit with random weights on random input."""
    cell = GRU.random(n_inputs, n_units, dtype=np.float32, rng=0)
    weights = {name: np.asarray(p) for name, p in cell.params.items()}
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n_steps, n_inputs), dtype=np.float32)
    y0 = np.zeros(n_units, dtype=np.float32)
    n_logistic = 2 * n_units

    weight_hh, bias_hh = weights["weight_hh"], weights["bias_hh"]

    def f(h: NDArray, gates: NDArray) -> NDArray:
        hidden = weight_hh @ h + bias_hh
        rz = expit(gates[:n_logistic] + hidden[:n_logistic])
        r, z = rz[:n_units], rz[n_units:]
        n = np.tanh(gates[n_logistic:] + r * hidden[n_logistic:])
        new: NDArray = n + z * (h - n)
        return new

    def loop() -> NDArray:
        return _loop(f, x @ weights["weight_ih"].T + weights["bias_ih"], y0)

    units = "1 unit" if n_units == 1 else f"{n_units} units"
    return Example(
        f"GRU, {units}",
        f"gated recurrent unit of {units}, {n_inputs} inputs: seqsolve.models.GRU, float32",
        cell,
        None,
        x,
        y0,
        loop,
    )


def catchment(n_steps: int) -> Example:
    """Return the water stored under a catchment, hour by hour (Wittenberg, 1999).

    Rain fills a store; it empties by evaporation, which is limited where the
    store is nearly dry, and by outflow that grows with its square.
    """
    x = np.stack(_weather(n_steps), axis=-1)
    y0 = np.array([60.0])

    def f(storage: NDArray, weather: NDArray) -> NDArray:
        rain, demand = weather[..., :1], weather[..., 1:]
        evaporation = demand * storage / (storage + 20)
        outflow = (storage / 250) ** 2
        new: NDArray = storage + rain - evaporation - outflow
        return new

    def jac(storage: NDArray, weather: NDArray) -> NDArray:
        demand = weather[..., 1:]
        slope: NDArray = 1 - 20 * demand / (storage + 20) ** 2 - 2 * storage / 250**2
        return slope

    return Example(
        "catchment",
        "hourly store of water: rain, evaporation, outflow; f and jac by hand, float64",
        f,
        jac,
        x,
        y0,
        lambda: _loop(f, x, y0),
    )


def _loop(f: Callable[[NDArray, NDArray], NDArray], x: NDArray, y0: NDArray) -> NDArray:
    y = np.empty((len(x), *y0.shape), dtype=y0.dtype)
    state = y0
    for t in range(len(x)):
        state = f(state, x[t])
        y[t] = state
    return y


def _weather(n_steps: int) -> tuple[NDArray, NDArray]:
    """Return hourly rain (about 900 mm a year) and evaporative demand (about 1,000), in mm."""
    rng = np.random.default_rng(0)
    hour = np.arange(n_steps)
    rain = np.zeros(n_steps)
    for start in np.flatnonzero(rng.random(n_steps) < 1 / 90):
        rain[start : start + rng.integers(2, 12)] += rng.exponential(1.5)
    season = 1 + 0.8 * np.sin(2 * np.pi * (hour / 8766 - 0.3))
    daylight = np.maximum(0, np.sin(2 * np.pi * (hour / 24 - 0.25)))
    return rain, 0.38 * season * daylight
