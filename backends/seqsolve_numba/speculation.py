"""Stepping one sequence in pieces at once, where it forgets its initial state.

A contractive recurrence forgets where it began: started anywhere, it meets its own
trajectory after a few dozen steps, and bit for bit, because rounding merges what is
close. So pieces of a sequence are stepped side by side, each after a run-up from a
guessed state. They are kept as far as each piece begins with exactly the state in which
the one before it ended: then every state is the step of the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from seqsolve_numba.specialization import NDArray

#: ``kernel(x, y)`` sets ``y[t + 1]`` to ``step(y[t], x[t])`` for many sequences.
Advance = Callable[[NDArray, NDArray], None]

#: ``agree(states, later_states)``: whether two run-ups lead to the same states.
Agree = Callable[[NDArray, NDArray], bool]

#: The shortest run-up.
RUN_UP = 32

#: A run-up is no longer than this part of a piece.
LONGEST = 1 / 2

#: Of two run-ups the longer has to change the states so much less than the shorter did, or it
#: is not tried with longer ones: in vain, they cost.
LESS = 1 / 2

#: The shortest piece.
SHORTEST = 8 * RUN_UP


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
    size = _size(x, n_pieces)
    if size < SHORTEST:
        return 0
    pieces, inputs = _pieces(y, size, n_pieces), _pieces(x, size, n_pieces)
    starts = _run_up(advance, inputs, y[0, 0], np.array_equal)
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


def guess(
    advance: Advance, x: NDArray, y: NDArray, numbers: Iterable[int], agree: Agree
) -> NDArray:
    """Guess the states of one sequence: those of pieces, each after a run-up.

    Parameters
    ----------
    advance, x, y
        As `solve` takes them.
    numbers : iterable of int
        How many pieces to step side by side, the most first: the first of these with which
        two run-ups agree, else the last.
    agree : callable
        Says so.

    Returns
    -------
    array of int
        The steps, in order, that may have a residual: all others are the step function's
        own values. Empty: there is no guess, because the sequence is too short, or states
        are not finite.
    """
    none = np.empty(0, np.intp)
    numbers = [n_pieces for n_pieces in numbers if _size(x, n_pieces) >= SHORTEST]
    if not numbers:
        return none
    for n_pieces in numbers:
        size = _size(x, n_pieces)
        inputs = _pieces(x, size, n_pieces)
        starts = _run_up(advance, inputs, y[0, 0], agree)
        if starts is not None:
            break
    else:
        starts = _run_up_once(advance, inputs[-int(LONGEST * size) :], y[0, 0])
    pieces = _pieces(y, size, n_pieces)
    pieces[0, 1:] = starts[:-1]
    advance(inputs[:-1], pieces)
    rest = n_pieces * size
    y[rest, 0] = starts[-1]
    advance(x[rest:], y[rest:])
    return size * np.arange(1, n_pieces + 1, dtype=np.intp) - 1 if _finite(y) else none


def _finite(y: NDArray) -> bool:
    """Return whether all states are finite; the sum of their squares mostly tells."""
    return bool(np.vdot(y, y) < np.inf or np.isfinite(y).all())


def _run_up(advance: Advance, inputs: NDArray, guess: NDArray, agree: Agree) -> NDArray | None:
    """Return the states in which the pieces behind each piece begin, ``(n_pieces, n_state)``.

    They are those that two run-ups, one twice as long as the other, agree on. None: there
    are none.
    """
    length, change = RUN_UP, np.inf
    starts = _run_up_once(advance, inputs[-length:], guess)
    while 2 * length <= LONGEST * len(inputs):
        length *= 2
        before, starts = starts, _run_up_once(advance, inputs[-length:], guess)
        if agree(before, starts):
            return starts
        allowed, change = LESS * change, abs(starts - before).max()
        if not change <= allowed:
            break
    return None


def _run_up_once(advance: Advance, inputs: NDArray, guess: NDArray) -> NDArray:
    """Return the states behind each piece after its last steps, from a guess."""
    y = np.empty((len(inputs) + 1, inputs.shape[1], guess.size), guess.dtype)
    y[0] = guess
    advance(inputs, y)
    ends: NDArray = y[-1]
    return ends


def _size(x: NDArray, n_pieces: int) -> int:
    """Return the length of pieces: odd, or they share lines of the cache."""
    return (len(x) // n_pieces - 1) | 1


def _pieces(a: NDArray, size: int, n_pieces: int) -> NDArray:
    """Return a view of pieces of one sequence, ``(size, n_pieces, n)``, side by side."""
    pieces = a[: n_pieces * size, 0].reshape(n_pieces, size, a.shape[2])
    return pieces.swapaxes(0, 1)
