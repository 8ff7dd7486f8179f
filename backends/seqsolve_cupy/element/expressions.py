"""Expressions of Python as expressions of CUDA C++: constants, names, elements."""

from __future__ import annotations

import ast
import functools
import math
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

import numpy as np

from seqsolve_cupy.element.source import Source
from seqsolve_cupy.element.types import (
    BOOL,
    NONE,
    REAL,
    Kind,
    Nothing,
    Number,
    Static,
    Tuple,
    Type,
    View,
    join,
)

__all__ = ["Expressions", "Value", "variable"]


class Value(NamedTuple):
    """A typed C++ expression."""

    type: Type
    code: str


#: The largest array of numbers that is written into the source of a kernel.
_LARGEST_CONSTANT = 4096


class Expressions:
    """The expressions of one function, in one choice of types of its arguments.

    Parameters
    ----------
    unit : Unit
        What all functions of a step share.
    source : Source
        The function.
    """

    def __init__(self, unit: Any, source: Source) -> None:
        self.unit = unit
        self.source = source
        self.names: dict[str, Type] = {}  # of arguments and variables
        self.unset: frozenset[str] = frozenset()  # variables without a value on some way here

    def fail(self, node: ast.AST, reason: str) -> NoReturn:
        """Refuse a part of the function."""
        raise self.source.error(node, reason)

    def expression(self, node: ast.expr) -> Value:
        """Return a typed C++ expression."""
        translate = getattr(self, f"_{type(node).__name__}", None)
        if translate is None:
            what = _UNSUPPORTED.get(type(node).__name__, f"This ({type(node).__name__})")
            self.fail(node, f"{what} is not supported.")
        value: Value = translate(node)
        if isinstance(value.type, Number) and value.type.text:
            return Value(value.type, self.literal(node, value.type))
        return value

    def number(self, node: ast.expr) -> Value:
        """Return an expression that must be a number."""
        value = self.expression(node)
        if not isinstance(value.type, Number):
            self.fail(node, f"A number is needed; got {value.type}.")
        return value

    def kind_of(self, value: Value) -> Kind:
        """Return the kind of a number."""
        assert isinstance(value.type, Number)
        return value.type.kind

    def converted(self, node: ast.AST, value: Value, kind: Kind) -> str:
        """Return a number as one of a kind that holds it."""
        own = self.kind_of(value)
        if own == kind:
            return value.code
        assert isinstance(value.type, Number)
        if value.type.text and own < kind <= Kind.REAL:
            cast = float if kind == Kind.REAL else int
            try:
                return self.literal(node, Number.known(cast(value.type.value)))
            except OverflowError:
                pass
        if own > kind:
            self.fail(node, f"{Number(kind)} is needed; got {value.type}.".capitalize())
        return f"{Number(kind).cpp}({value.code})"

    def literal(self, node: ast.AST, known: Number) -> str:
        """Return a constant."""
        value = known.value
        if known.kind == Kind.BOOL:
            return "true" if value else "false"
        if known.kind == Kind.INT:
            if not -(2**63) < value < 2**63:
                self.fail(node, f"Integers have 64 bits; got {value}.")
            return f"int64({value})" if value >= 0 else f"(-int64({-value}))"
        if known.kind == Kind.REAL:
            return _real(value)
        self.unit.needs_complex(self, node)
        return f"Number({_real(value.real)}, {_real(value.imag)})"

    def truth(self, node: ast.expr) -> Value:
        """Return whether Python takes an expression for true."""
        value = self.expression(node)
        if isinstance(value.type, Nothing):
            return Value(Number.known(False), "false")
        if not isinstance(value.type, Number):
            self.fail(node, f"A truth value is needed; got {value.type}.")
        return self.true(value)

    def true(self, value: Value) -> Value:
        """Return whether Python takes a number for true."""
        assert isinstance(value.type, Number)
        if value.type.text:
            known = bool(value.type.value)
            return Value(Number.known(known), "true" if known else "false")
        if value.type.kind == Kind.BOOL:
            return value
        return Value(BOOL, f"is_true({value.code})")

    def python(self, node: ast.AST, value: Any) -> Value:
        """Return what stands for an object of Python's."""
        value = getattr(value, "py_func", value)
        if isinstance(value, np.generic) and value.dtype.kind in "biufc":
            value = value.item()
        if value is None:
            return Value(NONE, "Nothing{}")
        if isinstance(value, bool | int | float | complex):
            known = Number.known(value)
            return Value(known, self.literal(node, known))
        if isinstance(value, tuple):
            return self.tuple_of([self.python(node, item) for item in value])
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            if not 0 < value.size <= _LARGEST_CONSTANT:
                self.fail(
                    node,
                    f"An array from outside has 1 to {_LARGEST_CONSTANT} numbers; "
                    f"got {value.size}. Make it one of `params`.",
                )
            constant: Value = self.unit.constant(value)
            return constant
        return Value(Static(value), "Nothing{}")

    def tuple_of(self, items: list[Value]) -> Value:
        """Return several values as one."""
        code = "Tuple<>{}"
        for i in reversed(range(len(items))):
            rest = Tuple(tuple(item.type for item in items[i:]))
            code = f"{rest.cpp}{{{items[i].code}, {code}}}"
        return Value(Tuple(tuple(item.type for item in items)), code)

    # One method for each kind of node.

    def _Constant(self, node: ast.Constant) -> Value:
        if isinstance(node.value, bytes) or node.value is ...:
            self.fail(node, "This constant is not supported.")
        return self.python(node, node.value)

    def _Name(self, node: ast.Name) -> Value:
        if node.id in self.names:
            if node.id in self.unset:
                self.fail(node, f"`{node.id}` may have no value here: set it on every way here.")
            return Value(self.names[node.id], variable(node.id))
        if node.id in self.unset:
            self.fail(node, f"`{node.id}` has no value yet.")
        try:
            read, value = self.source.lookup(node.id)
        except NameError:
            self.fail(node, f"`{node.id}` is not defined.")
        self.unit.depend(read, value)
        return self.python(node, value)

    def _Tuple(self, node: ast.Tuple) -> Value:
        return self.tuple_of([self.expression(item) for item in node.elts])

    def _Attribute(self, node: ast.Attribute) -> Value:
        value = self.expression(node.value)
        kind = value.type
        if isinstance(kind, Static) and isinstance(kind.value, ModuleType | type):
            read = functools.partial(getattr, kind.value, node.attr)
            try:
                constant = read()
            except AttributeError:
                self.fail(node, f"{kind} has no {node.attr!r}.")
            self.unit.depend(read, constant)
            return self.python(node, constant)
        if isinstance(kind, View):
            facts = {"shape": kind.shape, "ndim": len(kind.shape), "size": math.prod(kind.shape)}
            if node.attr in facts:
                return self.python(node, facts[node.attr])
        if isinstance(kind, Number) and node.attr in ("real", "imag"):
            if kind.kind == Kind.COMPLEX:
                return Value(REAL, f"{value.code}.{node.attr[:2]}")
            return value if node.attr == "real" else Value(Number.known(0.0), "Real(0)")
        self.fail(node, f"`.{node.attr}` of {kind} is not supported.")

    def _Subscript(self, node: ast.Subscript) -> Value:
        value = self.expression(node.value)
        if isinstance(value.type, Tuple):
            return self._item(node, value, value.type)
        if not isinstance(value.type, View):
            self.fail(node, f"Only arrays and tuples have elements; this is {value.type}.")
        view = value.type
        code = self.element(node, value)
        n = len(self.indices(node))
        if n < len(view.shape):
            return Value(View(view.kind, view.shape[n:], view.item, view.writable), code)
        result = Number(view.kind)
        return Value(result, f"{result.cpp}({code})")

    def indices(self, node: ast.Subscript) -> list[ast.expr]:
        """Return the indices of an element."""
        return node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]

    def element(self, node: ast.Subscript, value: Value) -> str:
        """Return an element of an array, or the array of fewer axes at an index, in memory."""
        assert isinstance(value.type, View)
        shape, parts = value.type.shape, self.indices(node)
        if len(parts) > len(shape):
            self.fail(node, f"{value.type} has no {len(parts)} indices.".capitalize())
        codes = []
        for part, size in zip(parts, shape, strict=False):
            index = self.expression(part)
            if not isinstance(index.type, Number) or index.type.kind > Kind.INT:
                self.fail(part, f"An index is an integer; got {index.type}.")
            known = index.type.value
            if known is not None:
                if not -size <= known < size:
                    self.fail(part, f"Index {known} is out of bounds for an axis of {size}.")
                codes.append(f"int64({known % size})")
            else:
                codes.append(self.converted(part, index, Kind.INT))
        name = "at" if len(parts) == len(shape) else "row"
        return f"{value.code}.{name}({', '.join(codes)})"

    def _item(self, node: ast.Subscript, value: Value, kind: Tuple) -> Value:
        index = self.expression(node.slice)
        if not isinstance(index.type, Number) or index.type.kind > Kind.INT:
            self.fail(node, f"An index is an integer; got {index.type}.")
        n, i = len(kind.items), index.type.value
        if i is not None:
            if not -n <= i < n:
                self.fail(node, f"Index {i} is out of bounds for {kind}.")
            return Value(kind.items[i % n], f"get<{i % n}>({value.code})")
        common: Type | None = kind.items[0] if n else None
        for item in kind.items[1:]:
            common = common and join(common, item)
        if not isinstance(common, Number):
            self.fail(node, "An index that varies is for tuples of numbers.")
        code = f"pick<{common.cpp}>({value.code}, wrapped({index.code}, {n}))"
        return Value(Number(common.kind), code)


def variable(name: str) -> str:
    """Return the C++ name of a variable: never a keyword, never of this library."""
    letters = (c if c.isascii() else f"_u{ord(c):x}_" for c in name)
    return f"v_{''.join(letters)}"


def _real(value: float) -> str:
    if math.isnan(value):
        return "not_a_number<Real>()"
    if math.isinf(value):
        return "infinity<Real>()" if value > 0 else "(-infinity<Real>())"
    return f"Real({value!r})"


#: What people write and is not supported, in their words.
_UNSUPPORTED = {
    "List": "A list",
    "Dict": "A dictionary",
    "Set": "A set",
    "ListComp": "A list comprehension",
    "GeneratorExp": "A generator",
    "DictComp": "A dictionary",
    "SetComp": "A set",
    "Lambda": "A function inside the function",
    "JoinedStr": "Text",
    "NamedExpr": "`:=`",
    "Slice": "A slice",
    "Starred": "`*`",
    "Await": "`await`",
    "Yield": "`yield`",
    "YieldFrom": "`yield`",
}
