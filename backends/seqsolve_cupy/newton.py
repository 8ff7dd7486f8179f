"""Newton's update of an iterate, one pass over memory on the device."""

from __future__ import annotations

from seqsolve.backend import Array
from seqsolve_cupy.scans import Task, launch, plan_for

__all__ = ["newton_update"]


def newton_update(A: Array, fy: Array, y: Array) -> None:
    """Replace `y` by ``fy[t] + A[t] d[t-1]``, ``d[t] = fy[t] - y[t] + A[t] d[t-1]``.

    The increments stay in double precision. Where a new value is not finite,
    or larger than the square root of the largest number, ``fy[t]`` takes its
    place, or the old ``y[t]`` if that is not finite either; later steps build
    on the increment before that repair.

    Parameters
    ----------
    A : cupy.ndarray, shape (n_steps, n_batch, n) or (n_steps, n_batch, n, n)
        Diagonal or dense Jacobians, of a size that
        `seqsolve_cupy.recurrence.applies`. Any strides; ``A[0]`` is not read.
    fy : cupy.ndarray, shape (n_steps, n_batch, n)
        The step function at the iterate. `A` and `fy` may share memory with `y`.
    y : cupy.ndarray, shape (n_steps, n_batch, n)
        The iterate; overwritten.
    """
    if not y.size:
        return
    A, fy = (a.copy() if _overlap(a, y) else a for a in (A, fy))
    task = Task.newton(A, fy, y)
    launch(task, plan_for(task))


def _overlap(a: Array, b: Array) -> bool:
    """Return whether the memory that two arrays span overlaps."""
    (a_begin, a_end), (b_begin, b_end) = _span(a), _span(b)
    return a_begin < b_end and b_begin < a_end


def _span(a: Array) -> tuple[int, int]:
    reaches = [(size - 1) * stride for size, stride in zip(a.shape, a.strides, strict=True)]
    begin = a.data.ptr + sum(min(0, reach) for reach in reaches)
    return begin, a.data.ptr + sum(max(0, reach) for reach in reaches) + a.itemsize
