"""Stepping one sequence in pieces at once, where it forgets its initial state.

A contractive recurrence forgets where it began: started anywhere, it meets its own
trajectory after a few dozen steps, and bit for bit, because rounding merges what is
close. So pieces of a sequence are stepped side by side, each after a run-up from a
guessed state. They are kept as far as each piece begins with exactly the state in which
the one before it ended: then every state is the step of the one before.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from seqsolve_numba.specialization import NDArray

#: ``kernel(x, y)`` sets ``y[t + 1]`` to ``step(y[t], x[t])`` for many sequences.
Advance = Callable[[NDArray, NDArray], None]

#: The shortest run-up.
RUN_UP = 32

#: The shortest run-up of a guess; in long pieces it is `GUESS_PART` of them.
GUESS_RUN_UP = 64
GUESS_PART = 1 / 64

#: The shortest piece of a guess.
SHORTEST = 4 * GUESS_RUN_UP

#: A run-up is no longer than this part of a piece: in vain, it costs little.
LONGEST = 1 / 8


def solve(advance: Advance, x: NDArray, y: NDArray, n_pieces: int) -> int:
    """Set the states of the last steps of one sequence, if it forgets the first ones.

    Parameters
    ----------
    advance : callable
        Steps sequences side by side.
    x : array, shape (n_steps, 1, n_inputs)
        The input.
    y : array, shape (n_steps + 1, 1, n_state)
        Its first state is given.
    n_pieces : int
        How many pieces to step side by side.

    Returns
    -------
    int
        How many steps, from the first on, are solved; 0 if the sequence does not forget.
    """
    size = (len(x) // n_pieces - 1) | 1  # odd, or the pieces share lines of the cache
    if LONGEST * size < RUN_UP:
        return 0
    pieces, inputs = _pieces(y, size, n_pieces), _pieces(x, size, n_pieces)
    starts = _run_up(advance, inputs, y[0, 0])
    if starts is None:
        return 0
    pieces[0, 1:] = starts[:-1]
    advance(inputs[:-1], pieces)
    ends = np.empty((2, *starts.shape), y.dtype)
    ends[0] = pieces[-1]
    advance(inputs[-1:], ends)
    meets = (ends[1, :-1] == starts[:-1]).all(axis=-1)
    met = n_pieces if meets.all() else int(meets.argmin()) + 1
    y[met * size, 0] = ends[1, met - 1]
    return met * size


def guess(advance: Advance, x: NDArray, y: NDArray, n_pieces: int) -> NDArray:
    """Guess the states of one sequence: those of pieces, each after a run-up.

    Parameters
    ----------
    advance, x, y, n_pieces
        As `solve` takes them.

    Returns
    -------
    array of int
        The steps, in order, that may have a residual: all others are the step function's
        own values. Empty: there is no guess, because the sequence is too short, or states
        are not finite.
    """
    size = (len(x) // n_pieces - 1) | 1
    if size < SHORTEST:
        return np.empty(0, np.intp)
    length = max(GUESS_RUN_UP, int(GUESS_PART * size))
    pieces, inputs = _pieces(y, size, n_pieces), _pieces(x, size, n_pieces)
    starts = _run_up_once(advance, inputs[-length:], y[0, 0])
    pieces[0, 1:] = starts[:-1]
    advance(inputs[:-1], pieces)
    rest = n_pieces * size
    y[rest, 0] = starts[-1]
    advance(x[rest:], y[rest:])
    joints = size * np.arange(1, n_pieces + 1, dtype=np.intp) - 1
    return joints if _finite(y) else joints[:0]


def _finite(y: NDArray) -> bool:
    """Return whether all states are finite; the sum of their squares mostly tells."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.vdot(y, y) < np.inf or np.isfinite(y).all())


def _run_up(advance: Advance, inputs: NDArray, guess: NDArray) -> NDArray | None:
    """Return the states in which the pieces behind each piece begin, ``(n_pieces, n_state)``.

    They are those that two run-ups, one twice as long as the other, agree on. None: there
    are none.
    """
    length = RUN_UP
    before: NDArray | None = None
    while length <= LONGEST * len(inputs):
        starts = _run_up_once(advance, inputs[-length:], guess)
        if before is not None and np.array_equal(before, starts):
            return before
        before, length = starts, 2 * length
    return None


def _run_up_once(advance: Advance, inputs: NDArray, guess: NDArray) -> NDArray:
    """Return the states behind each piece after its last steps, from a guess."""
    y = np.empty((len(inputs) + 1, inputs.shape[1], guess.size), guess.dtype)
    y[0] = guess
    advance(inputs, y)
    ends: NDArray = y[-1]
    return ends


def _pieces(a: NDArray, size: int, n_pieces: int) -> NDArray:
    """Return a view of pieces of one sequence, ``(size, n_pieces, n)``, side by side."""
    pieces = a[: n_pieces * size, 0].reshape(n_pieces, size, a.shape[2])
    return pieces.swapaxes(0, 1)
