"""Mass matrices: semi-explicit equations with algebraic parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqsolve.ivp._method import Method, NDArray
from seqsolve.ivp._rhs import RightHandSide

#: Singular values below this part of the largest count as zero.
_RANK = 1e-12


def mass_matrix(value: Any, n: int, dtype: Any, method: Method) -> NDArray | None:
    """Return the matrix in front of the derivatives, checked; None for the identity."""
    if value is None:
        return None
    if not method.takes_mass:
        raise ValueError(
            "`mass` needs a method for algebraic equations, 'Radau' or 'ImplicitEuler'; "
            f"got {method.name!r}."
        )
    try:
        dense = value.toarray() if hasattr(value, "toarray") else value
        mass = np.asarray(dense).astype(dtype, casting="same_kind")
    except (TypeError, ValueError):
        raise TypeError(f"`mass` must be an array of numbers; got {value!r}.") from None
    if mass.shape == (n,):
        mass = np.diag(mass)
    if mass.shape != (n, n):
        raise ValueError(
            f"`mass` must have shape {(n, n)}, or {(n,)} for a diagonal; got {mass.shape}."
        )
    if not np.isfinite(mass).all() or not mass.any():
        raise ValueError("`mass` must be finite and not zero.")
    return mass


def check_consistent(
    rhs: RightHandSide, t: float, y0: NDArray, rtol: NDArray, atol: NDArray
) -> None:
    """Refuse initial states ``(m, n)`` that break the algebraic equations, or equations of index 2.

    One Newton step for the algebraic variables tells both: it must exist, and
    be smaller than the tolerances.
    """
    if rhs.mass is None:
        return
    left, sizes, right = np.linalg.svd(rhs.mass)
    zero = sizes < _RANK * sizes[0]
    if not zero.any():
        return
    left, right = left[:, zero], right.conj().T[:, zero]
    lane = None if len(y0) == 1 and not rhs.arguments.batch else np.arange(len(y0))
    times = np.full(len(y0), t)
    f = rhs(times, y0, lane)
    J = rhs.jacobian(times, y0, f, lane)
    if rhs.bands is not None:
        J = rhs.bands.dense(J)
    residual = f @ left.conj()
    inner = left.conj().T @ J @ right
    size = np.abs(J).max(initial=0)
    smallest = np.linalg.svd(inner, compute_uv=False)[..., -1]
    if not (smallest > _RANK * size).all():
        raise ValueError(
            f"`fun` and `mass` must be of index 1: at t = {t:g} the algebraic equations do not "
            "determine the algebraic variables. Differentiate some of them."
        )
    correction = np.linalg.solve(inner, residual[..., None])[..., 0] @ right.T
    off = np.abs(correction) > atol + rtol * np.abs(y0)
    if not np.isfinite(correction).all() or off.any():
        i = int(np.argmax(~np.isfinite(correction).all(axis=1) | off.any(axis=1)))
        raise ValueError(
            f"`y0` must satisfy the algebraic equations; they are off by {residual[i]}. Close by "
            f"is {(y0[i] - correction[i]).tolist()}."
        )
