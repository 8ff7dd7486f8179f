"""What `solve_ivp` returns."""

from __future__ import annotations

from dataclasses import dataclass

from seqsolve.ivp._dense import DenseOutput
from seqsolve.ivp._method import Method, NDArray
from seqsolve.ivp._rhs import RightHandSide


@dataclass(frozen=True)
class Trajectory:
    """The recurrence that a solution solves.

    Parameters
    ----------
    method : Method
        Its step.
    rhs : RightHandSide
        The equation.
    t : ndarray, shape (n_points,)
        The mesh; one after the other those of several trajectories.
    y : ndarray, shape (n_points, n)
        The states on it.
    lane : ndarray, shape (n_points,), or None
        Which of several trajectories each point belongs to.
    """

    method: Method
    rhs: RightHandSide
    t: NDArray
    y: NDArray
    lane: NDArray | None = None


@dataclass(frozen=True)
class OdeResult:
    """The solution of an initial value problem, and what it took.

    Parameters
    ----------
    t : ndarray, shape (n_points,)
        Times: `t_eval`, or the mesh.
    y : ndarray, shape (n, n_points)
        States at these times.
    sol : DenseOutput or None
        The trajectory as a function of time, with ``dense_output=True``.
    t_events : list of ndarray, or None
        For each event, when it happened.
    y_events : list of ndarray, or None
        For each event, the states then, of shape ``(n_happened, n)``.
    nfev : int
        Points at which `fun` was evaluated, those for differences included.
    njev : int
        Points at which its Jacobian was evaluated.
    nlu : int
        Linear systems factorised.
    depth : int
        Calls of `fun` and `jac` that had to be made one after the other, each
        on as many points as there were: to be compared with the `nfev` of a
        sequential solver.
    n_sequential : int
        Steps that were made one after the other because solving them together
        failed, or because the tolerances are too loose for it to pay.
    status : int
        0: the end was reached; 1: a terminal event happened; -1: the
        integration could not go on.
    message : str
        What happened.
    success : bool
        Whether the end or a terminal event was reached.
    trajectory : Trajectory
        The recurrence that was solved, for gradients.
    """

    t: NDArray
    y: NDArray
    sol: DenseOutput | None
    t_events: list[NDArray] | None
    y_events: list[NDArray] | None
    nfev: int
    njev: int
    nlu: int
    depth: int
    n_sequential: int
    status: int
    message: str
    success: bool
    trajectory: Trajectory

    def __repr__(self) -> str:
        return (
            f"OdeResult(t of shape {self.t.shape}, y of shape {self.y.shape}, "
            f"status={self.status}, nfev={self.nfev}, depth={self.depth}, "
            f"message={self.message!r})"
        )
