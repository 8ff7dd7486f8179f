"""The whole interval, one stretch after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from seqsolve.ivp._control import Control
from seqsolve.ivp._cruise import cruise, loosened
from seqsolve.ivp._dense import DenseOutput
from seqsolve.ivp._first_step import first_steps
from seqsolve.ivp._lifted import lifted
from seqsolve.ivp._march import Piece, march
from seqsolve.ivp._method import NDArray, rms
from seqsolve.ivp._refine import refine

#: Crude steps of the first, the shortest and the longest stretch.
_FIRST, _SHORTEST, _LONGEST = 128, 8, 1024

#: Entries of the Jacobians at the stages of one step beyond which stepping takes less time.
_ENTRIES = 1500

#: Steps of the result at most, for each of the crude ones that a stretch may have.
_FINER = 64

#: A crude trajectory is followed as long as it is off by less than this, in units of its tolerance.
_NEAR = 100.0


@dataclass
class Progress:
    """What the stretches tell about the integration as they go by.

    Parameters
    ----------
    failed : bool
        Whether the steps shrank to nothing.
    together, one_by_one : int
        Steps solved together, and one after the other.
    fell_back : list of tuple of float
        Stretches that could not be solved together.
    """

    failed: bool
    together: int
    one_by_one: int
    fell_back: list[tuple[float, float]]


def integrate(
    control: Control, t: float, y: NDArray, h: float | None, progress: Progress
) -> Iterator[Piece]:
    """Yield the trajectory in stretches, in the order of time.

    Each stretch begins with a crude trajectory, which is refined until all steps
    meet the tolerances, all at once. A stretch ends where Newton's method does;
    where it does not converge at all, a few steps are made one after the other.
    """
    if h is None:
        f = control.rhs.first[None]
        size = float(first_steps(loosened(control, y), t, y[None], f)[0])
    else:
        size = h
    length, crude = _FIRST, None
    while (control.end - t) * control.direction > 0:
        if crude is None:
            crude = cruise(loosened(control, y), t, y, size, length)
        fine = None if crude is None else refine(control, crude, t, y, _FINER * length)
        if fine is not None and crude is not None:
            progress.together += len(fine.errors)
            t, y = float(fine.t[-1]), fine.y[-1]
            if t == crude.t[-1]:
                size, length, crude = crude.next_step, min(2 * length, _LONGEST), None
            elif _follows(control, crude, t, y):
                length = min(2 * length, _LONGEST)
            else:
                passed = int(np.sum((crude.t - t) * control.direction < 0))
                size = float(abs(crude.t[passed] - crude.t[passed - 1]))
                length, crude = max(_SHORTEST, passed), None
        elif crude is not None and len(crude.errors) > 2 * _SHORTEST:
            crude = crude.head(len(crude.errors) // 4) if crude.t[0] == t else None
            continue
        else:
            stop = None if crude is None else float(crude.t[min(_SHORTEST, len(crude.errors))])
            fine = march(control, t, y, size, n_steps=_FIRST, stop=stop)
            progress.one_by_one += len(fine.errors)
            size, length, crude = fine.next_step, 2 * _SHORTEST, None
            if fine.complete:
                progress.fell_back.append((t, float(fine.t[-1])))
            elif fine.t[-1] == t:
                progress.failed = True
            t, y = float(fine.t[-1]), fine.y[-1]
        yield fine
        if progress.failed:
            return


def solves_together(control: Control) -> bool:
    """Return whether it pays to solve many steps together; few states, or few diagonals."""
    return len(lifted(control.method).c) * control.rhs.jacobian_size <= _ENTRIES


def integrate_stepping(
    control: Control, t: float, y: NDArray, h: float | None, progress: Progress
) -> Iterator[Piece]:
    """Yield the trajectory in stretches, in the order of time, made one step after the other."""
    if h is None:
        h = float(first_steps(control, t, y[None], control.rhs.first[None])[0])
    while (control.end - t) * control.direction > 0 and not progress.failed:
        piece = march(control, t, y, h, n_steps=_FIRST)
        progress.one_by_one += len(piece.errors)
        progress.failed = not piece.complete
        t, y, h = float(piece.t[-1]), piece.y[-1], piece.next_step
        yield piece


def _follows(control: Control, crude: Piece, t: float, y: NDArray) -> bool:
    """Return whether a crude trajectory is near a state, and so a guess of what comes."""
    asked = loosened(control, y)
    away = DenseOutput(crude.t, crude.coefficients).rows(np.array([t]))[0] - y
    return bool(rms(away / asked.scale(np.abs(y))) <= _NEAR)
