"""Launches of the kernels that solve recurrences, in whichever regime a plan names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cupy
import numpy as np

from seqsolve.backend import Array
from seqsolve_cupy import layout
from seqsolve_cupy.compilation import kernel
from seqsolve_cupy.plans import (
    Tiles,
    Walk,
    Wide,
    board_sizes,
    choose,
    map_memory,
    staged_length,
    staged_memory,
)

__all__ = ["Task", "launch", "plan_for"]

#: Blocks that a multiprocessor has room for, whatever memory they need.
_MOST_BLOCKS = 16


@dataclass(frozen=True)
class Task:
    """A recurrence to be solved forwards, and what its kernels are called with.

    Parameters
    ----------
    name : {"linear_recurrence", "newton_update"}
        The kernels' source.
    A : cupy.ndarray, shape (n_steps, n_batch, n) or (n_steps, n_batch, n, n)
        Diagonal or dense matrices.
    like : cupy.ndarray, shape (n_steps, n_batch, n)
        Gives shape and dtype; not empty.
    arguments : tuple
        What the kernels take before sizes.
    initial : cupy.ndarray, shape (n_batch, n), or None
        The state before the first step.
    """

    name: str
    A: Array
    like: Array
    arguments: tuple[Any, ...]
    initial: Array | None

    @classmethod
    def linear(cls, A: Array, b: Array, y0: Array | None, y: Array) -> Task:
        """Return ``y[t] = A[t] y[t-1] + b[t]``, ``y[-1] = y0``."""
        diagonal = A.ndim == b.ndim
        start = _vectors((b if y0 is None else y0[None]), diagonal)
        arguments = (
            *_matrices(A, diagonal),
            *_vectors(b, diagonal),
            *(start[0], *start[2:], np.int32(y0 is not None)),
            *_vectors(y, diagonal),
        )
        return cls("linear_recurrence", A, b, arguments, y0)

    @classmethod
    def newton(cls, A: Array, fy: Array, y: Array) -> Task:
        """Return the update of `y` by the increments' recurrence."""
        diagonal = A.ndim == y.ndim
        arguments = (
            *_matrices(A, diagonal),
            *_vectors(fy, diagonal),
            *_vectors(y, diagonal),
        )
        return cls("newton_update", A, y, arguments, None)

    @property
    def is_diagonal(self) -> bool:
        """Whether the matrices are diagonal."""
        return bool(self.A.ndim == self.like.ndim)

    @property
    def n(self) -> int:
        """States that are coupled."""
        return 1 if self.is_diagonal else int(self.like.shape[2])

    @property
    def n_vectors(self) -> int:
        """Vectors that a step brings."""
        return 2 if self.name == "newton_update" else 1

    @property
    def n_inner(self) -> int:
        """Recurrences in a sequence."""
        return int(self.like.shape[2]) if self.is_diagonal else 1

    @property
    def n_lanes(self) -> int:
        """Recurrences in all."""
        return int(self.like.shape[1]) * self.n_inner


def plan_for(task: Task) -> Walk | Tiles | Wide:
    """Return the plan for a task on the current device."""
    return choose(
        task.like.shape[0],
        task.n_lanes,
        task.n,
        itemsize=task.like.itemsize,
        is_complex=task.like.dtype.kind == "c",
        steps_adjacent=abs(task.like.strides[0]) == task.like.itemsize,
        n_multiprocessors=layout.n_multiprocessors(),
        shared_memory=layout.shared_memory(),
    )


def launch(task: Task, plan: Walk | Tiles | Wide) -> None:
    """Launch the task's kernels on the current stream."""
    if isinstance(plan, Wide):
        _wide(task, plan)
    elif isinstance(plan, Tiles):
        _tiles(task, plan)
    else:
        _walk(task, plan)


def _walk(task: Task, plan: Walk) -> None:
    n_blocks = -(-task.n_lanes // plan.threads)
    instance = _instance(task, "walk", task.n, plan.threads)
    sizes = map(np.int64, (task.like.shape[0], task.n_lanes, task.n_inner))
    kernel(task.name, instance)((n_blocks,), (plan.threads,), (*task.arguments, *sizes))


def _tiles(task: Task, plan: Tiles) -> None:
    """Launch as many blocks as the device has room for; they share out the tiles."""
    n_steps, n, lanes = task.like.shape[0], task.n, plan.lanes
    n_columns = -(-task.n_lanes // lanes)
    n_tiles = -(-n_steps // (plan.threads // lanes * staged_length(n, task.like.itemsize)))
    n_maps, n_states = (n_columns * count for count in board_sizes(n_tiles, plan.reach))
    wide = layout.WIDE[task.like.dtype.name]
    flags = cupy.zeros(1 + n_maps + n_states, dtype="int32")
    maps = cupy.empty((n_maps, lanes, n * n + n), dtype=wide)
    states = cupy.empty((n_states, lanes, n), dtype=wide)
    memory = staged_memory(n, task.like.itemsize, plan.threads, task.n_vectors)
    room = min(_MOST_BLOCKS, max(1, layout.shared_memory() // memory))
    run = kernel(task.name, _instance(task, "tiles", n, lanes, plan.threads))
    run.max_dynamic_shared_size_bytes = memory
    run.preferred_shared_memory_carveout = 100  # percent: as many blocks as there is room for
    sizes = map(np.int64, (n_steps, task.n_lanes, task.n_inner))
    counts = map(np.int32, (n_columns, n_tiles, plan.reach))
    run(
        (min(n_tiles * n_columns, room * layout.n_multiprocessors()),),
        (plan.threads,),
        (*task.arguments, *sizes, *counts, flags, maps, states),
        shared_mem=memory,
    )


def _wide(task: Task, plan: Wide) -> None:
    (n_steps, n_batch, n), source = task.like.shape, f"{task.name}_wide"
    chunk_steps = -(-n_steps // plan.n_chunks)
    n_chunks = -(-n_steps // chunk_steps)
    wide = layout.WIDE[task.like.dtype.name]
    ends = cupy.empty((max(1, n_chunks - 1), n_batch, n), dtype=wide)
    if n_chunks > 1:
        P = cupy.empty((n_chunks - 1, n_batch, n, n), dtype=wide)
        q = cupy.empty((n_chunks - 1, n_batch, n), dtype=wide)
        compose = kernel(source, _instance(task, "map", n))
        memory = map_memory(n, P.itemsize)
        compose.max_dynamic_shared_size_bytes = memory
        compose(
            ((n_chunks - 1) * n_batch,),
            (_map_threads(n),),
            (*task.arguments, np.int64(chunk_steps), np.int64(n_batch), P, q),
            shared_mem=memory,
        )
        start = None if task.initial is None else task.initial.astype(wide)
        _wide(Task.linear(P, q, start, ends), Wide(plan.threads))
    groups = plan.threads // _group(n)
    sizes = map(np.int64, (n_steps, chunk_steps, n_chunks, n_batch))
    kernel(source, _instance(task, "steps", n, plan.threads))(
        (-(-n_chunks * n_batch // groups),), (plan.threads,), (*task.arguments, *sizes, ends)
    )


def _group(n: int) -> int:
    """Return the threads of a group; ``group_of`` of ``kernels/wide.cuh``."""
    return max(4, 1 << (n - 1).bit_length())


def _map_threads(n: int) -> int:
    """Return the threads of a block; ``threads_of_map`` of ``kernels/wide.cuh``."""
    parts = 1 if n <= 16 else 2 if n <= 32 else 4
    return -(-(n + 1) * parts // 32) * 32


def _instance(task: Task, kind: str, *numbers: int) -> str:
    scalar = layout.SCALARS[task.like.dtype.name]
    return f"seqsolve::{task.name}_{kind}<{', '.join([scalar, *map(str, numbers)])}>"


def _matrices(A: Array, is_diagonal: bool) -> tuple[Any, ...]:
    """Return the array and its strides: step, outer, inner, row, column."""
    zero = np.int64(0)
    if is_diagonal:
        return (A, *layout.strides(A), zero, zero)
    step, outer, row, column = layout.strides(A)
    return (A, step, outer, zero, row, column)


def _vectors(v: Array, is_diagonal: bool) -> tuple[Any, ...]:
    """Return the array and its strides: step, outer, inner, row."""
    step, outer, last = layout.strides(v)
    zero = np.int64(0)
    return (v, step, outer, last, zero) if is_diagonal else (v, step, outer, zero, last)
