"""Standard initial value problems, as a user of SciPy writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Ode:
    """An equation with an interval and an initial state."""

    fun: Callable[..., Any]
    t_span: tuple[float, float]
    y0: tuple[float, ...]
    stiff: bool = False


def harmonic(t, y):
    x, v = y
    return [v, -x]


def pendulum(t, y):
    return [y[1], -np.sin(y[0])]


def lotka_volterra(t, z, a=1.5, b=1, c=3, d=1):
    x, y = z
    return [a * x - b * x * y, -c * y + d * x * y]


def van_der_pol(mu):
    return lambda t, y: [y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]]


def kepler(t, z):
    x, y, u, v = z
    cube = (x * x + y * y) ** 1.5
    return [u, v, -x / cube, -y / cube]


def sir(t, y):
    s, i, _ = y
    return [-0.5 * s * i, 0.5 * s * i - 0.1 * i, 0.1 * i]


def fitzhugh_nagumo(t, y):
    v, w = y
    return [v - v**3 / 3 - w + 0.5, 0.08 * (v + 0.7 - 0.8 * w)]


def brusselator(t, y):
    return [1 + y[0] ** 2 * y[1] - 4 * y[0], 3 * y[0] - y[0] ** 2 * y[1]]


def lorenz(t, z):
    x, y, w = z
    return [10 * (y - x), x * (28 - w) - y, x * y - 8 / 3 * w]


def robertson(t, y):
    slow, fast, square = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return [fast - slow, slow - fast - square, square]


def hires(t, y):
    a, b = 280 * y[5] * y[7], 1.81 * y[6]
    return [
        -1.71 * y[0] + 0.43 * y[1] + 8.32 * y[2] + 0.0007,
        1.71 * y[0] - 8.75 * y[1],
        -10.03 * y[2] + 0.43 * y[3] + 0.035 * y[4],
        8.32 * y[1] + 1.71 * y[2] - 1.12 * y[3],
        -1.745 * y[4] + 0.43 * y[5] + 0.43 * y[6],
        -a + 0.69 * y[3] + 1.71 * y[4] - 0.43 * y[5] + 0.69 * y[6],
        a - b,
        -a + b,
    ]


def oregonator(t, y):
    return [
        77.27 * (y[1] + y[0] * (1 - 8.375e-6 * y[0] - y[1])),
        (y[2] - (1 + y[0]) * y[1]) / 77.27,
        0.161 * (y[0] - y[2]),
    ]


PROBLEMS = {
    "harmonic": Ode(harmonic, (0, 20), (1.0, 0.0)),
    "pendulum": Ode(pendulum, (0, 20), (1.0, 0.5)),
    "lotka_volterra": Ode(lotka_volterra, (0, 50), (10.0, 5.0)),
    "van_der_pol_5": Ode(van_der_pol(5.0), (0, 30), (2.0, 0.0)),
    "kepler": Ode(kepler, (0, 20), (0.4, 0.0, 0.0, 2.0)),
    "sir": Ode(sir, (0, 100), (0.99, 0.01, 0.0)),
    "fitzhugh_nagumo": Ode(fitzhugh_nagumo, (0, 100), (-1.0, 1.0)),
    "brusselator": Ode(brusselator, (0, 20), (1.5, 3.0)),
    "lorenz": Ode(lorenz, (0, 10), (1.0, 1.0, 1.0)),
    "robertson": Ode(robertson, (0, 1e4), (1.0, 0.0, 0.0), stiff=True),
    "van_der_pol_1000": Ode(van_der_pol(1000.0), (0, 2000), (2.0, 0.0), stiff=True),
    "hires": Ode(hires, (0, 321.8122), (1.0, 0, 0, 0, 0, 0, 0, 0.0057), stiff=True),
    "oregonator": Ode(oregonator, (0, 360), (1.0, 2.0, 3.0), stiff=True),
}


@cache
def references() -> dict[str, Any]:
    """Return what `ode_references.py` computed: times and states of every problem."""
    return json.loads((Path(__file__).parent / "ode_references.json").read_text())


def reference(name: str) -> tuple[Any, Any]:
    """Return times ``(k,)`` and states ``(n, k)`` of a problem, exact to some 1e-13."""
    entry = references()[name]
    return np.array(entry["t"]), np.array(entry["y"])


def error(name: str, y: Any, rtol: float, atol: float) -> float:
    """Return the largest error at the reference's times, in units of the tolerance."""
    exact = reference(name)[1]
    size = np.abs(exact).max(axis=1, keepdims=True)
    return float((np.abs(y - exact) / (atol + rtol * size)).max())
