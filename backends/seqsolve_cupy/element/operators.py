"""Python's operators, comparisons and choices as expressions of CUDA C++."""

from __future__ import annotations

import ast
import operator
from typing import Any

from seqsolve_cupy.element.expressions import Expressions, Value
from seqsolve_cupy.element.types import BOOL, COMPLEX, INT, REAL, Kind, Nothing, Number, Static

__all__ = ["COMPARISONS", "Operators"]

_ARITHMETIC = {"Add": operator.add, "Sub": operator.sub, "Mult": operator.mul}
_FOLDED = {**_ARITHMETIC, "Div": operator.truediv, "FloorDiv": operator.floordiv}
_FOLDED |= {"Mod": operator.mod, "Pow": operator.pow}
_SYMBOLS = {"Add": "+", "Sub": "-", "Mult": "*", "Div": "/"}
_BITS = {"BitAnd": "&", "BitOr": "|", "BitXor": "^"}
COMPARISONS = {
    "Eq": ("==", operator.eq),
    "NotEq": ("!=", operator.ne),
    "Lt": ("<", operator.lt),
    "LtE": ("<=", operator.le),
    "Gt": (">", operator.gt),
    "GtE": (">=", operator.ge),
}

#: Powers up to this one are products.
_LARGEST_POWER = 8


class Operators(Expressions):
    """Expressions with operators."""

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
            parts.append(self.comparison(node, type(op).__name__, left, right))
            left = right
        if any(part.type == Number.known(False) for part in parts):
            return self.python(node, False)
        codes = [part.code for part in parts if part.type != Number.known(True)]
        if not codes:
            return self.python(node, True)
        code = " && ".join(codes)
        return Value(BOOL, f"[&] {{ {bindings}return {code}; }}()" if bindings else f"({code})")

    def comparison(self, node: ast.AST, operation: str, a: Value, b: Value) -> Value:
        """Return one comparison."""
        if operation in ("Is", "IsNot"):
            if not isinstance(a.type, Nothing) and not isinstance(b.type, Nothing):
                self.fail(node, "`is` compares with None only.")
            same = isinstance(a.type, Nothing) and isinstance(b.type, Nothing)
            return self.python(node, same == (operation == "Is"))
        if operation not in COMPARISONS:
            self.fail(node, "`in` is not supported.")
        symbol, compare = COMPARISONS[operation]
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
                known = self.true(result).type
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
        return self.choice(node, test, self.expression(node.body), self.expression(node.orelse))

    def choice(self, node: ast.AST, test: Value, a: Value, b: Value) -> Value:
        """Return one value or another, as a test has it."""
        if isinstance(a.type, Number) and isinstance(b.type, Number):
            kind = max(a.type.kind, b.type.kind)
            left, right = self.converted(node, a, kind), self.converted(node, b, kind)
            return Value(Number(kind), f"({test.code} ? {left} : {right})")
        if a.type != b.type:
            self.fail(node, f"This is {a.type} or {b.type}: it must be one of them.")
        return Value(a.type, f"({test.code} ? {a.code} : {b.code})")


def _is_large_power(base: Any, exponent: Any) -> bool:
    return isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1 and exponent > 63
