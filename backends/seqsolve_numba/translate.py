# mypy: disable-error-code="no-untyped-call"
"""From a user's plain Python functions to compiled ones."""

from __future__ import annotations

import builtins
import dis
import hashlib
import linecache
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    MappingProxyType,
    ModuleType,
)
from typing import Any

import numba
import numpy as np
from numba.core.errors import NumbaError
from numba.extending import is_jitted

from seqsolve.step import ElementStepError
from seqsolve_numba.compilation import inlined


class Translator:
    """Translates functions, and those that they call, for one precision.

    Floating-point constants take the precision of the state, as they do in
    NumPy: compiled as they stand, ``0.5 * y`` would be computed in double
    precision.

    Parameters
    ----------
    precision : dtype
        float32 or float64.
    compiled : callable
        ``compiled(function)``, the form in which kernels call a function.
    replaced : mapping
        What compiled code has in place of some modules and functions.
    """

    def __init__(
        self,
        precision: np.dtype[Any],
        compiled: Callable[[FunctionType], Any] = inlined,
        replaced: Mapping[Any, Any] = MappingProxyType({}),
    ) -> None:
        self._replaced = replaced
        self._compiled = compiled
        self._number = precision.type
        self._narrow = precision.itemsize < 8
        self._translated: dict[FunctionType, Any] = {}
        self._digest = hashlib.sha256(precision.name.encode())
        self._known = True

    @property
    def content(self) -> str | None:
        """What was translated so far, as a digest; None if it has parts without one."""
        return self._digest.hexdigest() if self._known else None

    def __call__(self, function: Any) -> Any:
        """Return the compiled form of a function."""
        if not isinstance(function, FunctionType):
            self._note(function)
            return function
        if function not in self._translated:
            self._translated[function] = None
            self._translated[function] = self._compiled(self._rebuild(function))
        elif self._translated[function] is None:
            raise ElementStepError(
                f"An element step must not call itself; {function.__qualname__} does."
            )
        return self._translated[function]

    def _rebuild(self, function: FunctionType) -> FunctionType:
        code = function.__code__
        for part in (code.co_code, repr((code.co_names, code.co_varnames, code.co_freevars))):
            self._digest.update(part if isinstance(part, bytes) else part.encode())
        constants = tuple(self._value(c) for c in code.co_consts)
        names = {"__builtins__": builtins, "__name__": function.__module__}
        loaded = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
        for name in sorted(loaded):
            if name in function.__globals__:
                names[name] = self._value(function.__globals__[name])
        cells = tuple(CellType(self._value(c.cell_contents)) for c in function.__closure__ or ())
        return FunctionType(
            code.replace(co_consts=constants), names, function.__name__, None, cells or None
        )

    def _value(self, value: Any) -> Any:
        """Return what stands in compiled code for a constant, a global or a closed-over value."""
        if isinstance(value, FunctionType):
            return self(value)
        self._note(value)
        if self._narrow and type(value) is float:
            return self._number(value)
        if isinstance(value, ModuleType | np.ufunc | BuiltinFunctionType):
            return self._replaced.get(value, value)
        return value

    def _note(self, value: Any) -> None:
        """Add a value to the digest."""
        if isinstance(value, ModuleType):
            text = f"{value.__name__} {getattr(value, '__version__', '')}"
        elif isinstance(value, np.ndarray):
            text = f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
        elif isinstance(value, np.ufunc | type | BuiltinFunctionType):
            text = f"{getattr(value, '__module__', '')} {value.__name__}"
        elif isinstance(value, int | float | complex | str | bytes | None | np.generic):
            text = f"{type(value).__name__} {value!r}"
        elif isinstance(value, tuple):
            for item in value:
                self._note(item)
            text = f"tuple of {len(value)}"
        else:
            self._known &= isinstance(value, CodeType)
            text = ""
        self._digest.update(text.encode())


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
    except NumbaError as error:
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
    return f"Numba: {lines[0]}" if lines else ""


#: Where Numba itself is.
_NUMBA = str(Path(numba.__file__).parent)

#: What Numba says where compiled code would need its memory manager.
_ALLOCATES = ("NRT required", "Only accept returning of array")

#: How the lines begin that say where in Numba an error came up.
_FRAMES = ("Failed in", "- Resolution", "During:", "There are")
