"""Expressions of Python as expressions of CUDA C++."""

from __future__ import annotations

import ast
import functools
import inspect
import math
import operator
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, NoReturn

import numpy as np

from seqsolve_cupy.element.functions import CASTS, FUNCTIONS, OPERATORS, Function
from seqsolve_cupy.element.source import Source
from seqsolve_cupy.element.types import (
    BOOL,
    COMPLEX,
    INT,
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

__all__ = ["Expressions", "Value"]


class Value(NamedTuple):
    """A typed C++ expression."""

    type: Type
    code: str


_ARITHMETIC = {"Add": operator.add, "Sub": operator.sub, "Mult": operator.mul}
_FOLDED = {**_ARITHMETIC, "Div": operator.truediv, "FloorDiv": operator.floordiv}
_FOLDED |= {"Mod": operator.mod, "Pow": operator.pow}
_SYMBOLS = {"Add": "+", "Sub": "-", "Mult": "*", "Div": "/"}
_BITS = {"BitAnd": "&", "BitOr": "|", "BitXor": "^"}
_COMPARISONS = {
    "Eq": ("==", operator.eq),
    "NotEq": ("!=", operator.ne),
    "Lt": ("<", operator.lt),
    "LtE": ("<=", operator.le),
    "Gt": (">", operator.gt),
    "GtE": (">=", operator.ge),
}

#: The largest array of numbers that is written into the source of a kernel.
_LARGEST_CONSTANT = 4096

#: Powers up to this one are products.
_LARGEST_POWER = 8


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
        return self._true(value)

    def _true(self, value: Value) -> Value:
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
            return self._tuple([self.python(node, item) for item in value])
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

    def _tuple(self, items: list[Value]) -> Value:
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
        return self._tuple([self.expression(item) for item in node.elts])

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

    def _UnaryOp(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            value = self.truth(node.operand)
            assert isinstance(value.type, Number)
            if value.type.text:
                return self.python(node, not value.type.value)
            return Value(BOOL, f"(!{value.code})")
        value = self.number(node.operand)
        assert isinstance(value.type, Number)
        kind = max(value.type.kind, Kind.INT)
        if isinstance(node.op, ast.Invert):
            if value.type.kind != Kind.INT:
                self.fail(node, f"`~` is for integers; got {value.type}.")
            return Value(INT, f"(~{value.code})")
        if value.type.text:
            number = value.type.value
            return self.python(node, -number if isinstance(node.op, ast.USub) else +number)
        sign = "-" if isinstance(node.op, ast.USub) else "+"
        return Value(Number(kind), f"({sign}{self.converted(node, value, kind)})")

    def _BinOp(self, node: ast.BinOp) -> Value:
        operation = type(node.op).__name__
        return self.binary(node, operation, self.number(node.left), self.number(node.right))

    def binary(self, node: ast.AST, operation: str, a: Value, b: Value) -> Value:
        """Return an operation on two numbers."""
        assert isinstance(a.type, Number)
        assert isinstance(b.type, Number)
        if a.type.text and b.type.text and operation in _FOLDED:
            if operation == "Pow" and _is_large_power(a.type.value, b.type.value):
                self.fail(node, "Integers have 64 bits; this is larger.")
            try:
                return self.python(node, _FOLDED[operation](a.type.value, b.type.value))
            except (ArithmeticError, ValueError):
                if max(a.type.kind, b.type.kind) <= Kind.INT:
                    self.fail(node, "This divides an integer by zero.")
        kind = max(a.type.kind, b.type.kind, Kind.INT)
        if operation in _BITS:
            if kind > Kind.INT:
                self.fail(node, f"`{_BITS[operation]}` is for integers and truth values.")
            both_bool = a.type.kind == b.type.kind == Kind.BOOL
            return Value(BOOL if both_bool else INT, f"({a.code} {_BITS[operation]} {b.code})")
        if operation in ("LShift", "RShift"):
            if kind > Kind.INT:
                self.fail(node, "Shifts are for integers.")
            name = "shifted_left" if operation == "LShift" else "shifted_right"
            return Value(INT, f"{name}({a.code}, {b.code})")
        if operation == "Pow":
            return self._power(node, a, b)
        if operation == "Div":
            kind = max(kind, Kind.REAL)
        left, right = self.converted(node, a, kind), self.converted(node, b, kind)
        if operation in _SYMBOLS:
            return Value(Number(kind), f"({left} {_SYMBOLS[operation]} {right})")
        if operation in ("FloorDiv", "Mod") and kind < Kind.COMPLEX:
            name = "floor_divide" if operation == "FloorDiv" else "modulo"
            return Value(Number(kind), f"{name}({left}, {right})")
        self.fail(node, f"The operator {operation} is not supported for {Number(kind)}.")

    def _power(self, node: ast.AST, a: Value, b: Value) -> Value:
        assert isinstance(a.type, Number)
        assert isinstance(b.type, Number)
        exponent = b.type.value if b.type.kind <= Kind.INT else None
        if exponent is not None and float(exponent) == exponent and b.type.text:
            if 0 <= exponent <= _LARGEST_POWER:
                kind = max(a.type.kind, Kind.INT)
                return Value(
                    Number(kind), f"power<{int(exponent)}>({self.converted(node, a, kind)})"
                )
            if exponent > 0 and a.type.kind <= Kind.INT:
                return Value(INT, f"integer_power({a.code}, {b.code})")
        elif max(a.type.kind, b.type.kind) <= Kind.INT:
            self.fail(
                node,
                "An integer to the power of an integer that varies may be an integer or not: "
                "write float(...) for one of them.",
            )
        kind = max(a.type.kind, b.type.kind, Kind.REAL)
        if kind == Kind.COMPLEX:
            self.fail(node, "Complex powers are integers from 0 to 8, known in advance.")
        left, right = self.converted(node, a, kind), self.converted(node, b, kind)
        return Value(Number(kind), f"pow({left}, {right})")

    def _Compare(self, node: ast.Compare) -> Value:
        parts, bindings, left = [], "", self.expression(node.left)
        for i, (op, operand) in enumerate(zip(node.ops, node.comparators, strict=True)):
            right = self.expression(operand)
            if i + 1 < len(node.ops) and right.type in (BOOL, INT, REAL, COMPLEX):
                # What stands between two comparisons is computed once.
                name = f"c{i}_{node.lineno}_{node.col_offset}"
                bindings += f"const {right.type.cpp} {name} = {right.code}; "
                right = Value(right.type, name)
            parts.append(self._comparison(node, type(op).__name__, left, right))
            left = right
        if any(part.type == Number.known(False) for part in parts):
            return self.python(node, False)
        codes = [part.code for part in parts if part.type != Number.known(True)]
        if not codes:
            return self.python(node, True)
        code = " && ".join(codes)
        return Value(BOOL, f"[&] {{ {bindings}return {code}; }}()" if bindings else f"({code})")

    def _comparison(self, node: ast.AST, operation: str, a: Value, b: Value) -> Value:
        if operation in ("Is", "IsNot"):
            if not isinstance(a.type, Nothing) and not isinstance(b.type, Nothing):
                self.fail(node, "`is` compares with None only.")
            same = isinstance(a.type, Nothing) and isinstance(b.type, Nothing)
            return self.python(node, same == (operation == "Is"))
        if operation not in _COMPARISONS:
            self.fail(node, "`in` is not supported.")
        symbol, compare = _COMPARISONS[operation]
        if isinstance(a.type, Static) and isinstance(b.type, Static) and symbol in ("==", "!="):
            texts = (a.type.value, b.type.value)
            if all(isinstance(text, str) for text in texts):
                return self.python(node, compare(*texts))
        if not isinstance(a.type, Number) or not isinstance(b.type, Number):
            self.fail(node, f"Only numbers are compared; got {a.type} and {b.type}.")
        if a.type.text and b.type.text:
            return self.python(node, compare(a.type.value, b.type.value))
        kind = max(a.type.kind, b.type.kind)
        if kind == Kind.COMPLEX and symbol not in ("==", "!="):
            self.fail(node, "Complex numbers have no order.")
        left, right = self.converted(node, a, kind), self.converted(node, b, kind)
        return Value(BOOL, f"({left} {symbol} {right})")

    def _BoolOp(self, node: ast.BoolOp) -> Value:
        is_and = isinstance(node.op, ast.And)
        result: Value | None = None
        for part in node.values:
            if result is not None:
                known = self._true(result).type
                assert isinstance(known, Number)
                if known.text:
                    if known.value != is_and:  # decided: what follows is not looked at
                        return result
                    result = None
            value = self.expression(part)
            if isinstance(value.type, Nothing):
                value = Value(Number.known(False), "false")
            if not isinstance(value.type, Number):
                self.fail(part, f"A truth value is needed; got {value.type}.")
            result = value if result is None else self._either(part, is_and, result, value)
        assert result is not None
        return result

    def _either(self, node: ast.AST, is_and: bool, a: Value, b: Value) -> Value:
        """Return the operand that decides, as Python does."""
        kind = max(self.kind_of(a), self.kind_of(b))
        if kind == Kind.BOOL:
            return Value(BOOL, f"({a.code} {'&&' if is_and else '||'} {b.code})")
        left = self.converted(node, a, kind)
        right = self.converted(node, b, kind)
        chosen = f"{right} : first" if is_and else f"first : {right}"
        code = f"[&] {{ const {Number(kind).cpp} first = {left}; "
        return Value(Number(kind), f"{code}return is_true(first) ? {chosen}; }}()")

    def _IfExp(self, node: ast.IfExp) -> Value:
        test = self.truth(node.test)
        assert isinstance(test.type, Number)
        if test.type.text:
            return self.expression(node.body if test.type.value else node.orelse)
        return self._choice(node, test, self.expression(node.body), self.expression(node.orelse))

    def _choice(self, node: ast.AST, test: Value, a: Value, b: Value) -> Value:
        if isinstance(a.type, Number) and isinstance(b.type, Number):
            kind = max(a.type.kind, b.type.kind)
            left, right = self.converted(node, a, kind), self.converted(node, b, kind)
            return Value(Number(kind), f"({test.code} ? {left} : {right})")
        if a.type != b.type:
            self.fail(node, f"This is {a.type} or {b.type}: it must be one of them.")
        return Value(a.type, f"({test.code} ? {a.code} : {b.code})")

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
                if name in _COMPARISONS:
                    return self._comparison(node, name, *arguments)
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
                return self._choice(node, self._true(arguments[0]), *arguments[1:])
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
            codes = [self._true(a).code for a in arguments]
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
            return self._true(value)
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


def variable(name: str) -> str:
    """Return the C++ name of a variable: never a keyword, never of this library."""
    letters = (c if c.isascii() else f"_u{ord(c):x}_" for c in name)
    return f"v_{''.join(letters)}"


def _is_large_power(base: Any, exponent: Any) -> bool:
    return isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1 and exponent > 63


def _real(value: float) -> str:
    if math.isnan(value):
        return "not_a_number<Real>()"
    if math.isinf(value):
        return "infinity<Real>()" if value > 0 else "(-infinity<Real>())"
    return f"Real({value!r})"


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _is_known(function: Any) -> bool:
    """Return whether a Python function is one of NumPy's or of the standard library's."""
    return function in FUNCTIONS or function is np.where


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
