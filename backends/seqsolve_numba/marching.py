"""Stepping through time, compiled; threads over the batch."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from seqsolve_numba import abreast, speculation
from seqsolve_numba.specialization import KernelSource, NDArray, Specialization
from seqsolve_numba.threads import n_shares, n_threads, over_sequences

#: A loop over a few dozen states unrolls, the loop of such loops over more than two does not:
#: it becomes a loop of vector instructions.
UNROLL = 600

#: A sequence is stepped in so many pieces by each thread, at most.
PIECES = 32

#: The shortest piece of a guess that is spread over threads though run-ups do not agree: it is
#: wrong where pieces meet.
LONG_PIECE = 4096


def march(special: Specialization, x: NDArray, params: tuple[NDArray, ...], y: NDArray) -> None:
    """Set ``y[t + 1]`` to ``step(y[t], x[t])`` for all steps and sequences.

    Parameters
    ----------
    special : Specialization
        The step.
    x : array, shape (n_steps, n_batch, n_inputs)
        The input.
    params : tuple of array
        The parameters.
    y : array, shape (n_steps + 1, n_batch, n_state)
        Its first step is given.
    """
    advance = _advance(special, params)
    n_pieces = _n_abreast(special) * n_threads()
    done = speculation.solve(advance, x, y, n_pieces) if y.shape[1] == 1 else 0
    advance(x[done:], y[done:])


def guess(
    special: Specialization,
    x: NDArray,
    params: tuple[NDArray, ...],
    y: NDArray,
    rtol: float,
    atol: NDArray,
) -> NDArray:
    """Step one sequence in pieces, as `speculation.guess` does; return where they meet."""

    def agree(states: NDArray, later: NDArray) -> bool:
        """Return whether the later states are exact to the tolerances, as far as one can tell.

        A run-up twice as long leaves the square of the part of an error that it left.
        """
        size = abs(later)
        return bool(((later - states) ** 2 <= (atol + rtol * size) * size.max()).all())

    n_abreast = _n_abreast(special)
    fewer = n_abreast * max(1, min(n_threads(), len(x) // (n_abreast * LONG_PIECE)))
    numbers = sorted({n_abreast * n_threads(), fewer}, reverse=True)
    return speculation.guess(_advance(special, params), x, y, numbers, agree)


def _advance(special: Specialization, params: tuple[NDArray, ...]) -> speculation.Advance:
    """Return the function that steps sequences side by side."""

    def advance(x: NDArray, y: NDArray) -> None:
        n_batch = y.shape[1]
        width = 1
        if abreast.pays(special, n_batch):
            width = abreast.lanes(special, -(-n_batch // n_shares(n_batch, y.size)))
            build = functools.partial(abreast.build, width=width)
            kernel = special.kernel(f"abreast {width}", build, unroll=abreast.UNROLL)
        else:
            kernel = special.kernel("march", _build, unroll=UNROLL)
        over_sequences(lambda *part: kernel(x, params, y, *part), n_batch, y.size, width)

    return advance


def _n_abreast(special: Specialization) -> int:
    """Return how many pieces of one sequence a thread steps abreast."""
    if not abreast.pays(special, PIECES):
        return 1
    return abreast.lanes(special, PIECES)


def _build(special: Specialization) -> KernelSource:
    n, m = special.shapes.n_state, special.shapes.n_inputs
    step, argument, parameters = special.step, special.argument, special.parameters
    new_state, new_input = special.state, special.input

    def kernel(x: Any, params: Any, y: Any, start: int, stop: int) -> None:
        known_params = parameters(params)
        state, new, numbers = new_state(y), new_state(y), new_input(x)
        for k in range(start, stop):
            for i in range(n):
                state[i] = y[0, k, i]
            for t in range(y.shape[0] - 1):
                for i in range(m):
                    numbers[i] = x[t, k, i]
                for i in range(n):
                    new[i] = np.nan
                step(state, argument(numbers), known_params, new)
                for i in range(n):
                    state[i] = new[i]
                    y[t + 1, k, i] = new[i]

    return kernel, special.march_types


def compilable(x: NDArray | None) -> NDArray | None:
    """Return the input in a dtype that compiled code can compute with."""
    if x is None:
        return None
    dtype = np.dtype(np.float32) if x.dtype == np.float16 else x.dtype.newbyteorder("=")
    return x.astype(dtype, copy=False)


def flat_input(x: NDArray | None, y: NDArray) -> NDArray:
    """Return the input as ``(n_steps, n_batch, n_inputs)``."""
    n_steps, n_batch = y.shape[0] - 1, y.shape[1]
    if x is None:
        return np.empty((n_steps, n_batch, 0), y.dtype)
    x = x.reshape(*x.shape[:2], -1) if x.ndim != 3 else x
    shape = (n_steps, n_batch, x.shape[2])
    return x if x.shape == shape else np.broadcast_to(x, shape)
