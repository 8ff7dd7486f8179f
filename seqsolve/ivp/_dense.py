"""Trajectories between mesh points."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqsolve.ivp._method import NDArray


class DenseOutput:
    """A trajectory as a polynomial on every step of its mesh.

    Parameters
    ----------
    ts : ndarray, shape (n_steps + 1,)
        The mesh, increasing or decreasing.
    coefficients : ndarray, shape (degree + 1, n_steps, n)
        Of the polynomials in ``(t - ts[i]) / (ts[i + 1] - ts[i])``, constants
        first.

    Attributes
    ----------
    ts : ndarray, shape (n_steps + 1,)
        The mesh.
    t_min, t_max : float
        The interval; beyond it the outer polynomials are continued.
    """

    def __init__(self, ts: NDArray, coefficients: NDArray) -> None:
        self.ts = ts
        self._sizes, self._coefficients = np.diff(ts), coefficients
        self._sign = -1.0 if ts[-1] < ts[0] else 1.0
        self._set_limits()

    def _set_limits(self) -> None:
        self.t_min, self.t_max = float(self.ts.min()), float(self.ts.max())

    def until(self, t: float) -> DenseOutput:
        """Return the trajectory up to a time within the interval.

        Parameters
        ----------
        t : float
            Where it is to end.
        """
        n_steps = int(np.searchsorted(self._sign * self.ts[:-1], self._sign * t))
        n_steps = max(1, min(n_steps, self._sizes.size))
        part = DenseOutput(self.ts[: n_steps + 1].copy(), self._coefficients[:, :n_steps])
        part.ts[-1] = t
        part._set_limits()
        return part

    def __call__(self, t: Any) -> NDArray:
        """Return the states at `t`.

        Parameters
        ----------
        t : float or array_like, shape (k,)
            Times.

        Returns
        -------
        ndarray, shape (n,) or (n, k)
            The states.
        """
        times = np.asarray(t, dtype=float)
        if times.ndim > 1:
            raise ValueError(f"`t` must be a float or a 1-D array; got shape {times.shape}.")
        y = self.rows(np.atleast_1d(times))
        return y.T if times.ndim else y[0]

    def rows(self, t: NDArray) -> NDArray:
        """Return the states at times ``(k,)``, as ``(k, n)``."""
        if not self._sizes.size:
            return np.repeat(self._coefficients[0], t.size, axis=0)
        i = np.searchsorted(self._sign * self.ts, self._sign * t, side="left") - 1
        i = np.clip(i, 0, self._sizes.size - 1)
        return polynomial(self._coefficients[:, i], (t - self.ts[i]) / self._sizes[i])


def polynomial(c: NDArray, theta: NDArray) -> NDArray:
    """Return polynomials, of coefficients ``(degree + 1, k, n)``, at ``(k,)``: ``(k, n)``."""
    y: NDArray = c[-1]
    for lower in c[-2::-1]:
        y = y * theta[:, None] + lower
    return y


def locate(ts: NDArray, ends: NDArray, t: NDArray, lane: NDArray) -> NDArray:
    """Return the first mesh point of a trajectory that is not before a time, or its last.

    Parameters
    ----------
    ts : ndarray, shape (n_points,)
        The meshes of all trajectories, one after the other.
    ends : ndarray, shape (n_trajectories,)
        Where each of them ends.
    t, lane : ndarray, shape (k,)
        Times, and the trajectories in which to look for them.
    """
    begins = np.append(0, ends[:-1])
    sign = -1.0 if (ts[ends - 1] < ts[begins]).any() else 1.0
    low, high = begins[lane], ends[lane] - 1
    while (low < high).any():
        middle = (low + high) // 2
        before = (low < high) & (sign * (ts[middle] - t) < 0)
        low, high = np.where(before, middle + 1, low), np.where(before, high, middle)
    return low
