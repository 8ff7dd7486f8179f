"""Checks of the arguments of `solve_ivp`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from seqsolve import _checks
from seqsolve._warn import warn
from seqsolve.backend import Backend
from seqsolve.ivp._events import Event
from seqsolve.ivp._method import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csc_array


def arguments(args: Any) -> tuple[Any, ...]:
    """Return the further arguments as a tuple."""
    if args is None:
        return ()
    try:
        return tuple(args)
    except TypeError:
        raise TypeError(f"`args` must be a tuple, as in args=({args!r},); got {args!r}.") from None


def span(t_span: Any) -> tuple[float, float]:
    """Return where to begin and to end."""
    try:
        start, end = map(float, t_span)
    except TypeError:
        raise TypeError(f"`t_span` must be two numbers; got {t_span!r}.") from None
    except ValueError:
        raise ValueError(f"`t_span` must be two numbers; got {t_span!r}.") from None
    if not np.isfinite(start) or np.isnan(end):
        raise ValueError(f"`t_span` must begin with a finite number; got {t_span!r}.")
    return start, end


def reachable(end: float, events: list[Event] | None) -> None:
    """Refuse an endless interval that no event can end."""
    if np.isinf(end) and not any(np.isfinite(e.occurrences) for e in events or ()):
        raise ValueError(
            f"`t_span` must end with a finite number where no event is terminal; got {end:g}."
        )


def initial_states(y0: Any, backend: Backend) -> NDArray:
    """Return the initial states, ``(n,)`` or ``(n, *batch)``."""
    _checks.not_masked("y0", y0)
    try:
        state = np.asarray(y0)
        if state.dtype.kind not in "biufcO":
            raise TypeError(f"{state.dtype} values")
        state = state.astype(np.complex128 if state.dtype.kind == "c" else np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(f"`y0` must be an array of numbers; got {y0!r}.") from None
    if state.ndim == 0 or state.size == 0:
        raise ValueError(
            "`y0` must be 1-dimensional, or have shape (n, *batch), and not empty; "
            f"got shape {state.shape}."
        )
    if not np.isfinite(state).all():
        raise ValueError("`y0` must be finite; got NaN or infinity.")
    if state.dtype.name not in backend.capabilities.dtypes:
        raise TypeError(
            f"`backend` must support {state.dtype}, in which differential equations are solved; "
            f"{backend.name!r} supports {', '.join(backend.capabilities.dtypes)}."
        )
    return state


def times(t_eval: Any, start: float, end: float) -> NDArray:
    """Return the times asked for."""
    wanted = _numbers("t_eval", t_eval)
    if wanted.ndim != 1:
        raise ValueError(f"`t_eval` must be 1-dimensional; got shape {wanted.shape}.")
    low, high = min(start, end), max(start, end)
    outside = ~((wanted >= low) & (wanted <= high))
    if outside.any():
        raise ValueError(
            f"`t_eval` must lie within `t_span`, from {low:g} to {high:g}; "
            f"got {float(wanted[outside][0]):g}."
        )
    steps = np.diff(wanted)
    if (steps <= 0).any() if end >= start else (steps >= 0).any():
        order = "increase" if end >= start else "decrease"
        raise ValueError(f"`t_eval` must {order} strictly, as `t_span` does.")
    return wanted


def solves_together(steps: Any, batch: bool) -> bool | None:
    """Return whether to solve for many steps together; None: where it pays."""
    chosen = _checks.one_of("steps", steps, ("auto", "together", "one by one"))
    if chosen == "together" and batch:
        raise ValueError("`steps` must not be 'together' for a batch, which goes step by step.")
    return None if chosen == "auto" else chosen == "together"


def positive(name: str, value: Any) -> float:
    """Return a positive number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"`{name}` must be a number; got {value!r}.") from None
    if not number > 0:
        raise ValueError(f"`{name}` must be positive; got {number:g}.")
    return number


def tolerances(rtol: Any, atol: Any, n: int) -> tuple[NDArray, NDArray]:
    """Return the tolerances, for all components or for each."""
    relative, absolute = _numbers("rtol", rtol), _numbers("atol", atol)
    for name, value in (("rtol", relative), ("atol", absolute)):
        if value.shape not in ((), (n,)):
            raise ValueError(f"`{name}` must be a number or have shape ({n},); got {value.shape}.")
        if not (np.isfinite(value).all() and (value >= 0).all()):
            raise ValueError(f"`{name}` must be finite and at least 0; got {value}.")
    smallest = 100 * float(np.finfo(float).eps)
    if (relative < smallest).any():
        warn(f"`rtol` must be at least {smallest:.3g}, which is used; got {relative}.")
        relative = np.maximum(relative, smallest)
    return relative, absolute


def _numbers(name: str, value: Any) -> NDArray:
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise type(error)(f"`{name}` must be numbers; got {value!r}.") from None


def sparsity(value: Any, n: int) -> csc_array | None:
    """Return where the Jacobian may differ from zero, if that was given."""
    if value is None:
        return None
    shape = np.shape(value)
    if shape != (n, n):
        raise ValueError(
            f"`jac_sparsity` must have shape {(n, n)}, as `y0` has {n} states; got {shape}."
        )
    from scipy.sparse import csc_array, issparse

    given: Any = value if issparse(value) else np.asarray(value) != 0
    return csc_array(given)


def first_step(value: Any, length: float) -> float | None:
    """Return the size of the first step to try, if one was given."""
    if value is None:
        return None
    size = positive("first_step", value)
    if size > length or not np.isfinite(size):
        raise ValueError(
            f"`first_step` must be at most the length of `t_span`, {length:g}, and finite; "
            f"got {size:g}."
        )
    return size
