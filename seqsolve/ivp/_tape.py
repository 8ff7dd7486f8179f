"""Steps that keep what they were made of, for their derivatives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

NDArray = npt.NDArray[Any]


class Pullback(NamedTuple):
    """Where cotangents of steps go.

    Parameters
    ----------
    y : ndarray, shape (m, n)
        Cotangents of the states at the beginning.
    t : ndarray, shape (k,)
        Where `fun` was evaluated on the way.
    points : ndarray, shape (k, n)
        The states there.
    f : ndarray, shape (k, n)
        Cotangents of the derivatives there.
    lane : ndarray, shape (k,), or None
        The trajectories to which these belong.
    """

    y: NDArray
    t: NDArray
    points: NDArray
    f: NDArray
    lane: NDArray | None

    def joined(self, other: Pullback) -> Pullback:
        """Return what two parts of one step add up to."""
        lane = None
        if self.lane is not None and other.lane is not None:
            lane = np.concatenate([self.lane, other.lane])
        t, points, f = (np.concatenate(pair) for pair in zip(self[1:4], other[1:4], strict=True))
        return Pullback(self.y + other.y, t, points, f, lane)


class Tape(ABC):
    """Many steps, with the evaluations of `fun` and of its Jacobian on which they rest."""

    @abstractmethod
    def jacobian(self) -> NDArray:
        """Return the Jacobians ``(m, n, n)`` of the new states, as exact as can be."""

    def rows(self, index: slice) -> Tape:
        """Return the tape of some of the steps; for methods that take bands."""
        raise NotImplementedError

    @abstractmethod
    def pull(self, w: NDArray, c_bar: NDArray | None = None) -> Pullback:
        """Pull cotangents back through the steps.

        Parameters
        ----------
        w : ndarray, shape (m, n)
            Cotangents of the new states.
        c_bar : ndarray, shape (degree + 1, m, n), or None
            Cotangents of the interpolants' coefficients; None: these have none.
        """


class ParabolaTape(Tape):
    """Steps whose interpolant is the parabola through the beginning, the middle and the end.

    Parameters
    ----------
    whole, half : Tape
        The steps, and those of half the size.
    """

    def __init__(self, whole: Tape, half: Tape) -> None:
        self._whole, self._half = whole, half

    def jacobian(self) -> NDArray:
        """Return the Jacobians of the new states."""
        return self._whole.jacobian()

    def rows(self, index: slice) -> ParabolaTape:
        """Return the tape of some of the steps."""
        return ParabolaTape(self._whole.rows(index), self._half.rows(index))

    def pull(self, w: NDArray, c_bar: NDArray | None = None) -> Pullback:
        """Pull cotangents back through both."""
        if c_bar is None:
            return self._whole.pull(w)
        # The parabolas have the coefficients y0, 4 M - E and 2 E - 4 M, where M and E are the
        # increments to the middle and to the end.
        middle, end = 4 * (c_bar[1] - c_bar[2]), 2 * c_bar[2] - c_bar[1]
        through = self._half.pull(middle).joined(self._whole.pull(w + end))
        return through._replace(y=through.y + c_bar[0] - middle - end)
