"""The classical Runge-Kutta method."""

from __future__ import annotations

import numpy as np

from seqsolve.ivp._explicit import ExplicitRungeKutta


class RK4(ExplicitRungeKutta):
    """Kutta's method of order 4; errors by step doubling.

    References
    ----------
    .. [1] W. Kutta, "Beitrag zur näherungsweisen Integration totaler
       Differentialgleichungen", 1901.
    """

    name = "RK4"
    order = 4
    error_order = 4
    degree = 4
    c = np.array([0, 1 / 2, 1 / 2, 1])
    A = np.array([[0, 0, 0, 0], [1 / 2, 0, 0, 0], [0, 1 / 2, 0, 0], [0, 0, 1, 0]])
    b = np.array([1 / 6, 1 / 3, 1 / 3, 1 / 6])
