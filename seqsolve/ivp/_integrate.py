"""The whole interval, one stretch after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from seqsolve.ivp._control import Control
from seqsolve.ivp._cruise import cruise, loosened
from seqsolve.ivp._march import Piece, first_step, march
from seqsolve.ivp._method import NDArray
from seqsolve.ivp._refine import refine

#: Crude steps of the first, the shortest and the longest stretch.
_FIRST, _SHORTEST, _LONGEST = 128, 8, 1024


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
    size = first_step(loosened(control, y), t, y) if h is None else h
    length = _FIRST
    while (control.end - t) * control.direction > 0:
        fine, stop = None, None
        crude = cruise(loosened(control, y), t, y, size, length)
        if crude is not None:
            fine = refine(control, crude)
            if fine is None and len(crude.errors) > 2 * _SHORTEST:
                crude = crude.head(len(crude.errors) // 4)
                fine = refine(control, crude)
            stop = float(crude.t[min(_SHORTEST, len(crude.errors))])
        if fine is not None and crude is not None:
            progress.together += len(fine.errors)
            covered = int(np.sum((crude.t - fine.t[-1]) * control.direction < 0))
            whole = covered == len(crude.errors)
            size = crude.next_step if whole else float(abs(np.diff(crude.t)[covered - 1]))
            length = min(2 * length, _LONGEST) if whole else max(_SHORTEST, covered)
        else:
            fine = march(control, t, y, size, n_steps=_FIRST, stop=stop)
            progress.one_by_one += len(fine.errors)
            size, length = fine.next_step, 2 * _SHORTEST
            if fine.complete:
                progress.fell_back.append((t, float(fine.t[-1])))
        yield fine
        if not fine.complete and fine.t[-1] == t:
            progress.failed = True
            return
        t, y = float(fine.t[-1]), fine.y[-1]
