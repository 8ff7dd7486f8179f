"""Standard initial value problems, as a user of SciPy writes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp


@dataclass(frozen=True)
class Ode:
    """An equation with an interval and an initial state."""

    fun: Callable[..., Any]
    t_span: tuple[float, float]
    y0: tuple[float, ...]
    stiff: bool = False

    @property
    def method(self) -> str:
        return "LSODA" if self.stiff else "DOP853"


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
}


@cache
def reference(name: str, n_points: int = 60) -> tuple[Any, Any]:
    """Return times and accurate states of a problem."""
    ode = PROBLEMS[name]
    t = np.linspace(*ode.t_span, n_points)
    rtol = 1e-12 if ode.stiff else 3e-13
    sol = solve_ivp(ode.fun, ode.t_span, ode.y0, ode.method, t, rtol=rtol, atol=1e-15)
    return t, sol.y


def error(name: str, y: Any, rtol: float, atol: float) -> float:
    """Return the largest error at the reference's times, in units of the tolerance."""
    exact = reference(name)[1]
    size = np.abs(exact).max(axis=1, keepdims=True)
    return float((np.abs(y - exact) / (atol + rtol * size)).max())
