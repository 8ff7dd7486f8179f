"""The Dormand-Prince pair of orders 5 and 4."""

from __future__ import annotations

import numpy as np

from seqsolve.ivp._explicit import EmbeddedRungeKutta, combined
from seqsolve.ivp._method import NDArray, Points, cubic


class RK45(EmbeddedRungeKutta):
    """Dormand and Prince's method of order 5, with Shampine's interpolant of order 4.

    References
    ----------
    .. [1] J. R. Dormand, P. J. Prince, "A family of embedded Runge-Kutta
       formulae", J. Comp. Appl. Math. 6, 1980.
    .. [2] E. Hairer, S. P. Norsett, G. Wanner, "Solving Ordinary Differential
       Equations I", section II.6.
    """

    name = "RK45"
    order = 5
    error_order = 4
    degree = 4
    c = np.array([0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1])
    A = np.array(
        [
            [0, 0, 0, 0, 0, 0],
            [1 / 5, 0, 0, 0, 0, 0],
            [3 / 40, 9 / 40, 0, 0, 0, 0],
            [44 / 45, -56 / 15, 32 / 9, 0, 0, 0],
            [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0, 0],
            [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0],
        ]
    )
    b = np.array([35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84])
    e = np.array([71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])
    d = np.array(
        [
            -12715105075 / 11282082432,
            0,
            87487479700 / 32700410799,
            -10690763975 / 1880347072,
            701980252875 / 199316789632,
            -1453857185 / 822651844,
            69997945 / 29380423,
        ]
    )

    coefficients: tuple[str, ...] = (*EmbeddedRungeKutta.coefficients, "d")

    def interpolant(self, at: Points, y_new: NDArray, K: NDArray) -> NDArray:
        """Return the cubic through both ends, plus a term ``theta^2 (1 - theta)^2``."""
        c = cubic(at, y_new, K[0], K[-1])
        bump = at.h[:, None] * combined(self.d, K)
        return np.stack([c[0], c[1], c[2] + bump, c[3] - 2 * bump, bump])
