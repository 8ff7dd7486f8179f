"""Stepping through time, vectorised over the batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from seqsolve import _checks
from seqsolve._problem import Problem, Sequences
from seqsolve._protocol import offers
from seqsolve._tree import tree_map
from seqsolve.backend import Array
from seqsolve.step import Steppable, Tree


def march(problem: Problem, rows: slice, sequences: Sequences, start: Array) -> Array:
    """Return the states of some steps and sequences, one step after the other."""
    n_steps = rows.stop - rows.start
    x = problem.input(rows, sequences)
    y = problem.backend.xp.empty((n_steps + 1, *start.shape), dtype=problem.dtype)
    y[0] = start
    problem.counts.nfev += n_steps
    if problem.element is not None and problem.fused is not None:
        problem.fused.march(problem.element, problem.element_input(x), y)
        return y[1:]
    user = y if problem.batch else y[:, 0]
    expected = (1, *user.shape[1:])
    step, dtype = _one_step(problem, x), np.dtype(problem.dtype)
    for t in range(n_steps):
        try:
            new = step(t, user[t : t + 1])
        except Exception as error:
            _checks.add_note(error, "f", user[t : t + 1], _at(x, t))
            raise
        if getattr(new, "dtype", None) is not dtype:
            new = problem.cast(_checks.returned("f", new, problem.backend))
        if new.shape != expected:
            raise ValueError(
                f"`f` must return an array of the shape of `y_prev`, {expected}; got {new.shape}."
            )
        user[t + 1 : t + 2] = new
    return y[1:]


def march_block(problem: Problem) -> int:
    """Return how many steps to keep at a time: a few megabytes of states."""
    maximum = 8192 if problem.fused is None else 2**20
    n_values: int = problem.n_sequences * problem.n_state
    return max(1, min(maximum, 2**20 // max(1, n_values)))


def _one_step(problem: Problem, x: Tree) -> Callable[[int, Array], Array]:
    """Return ``(t, y_prev) -> y``, with the input of all steps fixed."""
    if problem.binds:
        bound = problem.step.bind(x)
        if offers(bound, Steppable):
            return bound.step
    f = problem.step
    if hasattr(x, "shape"):
        return lambda t, y_prev: f(y_prev, x[t : t + 1])
    return lambda t, y_prev: f(y_prev, _at(x, t))


def _at(x: Tree, t: int) -> Tree:
    """Return the input of one step, with a leading axis of 1."""
    return tree_map(lambda leaf: leaf[t : t + 1], x)
