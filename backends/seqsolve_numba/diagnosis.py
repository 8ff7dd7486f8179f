# mypy: disable-error-code="no-untyped-call"
"""Explains why a user's function cannot be compiled, in terms of its source."""

from __future__ import annotations

import linecache
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
import numpy as np
from numba.extending import is_jitted

from seqsolve.step import ElementStepError


def check_access(step: Any, y_prev: Any, x: Any, params: tuple[Any, ...]) -> None:
    """Raise ElementStepError if a function reaches beyond its arguments, or writes to them.

    It is called at one position, on copies. Compiled code would read or write
    what is none of its business, the caller's input among it.

    Parameters
    ----------
    step : ElementStep
        The step.
    y_prev, x, params : arrays or numbers
        What its functions receive at one position, in host memory.
    """
    functions = {
        "step": (step.function, (step.n_state,)),
        "jac": (step.jac_function, step.jac_shape),
    }
    given, names = (y_prev, x, *params), ("y_prev", "x", *step.params)
    for name, (function, shape) in functions.items():
        if isinstance(function, FunctionType):
            own = tuple(a.copy() if isinstance(a, np.ndarray) else a for a in given)
            with np.errstate(all="ignore"):
                try:
                    function(*own[:2], own[2:], np.full(shape, np.nan, y_prev.dtype))
                except IndexError as error:
                    *_, frame = traceback.extract_tb(error.__traceback__)
                    raise ElementStepError(
                        f"`{name}` must stay within its arguments: {error}.\n\n    {frame.line}\n\n"
                        f"({frame.filename}, line {frame.lineno})"
                    ) from None
                except Exception:  # the compiler, or what is compiled, says more
                    continue
            for what, before, after in zip(names, given, own, strict=True):
                if isinstance(before, np.ndarray) and before.tobytes() != after.tobytes():
                    raise ElementStepError(
                        f"`{name}` must leave its arguments as they are; it changed `{what}`."
                    )


def check(name: str, function: Callable[..., Any], compiled: Any, arguments: Any) -> None:
    """Raise ElementStepError, with the user's line, if a function cannot be compiled.

    Parameters
    ----------
    name : str
        What the user calls it.
    function : callable
        The user's function.
    compiled : dispatcher
        Its translation.
    arguments : tuple of numba.types.Type
        Types of its arguments.
    """
    if not is_jitted(compiled):
        raise ElementStepError(f"`{name}` must be a plain Python function; got {function!r}.")
    try:
        compiled.compile(arguments)
    except Exception as error:  # not all that Numba raises are errors of its own
        raise ElementStepError(f"`{name}` cannot be compiled:{_line(function, error)}") from None


def unsupported(function: Callable[..., Any], error: Exception) -> str:
    """Return what to tell where a step compiles for the processor but not for a device."""
    return f"The step cannot be compiled for a CUDA device:{_line(function, error)}"


def _line(function: Callable[..., Any], error: Exception) -> str:
    """Return the user's line that an error is about, and the reason."""
    file, line = _place(function, error)
    source = linecache.getline(file, line).strip() or f"<line {line}>"
    return (
        f"\n\n    {source}\n\n({file}, line {line}). {_reason(str(error))} An element step uses "
        "numbers, loops and elements of its arguments, and allocates nothing."
    )


def _place(function: Any, error: Exception) -> tuple[str, int]:
    """Return the file and the line of the user's that an error is about."""
    file, line = function.__code__.co_filename, function.__code__.co_firstlineno
    named = re.search(re.escape(file) + r" \((\d+)\)", str(error))
    if named:
        return file, int(named[1])
    loc = getattr(error, "loc", None)
    if loc is not None and loc.line and not loc.filename.startswith(_NUMBA):
        return loc.filename, loc.line
    return file, line


def _reason(text: str) -> str:
    """Return what Numba says, in a line."""
    if any(sign in text for sign in _ALLOCATES):
        return "It allocates memory."
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(_FRAMES)]
    if lines and lines[0].endswith("signature:") and len(lines) > 1:
        return f"Numba: {lines[0]} {lines[1].removeprefix('>>>').strip()}."
    return f"Numba: {lines[0].removesuffix('.')}." if lines else ""


#: Where Numba itself is.
_NUMBA = str(Path(numba.__file__).parent)

#: What Numba says where compiled code would need its memory manager.
_ALLOCATES = ("NRT required", "Only accept returning of array")

#: How the lines begin that say where in Numba an error came up.
_FRAMES = ("Failed in", "- Resolution", "During:", "There are")
