"""What a solve is asked for, and the size of errors against it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from seqsolve.ivp._method import Attempt, Method, NDArray, Points, rms
from seqsolve.ivp._rhs import RightHandSide

#: A step is this much shorter than its error asks for, and shrinks and grows at most by these.
_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 10.0


@dataclass(frozen=True)
class Control:
    """The equation, the method and the tolerances of a solve.

    Parameters
    ----------
    rhs : RightHandSide
        The equation.
    method : Method
        The method.
    rtol, atol : ndarray, shape () or (n,)
        Tolerances of every step.
    max_step : float
        The largest step, positive.
    end : float
        Where the integration ends.
    direction : float
        1 forwards, -1 backwards.
    """

    rhs: RightHandSide
    method: Method
    rtol: NDArray
    atol: NDArray
    max_step: float
    end: float
    direction: float

    def on_backend(self) -> Control:
        """Return the same with states in the backend's arrays, if the method can."""
        if not self.method.coefficients:
            return self
        backend = self.rhs.backend
        return replace(
            self,
            rhs=self.rhs.on_backend(),
            method=self.method.on(backend),
            rtol=backend.asarray(self.rtol),
            atol=backend.asarray(self.atol),
        )

    def attempt(self, at: Points, *, f: NDArray | None = None, dense: bool = True) -> Attempt:
        """Make steps."""
        return self.method.attempt(self.rhs, at, f=f, dense=dense)

    def errors(self, at: Points, made: Attempt) -> NDArray:
        """Return each step's error, in units of the tolerance; infinite where there is none."""
        size = self.method.norm(made.error, self._scale(at, made))
        return np.where(np.isfinite(size) & np.isfinite(made.y).all(axis=1), size, np.inf)

    def sizes(self, change: NDArray, at: Points, made: Attempt) -> NDArray:
        """Return the sizes of changes of new states, likewise."""
        size = rms(change / self._scale(at, made))
        return np.where(np.isfinite(size), size, np.inf)

    def _scale(self, at: Points, made: Attempt) -> NDArray:
        return self.scale(np.maximum(np.abs(at.y), np.abs(made.y)))

    def scale(self, size: NDArray) -> NDArray:
        """Return the tolerated errors of states of some sizes; not zero, even where these are."""
        scale: NDArray = np.maximum(self.atol + self.rtol * size, np.finfo(float).tiny)
        return scale

    def factor(self, error: NDArray) -> NDArray:
        """Return by what to multiply steps so that their errors become those tolerated."""
        with np.errstate(divide="ignore"):
            factor: NDArray = error ** (-1 / (self.method.error_order + 1))
        return factor

    def next_sizes(self, h: NDArray, error: NDArray, again: NDArray) -> NDArray:
        """Return the sizes of the steps after some, or in place of those that are rejected.

        Parameters
        ----------
        h : ndarray, shape (m,)
            Sizes, positive.
        error : ndarray, shape (m,)
            Errors, in units of the tolerance; with more than 1 a step is rejected.
        again : ndarray of bool, shape (m,)
            Whether a larger step was rejected before; then the next does not grow.
        """
        most = np.where(again, 1.0, _GROW)
        sizes: NDArray = h * np.clip(_SAFETY * self.factor(error), _SHRINK, most)
        return sizes

    def smallest_step(self, t: NDArray) -> NDArray:
        """Return the smallest steps that make sense at some times."""
        smallest: NDArray = 10 * np.abs(np.nextafter(t, self.direction * np.inf) - t)
        return smallest
