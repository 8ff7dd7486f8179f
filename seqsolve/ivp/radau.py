"""Radau's method of order 5 for stiff problems."""

from __future__ import annotations

import numpy as np

from seqsolve.ivp._implicit import ImplicitRungeKutta, ImplicitTape
from seqsolve.ivp._method import Attempt, NDArray, Points
from seqsolve.ivp._rhs import RightHandSide
from seqsolve.ivp._stage_equations import OneJacobian, solve_stages

_R = 6**0.5


class Radau(ImplicitRungeKutta):
    """Radau IIA with three stages, L-stable; its collocation polynomial interpolates.

    The error is that of an embedded formula of order 3, filtered by
    ``(gamma / h - J)^-1`` so that it stays bounded for stiff components.

    References
    ----------
    .. [1] E. Hairer, G. Wanner, "Solving Ordinary Differential Equations II",
       section IV.8.
    """

    name = "Radau"
    order = 5
    error_order = 3
    degree = 3
    takes_mass = True
    A = np.array(
        [
            [(88 - 7 * _R) / 360, (296 - 169 * _R) / 1800, (-2 + 3 * _R) / 225],
            [(296 + 169 * _R) / 1800, (88 + 7 * _R) / 360, (-2 - 3 * _R) / 225],
            [(16 - _R) / 36, (16 + _R) / 36, 1 / 9],
        ]
    )
    c = np.array([(4 - _R) / 10, (4 + _R) / 10, 1])
    e = np.array([-13 - 7 * _R, -13 + 7 * _R, -1]) / 3
    #: Coefficients, from degree 1, of the polynomials that are 1 at one stage and 0 at the others.
    polynomials = np.linalg.inv(c[:, None] ** np.arange(1, 4))
    gamma = 3 + 3 ** (2 / 3) - 3 ** (1 / 3)
    coefficients = ("A", "c", "e", "polynomials")

    def attempt(
        self, rhs: RightHandSide, at: Points, *, f: NDArray | None = None, dense: bool = True
    ) -> Attempt:
        """Make the steps, estimating errors by the embedded formula."""
        if f is None:
            f, J = rhs.linearized(at.t, at.y, at.lane)
        else:
            J = rhs.jacobian(at.t, at.y, f, at.lane)
        systems = self.systems(rhs, at, J)
        return self.made(rhs, at, self.stages(rhs, at, systems), f, J, systems)

    def made(
        self,
        rhs: RightHandSide,
        at: Points,
        Z: NDArray,
        f: NDArray,
        J: NDArray,
        systems: OneJacobian | None = None,
    ) -> Attempt:
        """Return the steps, from their stages ``(m, s, n)`` and derivatives at the beginning."""
        h = at.h[:, None]
        change = rhs.weighed(np.tensordot(self.e, Z, (0, 1))) / h
        # gamma is the inverse of the tableau's real eigenvalue.
        scaled = h / self.gamma
        right = scaled * (f + change)
        if systems is None:
            one = np.ones_like(self.c[-1:, None])
            error = solve_stages(rhs, one, J[:, None], scaled[:, 0], right[:, None])[:, 0]
        else:
            error = systems.solve_real(right)
        return Attempt(at.y + Z[:, -1], error, self._interpolant(at.y, Z))

    def taped(self, rhs: RightHandSide, at: Points, *, dense: bool) -> ImplicitTape:
        """Make the steps and keep their stages, on which the interpolants rest too."""
        return ImplicitTape(self, rhs, at, self.polynomials)

    def _interpolant(self, y: NDArray, Z: NDArray) -> NDArray:
        """Return the coefficients of the cubics through the state and the three stages."""
        return np.concatenate([y[None], np.tensordot(self.polynomials, Z, (1, 1))])
