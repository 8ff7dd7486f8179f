"""The Bogacki-Shampine pair of orders 3 and 2."""

from __future__ import annotations

import numpy as np

from seqsolve.ivp._explicit import EmbeddedRungeKutta
from seqsolve.ivp._method import NDArray, Points, cubic


class RK23(EmbeddedRungeKutta):
    """Bogacki and Shampine's method of order 3, with the cubic through both ends.

    References
    ----------
    .. [1] P. Bogacki, L. F. Shampine, "A 3(2) pair of Runge-Kutta formulas",
       Appl. Math. Lett. 2, 1989.
    """

    name = "RK23"
    order = 3
    error_order = 2
    degree = 3
    c = np.array([0, 1 / 2, 3 / 4])
    A = np.array([[0, 0, 0], [1 / 2, 0, 0], [0, 3 / 4, 0]])
    b = np.array([2 / 9, 1 / 3, 4 / 9])
    e = np.array([-5 / 72, 1 / 12, 1 / 9, -1 / 8])

    def interpolant(self, at: Points, y_new: NDArray, K: NDArray) -> NDArray:
        """Return the cubics through both ends and their derivatives."""
        return cubic(at, y_new, K[0], K[-1])
