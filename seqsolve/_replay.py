"""Along a solved trajectory: error bounds, Lyapunov exponents, and the message."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from seqsolve import _checks, _probe
from seqsolve._placement import placed
from seqsolve._problem import Problem, Sequences
from seqsolve._slopes import Slopes
from seqsolve.backend import Array
from seqsolve.element import ElementStep
from seqsolve.solution import Solution, Status

RENORMALISE_EVERY = 16
ENOUGH_STEPS = 16
N_ALONE = 4


def states(problem: Problem, y: Array) -> Array:
    """Return a trajectory as ``(n_steps, sequences, n_state)``."""
    return y.reshape(problem.n_steps, problem.n_sequences, problem.n_state)


def previous_states(problem: Problem, y: Array, rows: slice, sequences: Sequences = None) -> Array:
    """Return ``y[t-1]`` for some steps, ``y0`` before the first, on the backend."""
    backend = problem.backend
    flat = states(problem, y)
    if rows.start:
        part = backend.asarray(flat[rows.start - 1 : rows.stop - 1], dtype=problem.dtype)
    else:
        first = backend.asarray(problem.y0, dtype=problem.dtype)[None]
        rest = backend.asarray(flat[: max(rows.stop - 1, 0)], dtype=problem.dtype)
        part = backend.xp.concatenate([first, rest])[: rows.stop]
    return problem.take(part, sequences)


def recurrence_of(solution: Solution) -> Problem:
    """Return the recurrence that a solution solves."""
    if not isinstance(solution, Solution):
        raise TypeError(f"`solution` must be a Solution; got {type(solution).__name__}.")
    if solution.problem is None:
        raise ValueError(
            "`solution` must come from a recurrence (deer, deeppcr, sequential, or a Jacobi "
            "solver on triangular_map); this one comes from a general triangular system."
        )
    return solution.problem


@placed
def error_bound(solution: Solution) -> npt.NDArray[Any]:
    """Solve ``e[t] = |A[t]| e[t-1] + |r[t]|`` along the trajectory."""
    problem = recurrence_of(solution)
    backend, xp = problem.backend, problem.backend.xp
    dtype = _checks.real_dtype(problem.dtype)
    bound: npt.NDArray[Any] = xp.empty(problem.shape, dtype=dtype)
    carry = xp.zeros((problem.n_sequences, problem.n_state), dtype=dtype)
    if problem.n_steps == 0:
        return bound
    structure = problem.natural
    with np.errstate(all="ignore"):
        for rows in problem.blocks(problem.parallel_window(problem.natural)):
            y_prev = previous_states(problem, solution.y, rows)
            y = backend.asarray(states(problem, solution.y)[rows], dtype=problem.dtype)
            step = problem.bind(rows)
            r, A = xp.abs(y - step(y_prev)), xp.abs(step.jacobian(y_prev))
            e = backend.linear_recurrence(
                A,
                problem.lanes(r, structure),
                problem.lanes(carry[None], structure)[0],
                reverse=False,
                transpose=False,
                method="auto",
                out=None,
            ).reshape(y.shape)
            bound[rows] = e.reshape(e.shape[0], *problem.shape[1:])
            carry = e[-1]
    return bound


def exponents(problem: Problem, y: Array, sequences: Sequences, rows: slice) -> Any:
    """Return the mean growth of ``log |v|`` under ``v <- A[t] v``, per sequence."""
    xp = problem.backend.xp
    n = problem.n_sequences if sequences is None else len(sequences)
    rng = np.random.default_rng(0)
    v = problem.backend.asarray(rng.standard_normal((n, problem.n_state)), dtype=problem.dtype)
    v = v / _norm(xp, v)
    total = np.zeros(n)
    window = max(RENORMALISE_EVERY, problem.parallel_window(problem.natural))
    with np.errstate(all="ignore"):
        for start in range(rows.start, rows.stop, window):
            block = slice(start, min(start + window, rows.stop))
            A = problem.bind(block, sequences).jacobian(
                previous_states(problem, y, block, sequences)
            )
            for s in range(0, A.shape[0], RENORMALISE_EVERY):
                v, growth = _grow(problem, A[s : s + RENORMALISE_EVERY], v)
                total += growth
    return total / max(1, rows.stop - rows.start)


def _grow(problem: Problem, A: Array, v: Array) -> tuple[Array, Any]:
    """Return the direction of ``... A[1] A[0] v`` and the logarithm of its length.

    `v` has length 1, or 0 where a perturbation has died. What leaves the range
    of the dtype on the way is renormalised more often.
    """
    backend, structure = problem.backend, problem.natural
    xp = backend.xp
    zero = xp.zeros((A.shape[0], *v.shape), dtype=problem.dtype)
    grown = backend.linear_recurrence(
        A,
        problem.lanes(zero, structure),
        problem.lanes(v[None], structure)[0],
        reverse=False,
        transpose=False,
        method="auto",
        out=None,
    ).reshape(zero.shape)[-1]
    size = _norm(xp, grown)
    limits = np.finfo(problem.dtype)
    in_range = (size > limits.tiny / limits.eps) & (size < limits.max)
    if A.shape[0] > 1 and not bool((in_range | (v == 0).all(axis=-1, keepdims=True)).all()):
        half = A.shape[0] // 2
        v, first = _grow(problem, A[:half], v)
        v, second = _grow(problem, A[half:], v)
        return v, first + second
    return grown / xp.where(size > 0, size, 1), np.log(backend.to_numpy(size)[:, 0])


def tried_alone(solution: Solution) -> Solution:
    """Return a solution, some of whose steps were computed alone and are the same states.

    A step function that looks at all steps, as ``if (y > 0).all()`` does, may
    treat the first ones on their own and not those of a window.
    """
    problem = solution.problem
    windows = [w for w in solution.history if w.residuals and w.stop > w.start]
    if problem is None or problem.binds or isinstance(problem.step, ElementStep) or not windows:
        return solution
    before = problem.counts.nfev
    for k in range(N_ALONE):
        window = windows[(2 * k + 1) * len(windows) // (2 * N_ALONE)]
        t = window.start + (2 * k + 1) * (window.stop - window.start) // (2 * N_ALONE)
        pair = _alone(problem, solution, t, k * (problem.n_sequences - 1) // (N_ALONE - 1))
        if pair is not None:
            what, other = f"step {t} among others", "the same step alone"
            _probe.compare(problem, *pair, what, other)
    return replace(solution, nfev=solution.nfev + problem.counts.nfev - before)


class Sample:
    """Some solved steps of the first and the last sequence.

    Parameters
    ----------
    solution : Solution
        Of a recurrence.
    """

    def __init__(self, solution: Solution) -> None:
        problem = recurrence_of(solution)
        self._problem = problem
        some = np.unique([0, max(0, problem.n_sequences - 1)])
        stop = int(solution.converged_steps.ravel()[some].min()) if problem.n_sequences else 0
        self.empty = stop == 0 or solution.y.dtype != problem.dtype
        if not self.empty:
            rows = slice(stop // (2 * N_ALONE), stop, -(-stop // N_ALONE))
            before = [_state(problem, solution, t - 1, some) for t in range(stop)[rows]]
            self._y_prev = problem.backend.xp.concatenate(before)
            self._y = problem.take(
                problem.backend.asarray(
                    solution.y[rows].reshape(-1, problem.n_sequences, problem.n_state)
                ),
                some,
            )
            self._residual = float(solution.residual.ravel()[some].max())
            self._step = problem.bind(rows, some)

    def check_unchanged(self) -> None:
        """Raise if the states are not what the step function returns now."""
        if self.empty:
            return
        with np.errstate(all="ignore"):
            now = self._step(self._y_prev)
            apart = _probe.difference(self._problem, self._y, now, self._residual)
        if apart is not None:
            raise ValueError(
                f"`solution` must still solve its recurrence: some states differ by {apart:.3g} "
                "from what the step function returns now. What `f` closes over, `x` or "
                "`solution.y` has changed since: solve again, or copy before you change."
            )

    def has_its_jacobian(self) -> bool:
        """Return whether the Jacobian at the states is that of the step."""
        if self.empty:
            return True
        with np.errstate(all="ignore"):
            slopes = Slopes(self._problem.backend.xp, self._step.raw, self._y_prev)
            return slopes.are_those_of(self._step.jacobian(self._y_prev))


def _alone(
    problem: Problem, solution: Solution, t: int, sequence: int
) -> tuple[Array, Array, float] | None:
    """Return a solved state, what the step function makes of the one before, and the residual."""
    rounded = solution.y.dtype != problem.dtype
    if rounded or t >= solution.converged_steps.ravel()[sequence]:
        return None
    one = np.array([sequence])
    with np.errstate(all="ignore"):
        alone = problem.bind(slice(t, t + 1), one)(_state(problem, solution, t - 1, one))
    return _state(problem, solution, t, one), alone, float(solution.residual.ravel()[sequence])


def _state(problem: Problem, solution: Solution, t: int, sequences: Sequences) -> Array:
    """Return a state of some sequences, shape (1, sequences, n_state); before all steps, `y0`."""
    if t < 0:
        return problem.take(problem.y0[None], sequences)
    y = solution.y[t].reshape(1, problem.n_sequences, problem.n_state)
    return problem.take(problem.backend.asarray(y, dtype=problem.dtype), sequences)


def with_message(solution: Solution) -> Solution:
    """Return the solution with a message: what happened, whether it pays, what to try."""
    parts = [solution.status.meaning]
    if solution.status > Status.SEQUENTIAL:
        parts.append(_where(solution))
    slow = solution.status is not Status.NON_FINITE and _slow(solution)
    growth = _growth(solution) if slow or solution.status is Status.MAXITER else None
    if growth is not None and growth >= 0:
        parts.append(
            f"The largest Lyapunov exponent is about {growth:+.2g} per step: perturbations grow, "
            "and solving in parallel does not pay. Use `seqsolve.sequential`, or "
            "`on_failure='sequential'`."
        )
    elif slow:
        parts.append(
            "The iterations come near the window's length, so solving in parallel does not pay "
            "here: use a smaller `window` or `seqsolve.sequential`."
        )
    if _at_rounding_level(solution):
        parts.append("The residual is at the level of rounding errors: raise `atol` or `rtol`.")
    parts.append(solution.status.advice)
    return replace(solution, message=" ".join(p for p in parts if p))


def _where(solution: Solution) -> str:
    converged = solution.converged_steps.ravel()
    failed = np.flatnonzero(converged < solution.y.shape[0])
    if failed.size == 0:
        return ""
    first = int(failed[np.argmin(converged[failed])])
    among = f" in {failed.size} of {converged.size} sequences" if converged.size > 1 else ""
    which = f" (sequence {first})" if converged.size > 1 else ""
    return (
        f"Steps from {int(converged[first])} of {solution.y.shape[0]}{which} on are not "
        f"solved{among}; the largest residual is {float(solution.residual.ravel()[first]):.3g}."
    )


def _slow(solution: Solution) -> bool:
    return any(4 * w.nit > w.stop - w.start for w in solution.history if len(w.residuals) > 8)


def _growth(solution: Solution) -> float | None:
    """Return the exponent of the sequence that got least far, over its last good steps."""
    problem = solution.problem
    if problem is None or not _probe.differentiable(problem):
        return None
    worst = int(np.argmin(solution.converged_steps.ravel()))
    stop = int(solution.converged_steps.ravel()[worst])
    start = max(0, stop - 512)
    if stop - start < ENOUGH_STEPS:
        return None
    growth: npt.NDArray[np.float64] = exponents(
        problem, solution.y, np.array([worst]), slice(start, stop)
    )
    return float(growth[0])


def _at_rounding_level(solution: Solution) -> bool:
    if solution.status is not Status.MAXITER or solution.problem is None:
        return False
    stop = int(solution.converged_steps.min())
    windows = (w for w in solution.history if w.residuals and w.start <= stop < w.stop)
    residual = max((w.residuals[-1] for w in windows), default=np.inf)
    last = previous_states(solution.problem, solution.y, slice(max(0, stop - 512), stop))
    size = np.abs(solution.problem.backend.to_numpy(last)).max(initial=1.0)
    eps = np.finfo(solution.problem.dtype).eps
    return bool(residual <= 64 * eps * size)


def _norm(xp: Any, v: Array) -> Array:
    size = xp.abs(v).max(axis=-1, keepdims=True)
    scaled = v / xp.where(size > 0, size, 1)
    return size * xp.sqrt((xp.abs(scaled) ** 2).sum(axis=-1, keepdims=True))
