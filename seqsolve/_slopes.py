"""Whether derivatives are those of a function, as far as one direction at one place tells.

Slopes along a direction are compared where differences over three distances
agree with each other and are not rounded to nothing: kinks, jumps and
cancellation give no verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from seqsolve.backend import Array

TINY = 1e-20
GOLDEN = (5**0.5 - 1) / 2


class Slopes:
    """Slopes of a function at a place, along one direction.

    Parameters
    ----------
    xp : namespace
        Array functions.
    f : callable
        ``f(y)``, vectorised over leading axes.
    y : array, shape (..., n)
        The place.
    """

    def __init__(self, xp: Any, f: Callable[[Array], Array], y: Array) -> None:
        self._xp, self._f, self._y = xp, f, y
        size = xp.abs(y)
        self._eps = float(np.finfo(np.dtype(str(size.dtype))).eps)
        z = 0.5 + (GOLDEN * np.arange(1, 1 + size.size)) % 1  # no two alike, none near zero
        self.direction = (1 + size) * xp.asarray(z.reshape(size.shape), dtype=size.dtype)
        self._fy, self._far = f(y), self._eps**0.4
        self._slope, self._unsettled = self._differences(1.0)

    def have_complex_step(self) -> bool:
        """Return whether the complex step finds them."""
        step = self._f(self._y + 1j * TINY * self.direction).imag / TINY
        return self._agree(step, self._unsettled)

    def are_complex(self) -> bool:
        """Return whether they are the same along the real and the imaginary axis."""
        slope, unsettled = self._differences(1j)
        return self._agree(slope, self._unsettled + unsettled)

    def are_those_of(self, A: Array) -> bool:
        """Return whether a Jacobian has them: diagonal, block-diagonal or dense."""
        shape = self._y.shape
        if A.ndim == len(shape):
            product = A * self.direction
        else:
            blocks = self.direction.reshape(*A.shape[:-1], 1)
            product = self._xp.matmul(A, blocks).reshape(shape)
        return self._agree(product, self._unsettled)

    def _differences(self, unit: complex) -> tuple[Array, Array]:
        """Return the slope along a unit of the plane, and how far others nearby are from it."""
        distances = (fraction * self._far * unit for fraction in (1, -1 / 4, 1 / 3))
        slope, *near = ((self._f(self._y + h * self.direction) - self._fy) / h for h in distances)
        return slope, sum(self._xp.abs(slope - other) for other in near)

    def _agree(self, other: Array, unsettled: Array) -> bool:
        xp, slope = self._xp, self._slope
        noise = 64 * self._eps / self._far * xp.abs(self._fy)
        size = xp.maximum(xp.abs(slope), xp.abs(other))
        settled = (slope != 0) & (unsettled <= 2e-3 * size + noise)
        return not bool((settled & (xp.abs(slope - other) > 1e-2 * size + 4 * noise)).any())
