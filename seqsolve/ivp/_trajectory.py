"""The recurrence that a solution solves."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

from seqsolve.ivp._method import Method, NDArray
from seqsolve.ivp._rhs import RightHandSide


class Mesh(NamedTuple):
    """Times, and the states there.

    Parameters
    ----------
    t : ndarray, shape (n_points,)
        The mesh; one after the other those of several trajectories.
    y : ndarray, shape (n_points, n)
        The states on it.
    lane : ndarray, shape (n_points,), or None
        Which of several trajectories each point belongs to.
    """

    t: NDArray
    y: NDArray
    lane: NDArray | None = None


class Trajectory:
    """The recurrence that a solution solves.

    Parameters
    ----------
    method : Method
        Its step.
    rhs : RightHandSide
        The equation.
    make_mesh : callable
        Returns the mesh; called when it is asked for, once.

    Attributes
    ----------
    t, y, lane : ndarray
        The mesh, as in `Mesh`. That of a batch with very many steps is not
        kept: the batch is integrated again when it is asked for.
    """

    def __init__(self, method: Method, rhs: RightHandSide, make_mesh: Callable[[], Mesh]) -> None:
        self.method, self.rhs, self._make_mesh = method, rhs, make_mesh

    @cached_property
    def _mesh(self) -> Mesh:
        mesh = self._make_mesh()
        del self._make_mesh
        return mesh

    @property
    def t(self) -> NDArray:
        """The times."""
        return self._mesh.t

    @property
    def y(self) -> NDArray:
        """The states."""
        return self._mesh.y

    @property
    def lane(self) -> NDArray | None:
        """The trajectories to which the points belong."""
        return self._mesh.lane
