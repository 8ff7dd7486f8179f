"""The trapezoidal rule."""

from __future__ import annotations

import numpy as np

from seqsolve.ivp._implicit import ImplicitRungeKutta


class Trapezoid(ImplicitRungeKutta):
    """The A-stable method of order 2; errors by step doubling."""

    name = "Trapezoid"
    order = 2
    error_order = 2
    A = np.array([[0, 0], [1 / 2, 1 / 2]])
    c = np.array([0.0, 1.0])
