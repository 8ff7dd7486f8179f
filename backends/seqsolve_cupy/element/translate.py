"""The functions of an element step as CUDA C++."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import numpy as np

from seqsolve_cupy.element.body import Body
from seqsolve_cupy.element.expressions import Expressions, Value
from seqsolve_cupy.element.source import Source
from seqsolve_cupy.element.types import Kind, Nothing, Number, Type, View

__all__ = ["ITEMS", "Unit"]

#: dtype of an array that the device reads -> its C++ type, and the kind that its elements become.
ITEMS = {
    "bool": ("bool", Kind.BOOL),
    "int8": ("signed char", Kind.INT),
    "int16": ("short", Kind.INT),
    "int32": ("int", Kind.INT),
    "int64": ("long long", Kind.INT),
    "uint8": ("unsigned char", Kind.INT),
    "uint16": ("unsigned short", Kind.INT),
    "uint32": ("unsigned", Kind.INT),
    "uint64": ("unsigned long long", Kind.INT),
    "float32": ("float", Kind.REAL),
    "float64": ("double", Kind.REAL),
    "complex64": ("complex64", Kind.COMPLEX),
    "complex128": ("complex128", Kind.COMPLEX),
}


class Unit:
    """Functions and all that they call, in one translation unit.

    Parameters
    ----------
    is_complex : bool
        Whether the state is complex.
    """

    def __init__(self, is_complex: bool) -> None:
        self.may_store: ast.expr | None = None
        self._is_complex = is_complex
        self._bodies: dict[Any, tuple[str, Body]] = {}
        self._begun: list[Any] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Value] = {}
        self._definitions: list[str] = []
        self._read: list[tuple[Callable[[], Any], Any, bytes]] = []

    @property
    def is_current(self) -> bool:
        """Whether all that the functions take from outside is what it was."""
        try:
            return all(_same(read(), value, bits) for read, value, bits in self._read)
        except (KeyError, ValueError, AttributeError):
            return False

    def depend(self, read: Callable[[], Any], value: Any) -> None:
        """Note what a function takes from outside."""
        bits = value.tobytes() if isinstance(value, np.ndarray) else b""
        self._read.append((read, value, bits))

    def needs_complex(self, body: Expressions, node: ast.AST) -> None:
        """Refuse a complex number in a real step."""
        if not self._is_complex:
            body.fail(node, "Complex numbers are for complex states.")

    def constant(self, array: Any) -> Value:
        """Return an array that is written into the source."""
        kind = {"b": Kind.BOOL, "f": Kind.REAL}.get(array.dtype.kind, Kind.INT)
        item = Number(kind).cpp
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            body = Expressions(self, None)  # type: ignore[arg-type]
            numbers = [body.python(ast.Pass(), number.item()).code for number in array.ravel()]
            text = f"static __device__ const {item} {name}[] = {{{', '.join(numbers)}}};"
            self._definitions.append(text)
            view = View(kind, array.shape, item)
            self._constants[key] = Value(view, f"{view.cpp}{{{name}}}")
        return self._constants[key]

    def call(self, caller: Body, node: ast.Call, function: Any, values: list[Value]) -> Value:
        """Return a call of a user's function from another."""
        kinds = tuple(value.type for value in values)
        source = Source(function.__qualname__, function)
        name, body = self.function(source, kinds)
        if body.stores:
            if node is not self.may_store:
                caller.fail(node, "A function that sets elements is called in a line of its own.")
            caller.stores = True
        caller.calls.append(name)
        assert body.result is not None
        return Value(body.result, f"{name}({', '.join(value.code for value in values)})")

    def function(self, source: Source, arguments: tuple[Type, ...]) -> tuple[str, Body]:
        """Return the C++ name and the translation of a function for arguments of some types."""
        _check_signature(source, len(arguments))
        key = (source.function, arguments)
        if source.function in self._begun:
            raise source.error(source.node, "A function must not call itself.")
        if key not in self._bodies:
            self._begun.append(source.function)
            try:
                body = Body(self, source, arguments)
            finally:
                self._begun.pop()
            self._bodies[key] = (f"function_{len(self._bodies)}", body)
        return self._bodies[key]

    def text(self, roots: list[str]) -> str:
        """Return the C++ of some functions and of what they call."""
        bodies = dict(self._bodies.values())
        ordered: list[str] = []

        def add(name: str) -> None:
            if name not in ordered:
                for called in bodies[name].calls:
                    add(called)
                ordered.append(name)

        for name in roots:
            add(name)
        return "\n".join([*self._definitions, *(_definition(n, bodies[n]) for n in ordered)])


def _same(now: Any, value: Any, bits: bytes) -> bool:
    return now is value and (not isinstance(now, np.ndarray) or now.tobytes() == bits)


def _definition(name: str, body: Body) -> str:
    result = "void" if isinstance(body.result, Nothing) or body.result is None else body.result.cpp
    parameters = ", ".join(f"{kind.cpp} {body.parameter(n)}" for n, kind in body.arguments.items())
    head = f"__device__ inline {result} {name}({parameters}) {{"
    return "\n".join([head, *body.statements, "}\n"])


def _check_signature(source: Source, n_arguments: int) -> None:
    given = source.node.args
    if given.vararg or given.kwarg or given.kwonlyargs:
        raise source.error(source.node, "`*`, `**` and keyword-only arguments are not supported.")
    if len(source.parameters) != n_arguments:
        raise source.error(
            source.node, f"It takes {len(source.parameters)} arguments; it is given {n_arguments}."
        )
