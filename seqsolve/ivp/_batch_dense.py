"""Many trajectories between their mesh points."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqsolve.ivp._dense import locate, polynomial
from seqsolve.ivp._method import NDArray


class BatchDenseOutput:
    """The trajectories of a batch as functions of time.

    Parameters
    ----------
    ts : ndarray, shape (n_points,)
        The meshes, one after the other.
    lane : ndarray, shape (n_points,)
        To which trajectory each point belongs.
    coefficients : ndarray, shape (degree + 1, n_points, n)
        Of the polynomials on the steps that end there.
    until : ndarray, shape (n_trajectories,)
        Where each trajectory ends.
    batch : tuple of int
        Shape of the batch.

    Attributes
    ----------
    t_min, t_max : float
        The interval, to where the trajectory ends that ends last.
    """

    def __init__(
        self,
        ts: NDArray,
        lane: NDArray,
        coefficients: NDArray,
        until: NDArray,
        batch: tuple[int, ...],
    ) -> None:
        self._ts, self._coefficients, self._batch = ts, coefficients, batch
        self._ends, self._until = np.cumsum(np.bincount(lane)), until
        self._sign = -1.0 if (until < ts[0]).any() else 1.0
        self.t_min = min(float(ts[0]), float(until.min()))
        self.t_max = max(float(ts[0]), float(until.max()))

    def __call__(self, t: Any) -> NDArray:
        """Return the states at `t`.

        Parameters
        ----------
        t : float or array_like, shape (k,)
            Times.

        Returns
        -------
        ndarray, shape ``(n, *batch)`` or ``(n, k, *batch)``
            The states; NaN where a trajectory ended before, and outside the interval.
        """
        times = np.asarray(t, dtype=float)
        if times.ndim > 1:
            raise ValueError(f"`t` must be a float or a 1-D array; got shape {times.shape}.")
        n_lanes = self._ends.size
        lane = np.tile(np.arange(n_lanes), times.size)
        at = np.repeat(np.atleast_1d(times), n_lanes)
        i = locate(self._ts, self._ends, at, lane)
        before = np.maximum(i - 1, 0)
        h = self._ts[i] - self._ts[before]
        theta = np.where(h != 0, (at - self._ts[before]) / np.where(h != 0, h, 1), 1.0)
        y = polynomial(self._coefficients[:, i], theta)
        inside = self._sign * (at - self._ts[0]) >= 0
        inside &= self._sign * (at - self._until[lane]) <= 0
        y[~inside] = np.nan
        out = y.T.reshape(y.shape[1], times.size, *self._batch)
        return out if times.ndim else out[:, 0]
