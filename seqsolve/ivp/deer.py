"""The exponential method of DEER."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from seqsolve.ivp._differences import displacement
from seqsolve.ivp._method import Method, NDArray, Points
from seqsolve.ivp._phi import Phi, phi, phi1_derivative
from seqsolve.ivp._rhs import RightHandSide
from seqsolve.ivp._stage_equations import linear_solve
from seqsolve.ivp._tape import Pullback, Tape

#: Iterations for the new states; steps that need more are not made.
MAXITER = 20

#: The new states are found when their increment is this small against the states.
TOLERANCE = 1e-11

#: Displacement of central differences, relative to the state.
_RELATIVE = float(np.finfo(float).eps) ** (1 / 3)

#: Displacement along the step, relative to it.
_ALONG = 1e-4


class DEER(Method):
    r"""The method of order 2 with which DEER was published; errors by step doubling.

    With ``G = -df/dy`` and ``z = f + G y``, both averaged over the step,

    .. math:: y_{i+1} = e^{-G h} y_i + h \varphi_1(-G h) z .

    The averages depend on the new state, so each step is a system of
    equations. Written for the increment ``d``, with ``J = -G``,

    .. math:: d = h \varphi_1(J h) \left(\frac{f_i + f_{i+1}}{2} - \frac{J_{i+1} d}{2}\right),

    its fixed-point iteration contracts by about ``h^2 |f''| |f| / 4``, however
    stiff the problem is; Newton's method with the leading terms of the
    derivative converges on longer steps. It begins at the exponential Euler
    step ``h phi1(J_i h) f_i``. A step on which it does not converge is not
    made, and becomes shorter. Linear equations with constant coefficients are
    solved exactly.

    References
    ----------
    .. [1] Y. H. Lim et al., "Parallelizing non-linear sequential models over
       the sequence length", arXiv:2309.12252, section 3.3 and appendix A.5.
    """

    name = "DEER"
    order = 2
    error_order = 2

    def step(self, rhs: RightHandSide, at: Points) -> NDArray:
        """Return the new states; NaN where they were not found."""
        m = len(at.t)
        f, J = _derivatives(rhs, at)
        h = at.h[:, None]
        d = h * _times(phi(h[:, None] * J).one, f)
        running = np.arange(m)
        size = np.abs(at.y).max(axis=1, initial=0)
        for _ in range(MAXITER):
            change = _increment(rhs, at.rows(running), f[running], J[running], d[running])
            d[running] += change
            limit = TOLERANCE * np.maximum(size[running], np.abs(d[running]).max(axis=1))
            largest = np.abs(change).max(axis=1)
            running = running[np.isfinite(largest) & ~(largest <= limit)]
            if not running.size:
                break
        d[running] = np.nan
        new: NDArray = at.y + d
        return new

    def linearize(self, rhs: RightHandSide, at: Points) -> tuple[NDArray, Callable[[], NDArray]]:
        """Return the new states, and a function that returns their Jacobians."""

        def moved(y: NDArray) -> NDArray:
            return self.step(rhs, _tiled(at, 2 * y.shape[1])._replace(y=y))

        return self.step(rhs, at), lambda: _columns(moved, at.y, displacement(at.y, _RELATIVE))

    def recorded(self, rhs: RightHandSide, at: Points) -> Tape:
        """Make the steps and keep the derivatives and Jacobians at both ends."""
        return DEERTape(self, rhs, at)


class DEERTape(Tape):
    """Steps with the derivatives and Jacobians at both ends.

    Parameters
    ----------
    method : DEER
        The method.
    rhs : RightHandSide
        The equation.
    at : Points
        Where the steps begin.
    """

    def __init__(self, method: DEER, rhs: RightHandSide, at: Points) -> None:
        n, h = at.y.shape[1], at.h[:, None]
        new, complete = method.linearize(rhs, at)
        self._jacobian, self._at = complete(), at
        self._end = Points(at.t + at.h, at.h, new, at.lane)
        self._d = d = new - at.y
        f, J = _derivatives(rhs, at)
        f_new, J_new = _derivatives(rhs, self._end)
        self._Z = h[:, None] * (J + J_new) / 2
        self._v = (f + f_new) / 2 - _times(J_new, d) / 2

        def residual(d: NDArray) -> NDArray:
            many = _tiled(at, 2 * n), np.tile(f, (2 * n, 1)), np.tile(J, (2 * n, 1, 1))
            return d - _image(rhs, *many, d)[0]

        self._M = _columns(residual, d, displacement(at.y, _RELATIVE))

    def jacobian(self) -> NDArray:
        """Return the Jacobians of the new states."""
        return self._jacobian

    def pull(self, w: NDArray, c_bar: NDArray | None = None) -> Pullback:
        """Pull cotangents of the new states back to the derivatives and Jacobians at both ends."""
        h, Z = self._at.h[:, None], self._Z
        mu = np.linalg.solve(self._M.swapaxes(1, 2), w[:, :, None])[:, :, 0]
        to_f = h * _times(phi(Z).one.swapaxes(1, 2), mu) / 2
        outer = mu[:, :, None] * self._v[:, None]
        to_J = h[:, None] ** 2 / 2 * phi1_derivative(Z.swapaxes(1, 2), outer)
        first = _evaluations(self._at, to_f, to_J)
        last = _evaluations(self._end, to_f, to_J - to_f[:, :, None] * self._d[:, None])
        y_bar = np.einsum("mkl,mk->ml", self._jacobian, w)
        return Pullback(y_bar, *first).joined(Pullback(0 * y_bar, *last))


def _increment(rhs: RightHandSide, at: Points, f: NDArray, J: NDArray, d: NDArray) -> NDArray:
    """Return what Newton's method adds to the increments `d`."""
    value, functions = _image(rhs, at, f, J, d)
    t, new = at.t + at.h, at.y + d
    # The derivative of the last Jacobian along d.
    bent = rhs.jacobian(t, new + _ALONG * d, None, at.lane, central=True)
    bent = (bent - rhs.jacobian(t, new - _ALONG * d, None, at.lane, central=True)) / (2 * _ALONG)
    M = np.eye(d.shape[1]) + at.h[:, None, None] / 2 * ((functions.one - functions.two) @ bent)
    usable = np.asarray(np.isfinite(M).all(axis=(1, 2)) & np.isfinite(value).all(axis=1))
    M = np.where(usable[:, None, None], M, np.eye(d.shape[1]))
    change = linear_solve(rhs, M, (value - d)[:, :, None])[:, :, 0]
    return np.where(usable[:, None], change, np.nan)


def _image(
    rhs: RightHandSide, at: Points, f: NDArray, J: NDArray, d: NDArray
) -> tuple[NDArray, Phi]:
    """Return the right-hand side of the equation for `d`, and the functions in it."""
    h = at.h[:, None]
    f_new, J_new = _derivatives(rhs, Points(at.t + at.h, at.h, at.y + d, at.lane))
    functions = phi(h[:, None] * (J + J_new) / 2)
    v = (f + f_new) / 2 - _times(J_new, d) / 2
    return h * _times(functions.one, v), functions


def _derivatives(rhs: RightHandSide, at: Points) -> tuple[NDArray, NDArray]:
    """Return the derivatives and their Jacobians at the states."""
    return rhs.linearized(at.t, at.y, at.lane, central=True)


def _evaluations(
    at: Points, f_bar: NDArray, J_bar: NDArray
) -> tuple[NDArray, NDArray, NDArray, NDArray | None]:
    """Return where `fun` is evaluated, and its cotangents there, for those of ``f`` and ``J``.

    A Jacobian is differences of derivatives.
    """
    n = at.y.shape[1]
    h = displacement(at.y, _RELATIVE)
    moves = np.eye(n)[:, None] * h
    points = np.concatenate([at.y[None], at.y + moves, at.y - moves])
    weights = np.moveaxis(J_bar / (2 * h[:, None]), -1, 0)
    f = np.concatenate([f_bar[None], weights, -weights])
    many = _tiled(at, 2 * n + 1)
    return many.t, points.reshape(-1, n), f.reshape(-1, n), many.lane


def _columns(f: Callable[[NDArray], NDArray], x: NDArray, h: NDArray) -> NDArray:
    """Return the Jacobians ``(m, n, n)`` of `f` at rows of `x`, by central differences.

    `f` is called once, on all displaced rows.
    """
    m, n = x.shape
    moves = np.eye(n)[:, None] * h
    values = f(np.concatenate([x + moves, x - moves]).reshape(-1, n)).reshape(2, n, m, n)
    J: NDArray = np.moveaxis(values[0] - values[1], 0, -1) / (2 * h[:, None])
    return J


def _tiled(at: Points, k: int) -> Points:
    """Return the points, all of them `k` times one after the other."""
    lane = None if at.lane is None else np.tile(at.lane, k)
    return Points(np.tile(at.t, k), np.tile(at.h, k), np.tile(at.y, (k, 1)), lane)


def _times(A: NDArray, b: NDArray) -> NDArray:
    """Return ``A b`` for rows of matrices and vectors."""
    product: NDArray = (A @ b[:, :, None])[:, :, 0]
    return product
