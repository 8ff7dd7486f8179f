"""The whole interval, one stretch after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from seqsolve.ivp._control import Control
from seqsolve.ivp._march import Piece, first_step, march
from seqsolve.ivp._method import NDArray
from seqsolve.ivp._refine import refine

#: Relative tolerance of the coarse pass.
COARSE_RTOL = 1e-2

#: Where the coarse pass would be looser by less than this, the steps are made one by one.
WORTHWHILE = 100.0

#: Coarse steps of the first, the shortest and the longest stretch.
_FIRST, _SHORTEST, _LONGEST = 32, 8, 1024


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

    Each stretch begins with a coarse pass, step by step with loose tolerances.
    Its solution is refined until all steps meet the tolerances, all at once.
    A stretch ends where Newton's method does; where it does not converge at all,
    a few steps are made one after the other.
    """
    loosening = COARSE_RTOL / float(control.rtol.min())
    if loosening < WORTHWHILE:
        loosening = 1.0
    size = first_step(control, t, y, loosening) if h is None else h
    length = _FIRST
    while (control.end - t) * control.direction > 0:
        fine, stop = None, control.end
        if loosening > 1:
            coarse = march(control, t, y, size, loosening=loosening, n_steps=length, dense=False)
            if len(coarse.errors):
                fine = refine(control, coarse, loosening)
                if fine is None and len(coarse.errors) > 2 * _SHORTEST:
                    coarse = coarse.head(len(coarse.errors) // 4)
                    fine = refine(control, coarse, loosening)
                stop = float(coarse.t[min(_SHORTEST, len(coarse.errors))])
        if fine is not None:
            progress.together += len(fine.errors)
            covered = int(np.sum((coarse.t - fine.t[-1]) * control.direction < 0))
            whole = covered == len(coarse.errors)
            size = coarse.next_step if whole else float(abs(np.diff(coarse.t)[covered - 1]))
            length = min(2 * length, _LONGEST) if whole else max(_SHORTEST, covered)
        else:
            fine = march(control, t, y, size, stop=stop)
            progress.one_by_one += len(fine.errors)
            size, length = fine.next_step, 2 * _SHORTEST
            if loosening > 1 and fine.complete:
                progress.fell_back.append((t, float(fine.t[-1])))
        yield fine
        if not fine.complete and fine.t[-1] == t:
            progress.failed = True
            return
        t, y = float(fine.t[-1]), fine.y[-1]
