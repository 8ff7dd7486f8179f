"""Calls of functions in CUDA C++: those of numbers, and the user's own."""

from __future__ import annotations

import ast
import inspect
from types import FunctionType
from typing import Any

import numpy as np

from seqsolve_cupy.element.expressions import Value
from seqsolve_cupy.element.functions import CASTS, FUNCTIONS, OPERATORS, Function
from seqsolve_cupy.element.operators import COMPARISONS, Operators
from seqsolve_cupy.element.types import BOOL, INT, NONE, REAL, Kind, Number, Static, Tuple, View

__all__ = ["Calls"]


class Calls(Operators):
    """Expressions with operators and calls."""

    def _Call(self, node: ast.Call) -> Value:
        called = self.expression(node.func)
        if not isinstance(called.type, Static):
            self.fail(node, f"{called.type} cannot be called.".capitalize())
        function = called.type.value
        if any(isinstance(a, ast.Starred) for a in node.args) or any(
            k.arg is None for k in node.keywords
        ):
            self.fail(node, "`*` and `**` in a call are not supported.")
        if isinstance(function, FunctionType) and not _is_known(function):
            return self._call_user(node, function)
        if node.keywords:
            self.fail(node, f"Keyword arguments of {called.type} are not supported.")
        arguments = [self.expression(a) for a in node.args]
        if function is len:
            return self._length(node, arguments)
        for argument, part in zip(arguments, node.args, strict=True):
            if not isinstance(argument.type, Number):
                self.fail(part, f"A number is needed; got {argument.type}.")
        return self._call_known(node, function, arguments)

    def _length(self, node: ast.AST, arguments: list[Value]) -> Value:
        kind = arguments[0].type if len(arguments) == 1 else NONE
        if isinstance(kind, View):
            return self.python(node, kind.shape[0])
        if isinstance(kind, Tuple):
            return self.python(node, len(kind.items))
        self.fail(node, "`len` is for an array or a tuple.")

    def _call_known(self, node: ast.AST, function: Any, arguments: list[Value]) -> Value:
        kinds, n = [self.kind_of(a) for a in arguments], len(arguments)
        if _hashable(function):
            if function in CASTS and n == 1:
                return self._cast(node, *CASTS[function], arguments[0])
            if function in OPERATORS and n == 2:
                name = OPERATORS[function]
                if name in COMPARISONS:
                    return self.comparison(node, name, *arguments)
                return self.binary(node, name, *arguments)
            if function in (abs, np.absolute) and n == 1:
                if kinds[0] == Kind.COMPLEX:
                    return Value(REAL, f"magnitude({arguments[0].code})")
                function = np.absolute
            if function is round and n == 1 and kinds[0] <= Kind.REAL:
                return Value(INT, f"int64(rint({self.converted(node, arguments[0], Kind.REAL)}))")
            if function in (min, max) and n > 1:
                return self._extreme(node, "lesser" if function is min else "greater", arguments)
            if function is np.where and n == 3:
                return self.choice(node, self.true(arguments[0]), *arguments[1:])
            known = FUNCTIONS.get(function)
            if known is not None:
                return self._call_function(node, function, known, arguments)
        self.fail(node, f"The function {getattr(function, '__name__', function)} is not supported.")

    def _call_function(
        self, node: ast.AST, function: Any, known: Function, arguments: list[Value]
    ) -> Value:
        if len(arguments) != known.n_arguments:
            self.fail(node, f"{function.__name__} takes {known.n_arguments} arguments here.")
        kind = max([known.least, *map(self.kind_of, arguments)])
        if known.most == Kind.BOOL:
            codes = [self.true(a).code for a in arguments]
            return Value(BOOL, known.call(codes))
        if kind > known.most:
            self.fail(node, f"{function.__name__} of {Number(kind)} is not supported.")
        codes = [self.converted(node, a, kind) for a in arguments]
        return Value(Number(kind if known.result is None else known.result), known.call(codes))

    def _cast(self, node: ast.AST, kind: Kind, rounding: str, value: Value) -> Value:
        own = self.kind_of(value)
        if own == Kind.COMPLEX:
            self.fail(node, "A complex number does not become a real one: take `.real`.")
        if kind == Kind.BOOL:
            return self.true(value)
        code = rounding.format(value.code)
        if own == kind and code == value.code:
            return value
        return Value(Number(kind), f"{Number(kind).cpp}({code})")

    def _extreme(self, node: ast.AST, name: str, arguments: list[Value]) -> Value:
        kind = max(map(self.kind_of, arguments))
        if kind == Kind.COMPLEX:
            self.fail(node, "Complex numbers have no order.")
        codes = [self.converted(node, a, kind) for a in arguments]
        code = codes[0]
        for other in codes[1:]:
            code = f"{name}({code}, {other})"
        return Value(Number(kind), code)

    def _call_user(self, node: ast.Call, function: FunctionType) -> Value:
        try:
            bound = inspect.signature(function).bind(
                *node.args, **{str(k.arg): k.value for k in node.keywords}
            )
        except TypeError as error:
            self.fail(node, f"{function.__name__}: {error}.")
        given = dict(bound.arguments)
        bound.apply_defaults()
        values = [
            self.expression(a) if name in given else self.python(node, a)
            for name, a in bound.arguments.items()
        ]
        called: Value = self.unit.call(self, node, function, values)
        return called


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _is_known(function: Any) -> bool:
    """Return whether a Python function is one of NumPy's or of the standard library's."""
    return function in FUNCTIONS or function is np.where
