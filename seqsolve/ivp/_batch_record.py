"""The steps of a batch, as they are made."""

from __future__ import annotations

import numpy as np

from seqsolve.backend import Backend
from seqsolve.ivp._method import NDArray
from seqsolve.ivp._trajectory import Mesh

#: Bytes of the meshes that are kept without having been asked for.
MOST = 2**26


class Record:
    """Accepted steps, in the order in which they were made.

    Parameters
    ----------
    backend : Backend
        Whose arrays the states are.
    most : float
        Bytes; the record of more is thrown away.
    """

    def __init__(self, backend: Backend, most: float) -> None:
        self._backend, self._room = backend, most
        self._lane: list[NDArray] = []
        self._t: list[NDArray] = []
        self._y: list[NDArray] = []
        self._c: list[NDArray] = []

    @property
    def complete(self) -> bool:
        """Whether nothing was thrown away."""
        return self._room >= 0

    def add(self, lane: NDArray, t: NDArray, y: NDArray, c: NDArray | None = None) -> None:
        """Note the steps of some trajectories.

        Parameters
        ----------
        lane, t : ndarray, shape (m,)
            The trajectories, and where their steps end.
        y : array, shape (n, m)
            The states there.
        c : array, shape (degree + 1, m, n), or None
            Coefficients of the polynomials on the steps.
        """
        self._room -= lane.nbytes + t.nbytes + y.nbytes
        if not self.complete:
            self._lane, self._t, self._y, self._c = [], [], [], []
            return
        self._lane.append(lane)
        self._t.append(t)
        self._y.append(y)
        if c is not None:
            self._c.append(c)

    def mesh(self) -> Mesh:
        """Return the meshes, one trajectory after the other."""
        order = self._order()
        states = np.concatenate([self._backend.to_numpy(y) for y in self._y], axis=1)
        return Mesh(np.concatenate(self._t)[order], states.T[order], self.lane())

    def lane(self) -> NDArray:
        """Return to which trajectories the points of the meshes belong."""
        return np.sort(np.concatenate(self._lane))

    def coefficients(self) -> NDArray:
        """Return those of the steps that end at the mesh points; constants at the first."""
        parts = [self._backend.to_numpy(c) for c in self._c]
        start = self._backend.to_numpy(self._y[0])
        degree = max((len(c) for c in parts), default=1)
        first = np.zeros((degree, start.shape[1], start.shape[0]), start.dtype)
        first[0] = start.T
        c: NDArray = np.concatenate([first, *parts], axis=1)[:, self._order()]
        return c

    def _order(self) -> NDArray:
        return np.argsort(np.concatenate(self._lane), kind="stable")
