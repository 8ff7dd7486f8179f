"""What `solve_ivp` returns."""

from __future__ import annotations

from dataclasses import dataclass

from seqsolve.ivp._batch_dense import BatchDenseOutput
from seqsolve.ivp._dense import DenseOutput
from seqsolve.ivp._method import NDArray
from seqsolve.ivp._trajectory import Trajectory

MESSAGES = {
    0: "The end of the interval was reached.",
    1: "A terminal event happened.",
    -1: "The step size the tolerances require is below the spacing of numbers.",
}


@dataclass(frozen=True)
class OdeResult:
    """The solution of an initial value problem, and what it took.

    Parameters
    ----------
    t : ndarray, shape (n_points,)
        Times: `t_eval`, or the mesh; for a batch without `t_eval` the beginning
        and the end.
    y : ndarray, shape (n, n_points) or ``(n, n_points, *batch)``
        States at these times; NaN where a trajectory of a batch ended before.
    sol : DenseOutput, BatchDenseOutput or None
        The trajectory as a function of time, with ``dense_output=True``.
    t_events : list of ndarray, or None
        For each event, when it happened; for a batch an array of its shape
        whose entries are arrays.
    y_events : list of ndarray, or None
        For each event, the states then, of shape ``(n_happened, n)``; for a
        batch an array of its shape whose entries are such arrays.
    nfev : int
        Points at which `fun` was evaluated, those for differences included.
    njev : int
        Points at which its Jacobian was evaluated.
    nlu : int
        Linear systems factorised.
    depth : int
        Calls of `fun` and `jac` that had to be made one after the other, each
        on as many points as there were: to be compared with the `nfev` of a
        sequential solver. Every call counts, those that find out whether
        `fun` takes many points too.
    n_sequential : int
        Steps that were made one after the other: all of them, or where solving
        them together failed. For a batch each is a step of every trajectory.
    status : int, or ndarray of int, shape batch
        0: the end was reached; 1: a terminal event happened; -1: the
        integration could not go on.
    message : str
        What happened.
    success : bool, or ndarray of bool, shape batch
        Whether the end or a terminal event was reached, for every trajectory.
    trajectory : object
        The recurrence that was solved. For `seqsolve.ivp.vjp`.

    Examples
    --------
    >>> import numpy as np, seqsolve
    >>> result = seqsolve.solve_ivp(
    ...     lambda t, y: -y, (0, 1), [1.0, 2.0], t_eval=[0.5, 1.0], rtol=1e-8
    ... )
    >>> result.success, result.status, result.message
    (True, 0, 'The end of the interval was reached.')
    >>> result.y.shape, bool(np.allclose(result.y[:, -1], [np.exp(-1), 2 * np.exp(-1)]))
    ((2, 2), True)
    """

    t: NDArray
    y: NDArray
    sol: DenseOutput | BatchDenseOutput | None
    t_events: list[NDArray] | None
    y_events: list[NDArray] | None
    nfev: int
    njev: int
    nlu: int
    depth: int
    n_sequential: int
    status: int | NDArray
    message: str
    success: bool | NDArray
    trajectory: Trajectory

    def __repr__(self) -> str:
        return (
            f"OdeResult(t of shape {self.t.shape}, y of shape {self.y.shape}, "
            f"status={self.status}, nfev={self.nfev}, depth={self.depth}, "
            f"message={self.message!r})"
        )
