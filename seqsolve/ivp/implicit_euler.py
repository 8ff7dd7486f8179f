"""The implicit Euler method."""

from __future__ import annotations

import numpy as np

from seqsolve.ivp._implicit import ImplicitRungeKutta


class ImplicitEuler(ImplicitRungeKutta):
    """The L-stable method of order 1; errors by step doubling."""

    name = "ImplicitEuler"
    order = 1
    error_order = 1
    takes_mass = True
    A = np.array([[1.0]])
    c = np.array([1.0])
