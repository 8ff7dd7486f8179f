"""Checks of arguments: each error names the argument, the requirement and what came."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from seqsolve import _registry
from seqsolve._protocol import offers
from seqsolve._tree import leaves
from seqsolve.backend import Array, Backend, get_backend

SUPPORTED_DTYPES = ("float32", "float64", "complex64", "complex128")
_NAMES = {np.dtype(name): name for name in SUPPORTED_DTYPES}


def one_of(name: str, value: Any, allowed: Collection[str]) -> str:
    """Return `value` if it is one of the strings allowed."""
    if not isinstance(value, str) or value not in allowed:
        choices = ", ".join(repr(a) for a in allowed)
        raise ValueError(f"`{name}` must be one of {choices}; got {value!r}.")
    return value


def integer(name: str, value: Any, minimum: int) -> int:
    """Return `value` as an int of at least `minimum`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            f"`{name}` must be an integer; got {value!r} ({type(value).__name__})."
        ) from None
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"`{name}` must be an integer; got {value!r}.")
    if number < minimum:
        raise ValueError(f"`{name}` must be at least {minimum}; got {number}.")
    return number


def real(name: str, value: Any, low: float, high: float = np.inf) -> float:
    """Return `value` as a finite float with ``low <= value < high``."""
    try:
        number = float(value) if not isinstance(value, str | bytes) else None
    except (TypeError, ValueError):
        number = None
    if number is None:
        raise TypeError(f"`{name}` must be a real number; got {value!r}.")
    if not low <= number < high:
        bound = f"at least {low:g}" if high == np.inf else f"in [{low:g}, {high:g})"
        raise ValueError(f"`{name}` must be finite and {bound}; got {number!r}.")
    return number


def function(name: str, value: Any, *, optional: bool = False) -> Any:
    """Return `value` if it can be called."""
    if callable(value) or (optional and value is None):
        return value
    raise TypeError(f"`{name}` must be callable; got {describe(value)} ({type(value).__name__}).")


def boolean(name: str, value: Any) -> bool:
    """Return `value` if it is True or False."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise TypeError(f"`{name}` must be True or False; got {value!r}.")


def as_dtype(dtype: Any) -> np.dtype[Any]:
    """Return the dtype of an array of any library as NumPy's."""
    return dtype if isinstance(dtype, np.dtype) else np.dtype(str(dtype))


def dtype_name(dtype: Any) -> str:
    """Return the name of the dtype in which values of `dtype` are computed.

    Integers and booleans become float64, half precision float32.
    """
    kind = as_dtype(dtype)
    if kind in _NAMES:
        return _NAMES[kind]
    if kind.name in SUPPORTED_DTYPES:
        return kind.name
    if kind.kind in "iub":
        return "float64"
    if kind.name == "float16":
        return "float32"
    raise TypeError(f"must have one of the dtypes {', '.join(SUPPORTED_DTYPES)}; got {kind.name}.")


def real_dtype(dtype: str) -> str:
    """Return the dtype of the magnitudes of `dtype`."""
    return {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)


def array(name: str, a: Any) -> Any:
    """Return `a` if it is an array of numbers of any library, else NumPy's array of it."""
    not_masked(name, a)
    reason, got = "", describe(a)
    try:
        given = a if _is_array(a) else np.asarray(a)
        if as_dtype(given.dtype).kind in "biufc":
            return given
        if hasattr(a, "shape"):
            got = f"{given.dtype} values"
    except (TypeError, ValueError, RuntimeError) as error:
        reason = f" ({str(error).rstrip('.')})"
    raise TypeError(f"`{name}` must be an array of numbers; got {got}{reason}.")


def not_masked(name: str, a: Any) -> None:
    """Refuse an array with masked values."""
    if np.ma.is_masked(a):
        raise ValueError(
            f"`{name}` must not be masked: fill what is missing, as `.filled(0)` does; "
            f"got an array with {int(np.ma.getmaskarray(a).sum())} masked values."
        )


def numeric(name: str, a: Any, backend: Backend) -> Array:
    """Return `a` as a backend array of a supported dtype."""
    given = array(name, a)
    try:
        dtype = dtype_name(given.dtype)
    except TypeError as error:
        raise TypeError(f"`{name}` {error}") from None
    try:
        return backend.asarray(given, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`{name}` must be an array of numbers that backend {backend.name!r} takes; "
            f"got {describe(a)} ({error})"
        ) from error


def returned(name: str, value: Any, backend: Backend) -> Array:
    """Return what a user's function returned, as an array of numbers."""
    try:
        result = backend.asarray(value)
        dtype_name(result.dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        got = f"{value.dtype} values" if hasattr(value, "dtype") else describe(value)
        reason = f" ({str(error).rstrip('.')})" if isinstance(error, RuntimeError) else ""
        raise TypeError(f"`{name}` must return an array of numbers; got {got}{reason}.") from None
    return result


def output(
    name: str,
    out: Any,
    shape: tuple[int, ...],
    dtype: str,
    inputs: Iterable[tuple[str, Any]] = (),
) -> Any:
    """Return `out` if it can hold a result of that shape and dtype, apart from some inputs."""
    if getattr(out, "shape", None) != shape:
        got = getattr(out, "shape", None) or f"a {type(out).__name__}"
        raise ValueError(f"`{name}` must be an array of shape {shape}; got {got}.")
    if not np.can_cast(dtype, as_dtype(out.dtype), casting="same_kind"):
        raise ValueError(f"`{name}` must hold {dtype} values; got an array of {out.dtype}.")
    if not getattr(getattr(out, "flags", None), "writeable", True):
        raise ValueError(f"`{name}` must be writeable; got a read-only array.")
    for path, a in inputs:
        if isinstance(out, np.ndarray) and isinstance(a, np.ndarray) and np.shares_memory(out, a):
            raise ValueError(
                f"`{name}` must not share memory with `{path}`, which gradients and error bounds "
                "of the solution need."
            )
    return out


def guess(name: str, value: Any, shape: tuple[int, ...], dtype: str) -> Any:
    """Return a guess of the trajectory as an array of that shape, not moved or cast."""
    given = array(name, value)
    if tuple(given.shape) != shape:
        raise ValueError(f"`{name}` must have shape {shape}; got {tuple(given.shape)}.")
    try:
        precision = dtype_name(given.dtype)
    except TypeError as error:
        raise TypeError(f"`{name}` {error}") from None
    if precision.startswith("complex") and not dtype.startswith("complex"):
        raise TypeError(f"`{name}` must be real, as the state is; got {precision}.")
    return given


def tolerances(
    rtol: Any, atol: Any, dtype: str, n_state: int
) -> tuple[float, npt.NDArray[np.floating[Any]]]:
    """Return the relative tolerance, and the absolute one for every element of the state."""
    precision = real_dtype(dtype)
    default = {"float32": 1e-6, "float64": 1e-12}[precision]
    relative = default if rtol is None else real("rtol", rtol, 0.0)
    if atol is None:
        return relative, np.full(n_state, default, dtype=precision)
    try:
        absolute = np.asarray(atol)
        absolute = absolute.astype(float, casting="same_kind")
    except (TypeError, ValueError):
        raise TypeError(
            f"`atol` must be a real number or an array of them; got {atol!r}."
        ) from None
    if absolute.shape not in ((), (n_state,)):
        raise ValueError(
            f"`atol` must be a scalar or have shape ({n_state},); got {absolute.shape}."
        )
    if not (np.isfinite(absolute).all() and (absolute >= 0).all()):
        raise ValueError(f"`atol` must be finite and at least 0; got {atol!r}.")
    return relative, np.full(n_state, absolute, dtype=precision)


def choose_backend(backend: Any, **trees: Any) -> Backend:
    """Return the backend asked for, or the one that the arrays live on."""
    if isinstance(backend, str):
        return get_backend(backend)
    if backend is not None:
        if offers(backend, Backend):
            return backend
        raise TypeError(f"`backend` must be a backend's name or None; got {backend!r}.")
    homes: dict[str, str] = {}
    for name, tree in trees.items():
        for path, leaf in leaves(tree, name):
            place = home(leaf)
            if place is not None:
                homes.setdefault(place, path)
    if len(homes) > 1:
        where = "; ".join(f"`{path}` on {place!r}" for place, path in homes.items())
        raise ValueError(f"`backend` must be named where arrays are of several: {where}.")
    return get_backend(next(iter(homes), "numpy"))


def home(a: Any) -> str | None:
    """Return the name of the backend whose arrays `a` is one of; None for NumPy's."""
    if not hasattr(a, "shape"):
        return None
    library = _library(a)
    return library if library != "numpy" and _registry.is_installed(library) else None


def call_user(what: str, fun: Callable[..., Any], *args: Any) -> Any:
    """Call a user's function; its exceptions say what it was called with."""
    try:
        return fun(*args)
    except Exception as error:
        add_note(error, what, *args)
        raise


def add_note(error: Exception, what: str, *args: Any) -> None:
    """Say in an exception what a user's function was called with."""
    shapes = ", ".join(describe(a) for a in args)
    rule = "return new values of these positions" if what == "h" else _BROADCAST
    error.add_note(f"seqsolve called `{what}` with {shapes}: it must {rule}.")


_BROADCAST = "broadcast over every leading axis: time, then the batch if `y0` has one"


def namespace(a: Any) -> Any:
    """Return the array library of an array: functions named and behaving as NumPy's."""
    return sys.modules[_library(a)]


def _library(a: Any) -> str:
    if isinstance(a, np.ndarray | np.generic | int | float | complex | list | tuple):
        return "numpy"
    namespace = getattr(a, "__array_namespace__", None)
    module = namespace().__name__ if namespace is not None else type(a).__module__
    return str(module).split(".")[0]


def _is_array(a: Any) -> bool:
    """Return whether `a` is an array like NumPy's; slices of tables, for one, may mean labels."""
    if not hasattr(a, "shape") or not hasattr(a, "dtype") or hasattr(a, "to_numpy"):
        return False
    try:
        as_dtype(a.dtype)
    except TypeError:
        return False
    return True


def describe(a: Any) -> str:
    """Return what an argument is, in words: shapes, not values."""
    if hasattr(a, "shape"):
        return f"an array of shape {tuple(a.shape)}"
    if isinstance(a, dict):
        return "{" + ", ".join(f"{k!r}: {describe(v)}" for k, v in a.items()) + "}"
    if isinstance(a, tuple | list):
        return "(" + ", ".join([*map(describe, a[:6]), *("…" for _ in a[6:7])]) + ")"
    return repr(a)
