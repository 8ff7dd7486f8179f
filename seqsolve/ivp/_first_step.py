"""Sizes of first steps."""

from __future__ import annotations

import numpy as np

from seqsolve.ivp._control import Control
from seqsolve.ivp._method import NDArray, rms


def first_steps(
    control: Control, t: float, y: NDArray, f: NDArray, lane: NDArray | None = None
) -> NDArray:
    """Return sizes ``(m,)`` for the first steps, from the sizes of the first two derivatives.

    References
    ----------
    .. [1] E. Hairer, S. P. Norsett, G. Wanner, "Solving Ordinary Differential
       Equations I", section II.4.
    """
    span = abs(control.end - t)
    if span == 0:
        return np.zeros(len(y))
    mass = control.rhs.mass
    inverse = None if mass is None else np.linalg.pinv(mass).T
    scale = control.scale(np.abs(y))
    f = f if inverse is None else f @ inverse
    d0, d1 = rms(y / scale), rms(f / scale)
    h0 = np.where((d0 < 1e-5) | (d1 < 1e-5), 1e-6, 0.01 * d0 / d1)
    h0 = np.minimum(h0, span)
    moved = control.direction * h0
    f1 = control.rhs(t + moved, y + moved[:, None] * f, lane)
    f1 = f1 if inverse is None else f1 @ inverse
    largest = np.maximum(d1, rms((f1 - f) / scale) / h0)
    order = control.method.error_order + 1
    h1 = np.where(largest <= 1e-15, 1e-6, (0.01 / largest) ** (1 / order))
    size = np.minimum(np.minimum(100 * h0, h1), min(span, control.max_step))
    usable = np.isfinite(size) & (size > 0)
    return np.where(usable, size, min(1e-6, span))
