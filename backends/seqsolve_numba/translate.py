"""From a user's plain Python functions to compiled ones."""

from __future__ import annotations

import builtins
import dis
import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    MappingProxyType,
    ModuleType,
)
from typing import Any

import numpy as np

from seqsolve.step import ElementStepError
from seqsolve_numba.compilation import inlined

#: Packages whose functions are compiled by name: what they do is no user's to change.
_KNOWN = {"builtins", "cmath", "math", "numba", "numpy"}

#: What is found where there is nothing.
_NOTHING = object()


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
        What compiled code has in place of some functions.
    """

    def __init__(
        self,
        precision: np.dtype[Any],
        compiled: Callable[[FunctionType], Any] = inlined,
        replaced: Mapping[Any, Any] = MappingProxyType({}),
    ) -> None:
        self._replaced = replaced
        self._compiled = compiled
        self._narrow = {float: np.float32, complex: np.complex64} if precision.itemsize < 8 else {}
        self._translated: dict[FunctionType, Any] = {}
        self._modules: dict[Any, ModuleType] = {}
        self._taken: list[tuple[Callable[[], Any], Any]] = []
        self._digest = hashlib.sha256(precision.name.encode())
        self._known = True

    @property
    def content(self) -> str | None:
        """What was translated so far, as a digest; None if it has parts without one."""
        return self._digest.hexdigest() if self._known else None

    @property
    def current(self) -> bool:
        """Whether functions, globals and closures are what they were when they were translated."""
        for look, value in self._taken:
            now = look()
            if (now is not value or type(now) is np.ndarray) and not _same(now, value):
                return False
        return True

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
        code = self._take(partial(getattr, function, "__code__"))
        names = frozenset(name for part in _parts(code) for name in part.co_names)
        variables = {"__builtins__": builtins, "__name__": function.__module__}
        for name in sorted(_globals(code)):
            value = self._take(partial(function.__globals__.get, name, _NOTHING))
            if value is not _NOTHING:
                variables[name] = self._value(value, names)
        cells = [self._take(partial(_contents, cell)) for cell in function.__closure__ or ()]
        closure = tuple(
            CellType() if value is _NOTHING else CellType(self._value(value, names))
            for value in cells
        )
        defaults = self._take(partial(getattr, function, "__defaults__"))
        return FunctionType(
            self._code(code, names),
            variables,
            function.__name__,
            self._value(defaults, names),
            closure or None,
        )

    def _code(self, code: CodeType, names: frozenset[str]) -> CodeType:
        """Return the code with constants translated, and that of functions inside it."""
        self._add(code.co_code.hex())
        self._add(repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)))
        constants = tuple(
            self._code(c, names) if isinstance(c, CodeType) else self._value(c, names)
            for c in code.co_consts
        )
        return code.replace(co_consts=constants)

    def _value(self, value: Any, names: frozenset[str]) -> Any:
        """Return what stands in compiled code for a constant, a global or a closed-over value.

        Of modules, those attributes are translated that are among `names`.
        """
        if isinstance(value, FunctionType) and not _is_known(value.__module__):
            return self(value)
        if isinstance(value, ModuleType):
            return self._module(value, names)
        if type(value) is tuple:
            self._add(f"tuple of {len(value)}")
            return tuple(self._value(item, names) for item in value)
        self._note(value)
        if type(value) in self._narrow:
            return self._narrow[type(value)](value)
        known = isinstance(value, np.ufunc | BuiltinFunctionType)
        return self._replaced.get(value, value) if known else value

    def _module(self, module: ModuleType, names: frozenset[str]) -> ModuleType:
        """Return what stands for a module: itself, if all that is used of it stays as it is."""
        self._add(f"{module.__name__} {getattr(module, '__version__', '')}")
        if (module, names) not in self._modules:
            self._modules[module, names] = module  # modules may hold each other
            used = sorted(name for name in names if hasattr(module, name))
            values = {n: self._take(partial(getattr, module, n, _NOTHING)) for n in used}
            translated = {n: self._value(value, names) for n, value in values.items()}
            if any(translated[n] is not values[n] for n in used):
                view = ModuleType(module.__name__)
                vars(view).update(translated)
                self._modules[module, names] = view
        return self._modules[module, names]

    def _take(self, look: Callable[[], Any]) -> Any:
        """Return what is found, and remember to look whether it is still there."""
        value = look()
        self._taken.append((look, value.copy() if isinstance(value, np.ndarray) else value))
        return value

    def _note(self, value: Any) -> None:
        """Add a value to the digest."""
        if isinstance(value, np.ndarray):
            text = f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
        elif isinstance(value, int | float | complex | str | bytes | None | np.generic):
            text = f"{type(value).__name__} {value!r}"
        elif isinstance(value, np.ufunc) or _is_known(getattr(value, "__module__", None)):
            text = f"{getattr(value, '__module__', '')} {getattr(value, '__qualname__', value)!r}"
        else:
            self._known = False
            return
        self._add(text)

    def _add(self, text: str) -> None:
        self._digest.update(f"{text}\0".encode())


def _is_known(module: str | None) -> bool:
    """Return whether a module is of those whose functions are compiled by name."""
    return module is not None and module.partition(".")[0] in _KNOWN


def _parts(code: CodeType) -> Iterator[CodeType]:
    """Yield the code and that of all functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts(constant)


def _globals(code: CodeType) -> set[str]:
    """Return the names of the globals that the code reads."""
    instructions = (i for part in _parts(code) for i in dis.get_instructions(part))
    return {i.argval for i in instructions if i.opname == "LOAD_GLOBAL"}


def _contents(cell: CellType) -> Any:
    """Return what a cell of a closure holds."""
    try:
        return cell.cell_contents
    except ValueError:
        return _NOTHING


def _same(now: Any, before: Any) -> bool:
    """Return whether a value is what it was; arrays may have changed in place."""
    if not isinstance(before, np.ndarray):
        return now is before
    return (
        isinstance(now, np.ndarray)
        and (now.dtype, now.shape) == (before.dtype, before.shape)
        and now.tobytes() == before.tobytes()
    )
