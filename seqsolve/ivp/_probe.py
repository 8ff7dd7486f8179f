"""Whether a function takes many points at once, found out by trying."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

NDArray: TypeAlias = npt.NDArray[Any]

#: Points that are tried together, the first and the last of them also alone.
POINTS = 3


class Places(NamedTuple):
    """Where functions are tried.

    Parameters
    ----------
    t : ndarray, shape (3,)
        Times from the beginning of the interval on.
    y : ndarray, shape (3, n)
        States near the initial one; the first is that.
    lane : ndarray, shape (3,), or None
        To which of several trajectories they belong.
    """

    t: NDArray
    y: NDArray
    lane: NDArray | None


def places(t_span: tuple[float, float], y0: NDArray) -> Places:
    """Return where to try functions, from initial states ``(n,)`` or ``(n, n_trajectories)``."""
    ahead = np.clip(t_span[1] - t_span[0], -1, 1)
    t = t_span[0] + ahead * np.linspace(0, 1e-3, POINTS)
    spread = 1e-3 * np.linspace(0, 1, POINTS)[:, None]
    lane = None
    if y0.ndim == 2:
        lane = np.linspace(0, y0.shape[1] - 1, POINTS).astype(int)
        y0 = y0[:, lane].T
    return Places(t, y0 * (1 + spread) + 1e-3 * spread, lane)


def probe(
    called: Callable[[Any, NDArray, Any], Any],
    single: Callable[[Any], NDArray],
    together: Callable[[Any, int], NDArray],
    at: Places,
) -> tuple[NDArray, bool]:
    """Return what a function gives at the first place, and whether it takes many together.

    Parameters
    ----------
    called : callable
        ``called(t, y, lane)``, the function with its further arguments, at one
        point ``(n,)`` or many ``(n, k)``.
    single, together : callable
        Make arrays of what it returns for one point, and for how many.
    at : Places
        Where to try.
    """
    t, y, lane = at

    def alone(i: int) -> NDArray:
        given = called(float(t[i]), y[i].copy(), None if lane is None else lane[i])
        return single(given).copy()

    first = alone(0)
    try:
        joint = together(called(t.copy(), y.T.copy(), lane), t.size)[[0, -1]]
        ends = np.stack([first, alone(-1)])
    except Exception:
        return first, False
    return first, bool(np.allclose(joint, ends, rtol=1e-9, atol=1e-12, equal_nan=True))
