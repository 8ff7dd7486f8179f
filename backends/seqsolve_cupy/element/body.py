"""A function of Python as a function of CUDA C++, for one choice of types of its arguments."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from seqsolve_cupy.element.calls import Calls
from seqsolve_cupy.element.expressions import Value, variable
from seqsolve_cupy.element.source import Source
from seqsolve_cupy.element.types import INT, NONE, Kind, Nothing, Number, Static, Tuple, Type, View
from seqsolve_cupy.element.types import join as joined

__all__ = ["Body"]

#: Loops of so many rounds at most are unrolled, if known in advance.
_UNROLLED = 8

#: So often the types of variables may widen; every one does a few times at most.
_MAX_PASSES = 50


@dataclass
class _Loop:
    """The ways out of a loop's body, with the variables that have no value there."""

    breaks: list[frozenset[str]] = field(default_factory=list)
    rounds: list[frozenset[str]] = field(default_factory=list)


class Body(Calls):
    """One function.

    The types of variables are found by translating again until none widens.

    Parameters
    ----------
    unit : Unit
        What all functions of a step share.
    source : Source
        The function.
    arguments : tuple of Type
        The types of its arguments.
    """

    def __init__(self, unit: Any, source: Source, arguments: tuple[Type, ...]) -> None:
        super().__init__(unit, source)
        self.arguments = dict(zip(source.parameters, arguments, strict=True))
        self.variables: dict[str, Type] = {}
        self.result: Type | None = None
        self.stores = False
        self.calls: list[Any] = []
        self._times_set = _times_set(source.node, source.parameters)
        self._lines: list[str] = []
        self._depth = 1
        self._loops: list[_Loop] = []
        self._reachable = True
        for _ in range(_MAX_PASSES):
            before = (dict(self.variables), self.result)
            self._translate()
            if before == (self.variables, self.result):
                break

    @property
    def statements(self) -> list[str]:
        """The lines of the C++ function's body."""
        declared = [
            f"    {kind.cpp} {variable(name)};"
            for name, kind in sorted(self.variables.items())
            if not isinstance(kind, Static | Nothing)
        ]
        return declared + self._lines

    def _translate(self) -> None:
        self._lines, self.calls, self.stores = [], [], False
        self.unset = frozenset(set(self._times_set) - set(self.source.parameters))
        self._reachable = True
        for name, kind in self.arguments.items():
            if name not in self.variables and self._times_set[name] > 1:
                self.variables[name] = _widened(kind)
        self.names = {**self.arguments, **self.variables}
        for name in self.arguments:
            if name in self.variables:
                self._emit(f"{variable(name)} = {self._argument_value(name)};")
        node = self.source.node
        if isinstance(node, ast.Lambda):
            self._return(node, self.expression(node.body))
            return
        self._block(node.body)
        if self._reachable:
            self._return(node, Value(NONE, ""))

    def _argument_value(self, name: str) -> str:
        value = Value(self.arguments[name], f"a_{variable(name)}")
        kind = self.variables[name]
        if isinstance(kind, Number):
            return self.converted(self.source.node, value, kind.kind)
        return value.code

    def parameter(self, name: str) -> str:
        """Return the C++ name of a parameter; one that is assigned to has a variable as well."""
        return f"a_{variable(name)}" if name in self.variables else variable(name)

    def _emit(self, line: str) -> None:
        self._lines.append("    " * self._depth + line)

    @contextmanager
    def _indented(self) -> Iterator[None]:
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def _block(self, statements: list[ast.stmt]) -> None:
        for node in statements:
            if not self._reachable:
                return
            translate = getattr(self, f"_{type(node).__name__}", None)
            if translate is None:
                self.fail(node, f"`{_WORDS.get(type(node).__name__, 'this')}` is not supported.")
            translate(node)

    # One method for each kind of statement, beside those of expressions.

    def _Pass(self, node: ast.Pass) -> None:
        pass

    def _Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):
            return
        value = self._outer(node.value)
        if not isinstance(value.type, Static):
            self._emit(f"{value.code};")

    def _Return(self, node: ast.Return) -> None:
        value = Value(NONE, "") if node.value is None else self._outer(node.value)
        self._return(node, value)

    def _return(self, node: ast.AST, value: Value) -> None:
        kind = _widened(value.type)
        before = self.result
        self.result = kind if before is None else joined(before, kind)
        if self.result is None:
            self.result = before
            self.fail(node, f"This returns {kind}, and {before} elsewhere.")
        if isinstance(kind, Static):
            self.fail(node, "A function cannot be returned.")
        if isinstance(self.result, Nothing):
            self._emit("return;")
        else:
            self._emit(f"return {self._as(node, value, self.result)};")
        self._reachable = False

    def _as(self, node: ast.AST, value: Value, kind: Type) -> str:
        """Return a value as one of a wider type."""
        if isinstance(kind, Number):
            return self.converted(node, value, kind.kind)
        if isinstance(kind, Tuple) and kind != value.type:
            assert isinstance(value.type, Tuple)
            items = [Value(item, f"get<{i}>(whole)") for i, item in enumerate(value.type.items)]
            parts = [
                Value(k, self._as(node, item, k)) for item, k in zip(items, kind.items, strict=True)
            ]
            return (
                f"[&] {{ const auto whole = {value.code}; return {self.tuple_of(parts).code}; }}()"
            )
        return value.code

    def _Assign(self, node: ast.Assign) -> None:
        value = self._outer(node.value)
        if len(node.targets) == 1:
            self._store(node, node.targets[0], value)
            return
        with self._kept(value) as kept:
            for target in node.targets:
                self._store(node, target, kept)

    def _AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._store(node, node.target, self._outer(node.value))

    def _AugAssign(self, node: ast.AugAssign) -> None:
        target = node.target
        old = self.expression(_loaded(target))
        if not isinstance(old.type, Number):
            self.fail(node, f"Only numbers are computed with; this is {old.type}.")
        new = self.binary(node, type(node.op).__name__, old, self.number(node.value))
        self._store(node, target, new)

    def _unpack(self, node: ast.AST, target: ast.Tuple | ast.List, value: Value) -> None:
        if not isinstance(value.type, Tuple) or len(value.type.items) != len(target.elts):
            self.fail(node, f"{len(target.elts)} values are needed; got {value.type}.")
        with self._kept(value) as kept:
            for i, (part, kind) in enumerate(zip(target.elts, value.type.items, strict=True)):
                self._store(node, part, Value(kind, f"get<{i}>({kept.code})"))

    @contextmanager
    def _kept(self, value: Value) -> Iterator[Value]:
        """Compute a value once, for several uses."""
        self._emit("{")
        with self._indented():
            name = f"t{self._depth}"
            self._emit(f"const auto {name} = {value.code};")
            self._emit(f"(void){name};")
            yield Value(value.type, name)
        self._emit("}")

    def _store(self, node: ast.AST, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            self._set(node, target.id, value)
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(node, target, value)
        elif isinstance(target, ast.Subscript):
            array = self.expression(target.value)
            if not isinstance(array.type, View):
                self.fail(node, f"Only elements of the result can be set; this is {array.type}.")
            if not array.type.writable:
                self.fail(node, "Only the result, the last argument, may be changed.")
            place = self.element(target, array)
            if len(self.indices(target)) != len(array.type.shape):
                self.fail(node, f"An element of {array.type} has {len(array.type.shape)} indices.")
            if not isinstance(value.type, Number):
                self.fail(node, f"A number is needed; got {value.type}.")
            self._emit(f"{place} = {self.converted(node, value, array.type.kind)};")
            self.stores = True
        else:
            self.fail(node, "Only variables and elements can be set.")

    def _set(self, node: ast.AST, name: str, value: Value) -> None:
        kind = value.type if self._times_set[name] == 1 else _widened(value.type)
        if name in self.variables:
            common = joined(self.variables[name], kind)
            if common is None:
                self.fail(node, f"`{name}` is {kind} here and {self.variables[name]} elsewhere.")
            kind = common
        self.variables[name] = self.names[name] = kind
        self.unset -= {name}
        if isinstance(kind, Nothing):
            self._emit(f"{value.code};")
        elif not isinstance(kind, Static):
            self._emit(f"{variable(name)} = {self._as(node, value, kind)};")

    def _outer(self, node: ast.expr) -> Value:
        """Return an expression that may be a call that sets elements."""
        if isinstance(node, ast.Call):
            self.unit.may_store = node
        return self.expression(node)

    def _If(self, node: ast.If) -> None:
        test = self.truth(node.test)
        assert isinstance(test.type, Number)
        if test.type.text:
            self._block(node.body if test.type.value else node.orelse)
            return
        before = self.unset
        self._emit(f"if ({test.code}) {{")
        with self._indented():
            self._block(node.body)
        one, one_reachable = self.unset, self._reachable
        self.unset, self._reachable = before, True
        self._emit("} else {")
        with self._indented():
            self._block(node.orelse)
        self._emit("}")
        if not self._reachable:
            self.unset = one
        elif one_reachable:
            self.unset |= one
        self._reachable |= one_reachable

    def _For(self, node: ast.For) -> None:
        if node.orelse:
            self.fail(node.orelse[0], "`else` of a loop is not supported.")
        if not isinstance(node.target, ast.Name):
            self.fail(node, "A loop has one variable.")
        begin, end, step = self._range(node)
        count = None
        if all(isinstance(v.type, Number) and v.type.text for v in (begin, end, step)):
            numbers = [int(v.type.value) for v in (begin, end, step)]  # type: ignore[union-attr]
            if not numbers[2]:
                self.fail(node, "The step of `range` must not be 0.")
            count = len(range(*numbers))
        depth = self._depth
        counter, stop, stride = f"i{depth}", f"n{depth}", f"s{depth}"
        self._emit("{")
        self._emit(f"    const int64 {stop} = {end.code}, {stride} = {step.code};")
        if count is not None and count <= _UNROLLED:
            self._emit("#pragma unroll")
        self._emit(
            f"    for (int64 {counter} = {begin.code}; "
            f"{stride} > 0 ? {counter} < {stop} : {counter} > {stop}; {counter} += {stride}) {{"
        )
        before = self.unset
        self._depth += 2
        self._set(node, node.target.id, Value(INT, counter))
        loop = self._rounds(node.body)
        self._depth -= 2
        self._emit("    }")
        self._emit("}")
        after = [*loop.breaks, *loop.rounds] if count else [before, *loop.breaks]
        self.unset = frozenset().union(*after) if after else before
        self._reachable = bool(after)

    def _rounds(self, body: list[ast.stmt]) -> _Loop:
        """Translate a loop's body."""
        loop = _Loop()
        self._loops.append(loop)
        self._block(body)
        self._loops.pop()
        if self._reachable:
            loop.rounds.append(self.unset)
        self._reachable = True
        return loop

    def _range(self, node: ast.For) -> tuple[Value, Value, Value]:
        call = node.iter
        if not isinstance(call, ast.Call) or self.expression(call.func).type != Static(range):
            self.fail(node, "A loop goes over `range(...)`.")
        parts = [self.expression(a) for a in call.args]
        if not 1 <= len(parts) <= 3 or call.keywords:
            self.fail(node, "`range` takes one to three integers.")
        for part in parts:
            if not isinstance(part.type, Number) or part.type.kind > Kind.INT:
                self.fail(node, f"`range` takes integers; got {part.type}.")
        if len(parts) == 1:
            parts = [self.python(node, 0), *parts]
        if len(parts) == 2:
            parts = [*parts, self.python(node, 1)]
        return parts[0], parts[1], parts[2]

    def _While(self, node: ast.While) -> None:
        if node.orelse:
            self.fail(node.orelse[0], "`else` of a loop is not supported.")
        test = self.truth(node.test)
        assert isinstance(test.type, Number)
        before = self.unset
        self._emit(f"while ({test.code}) {{")
        with self._indented():
            loop = self._rounds(node.body)
        self._emit("}")
        endless = test.type == Number.known(True)
        after = loop.breaks if endless else [before, *loop.breaks]
        self.unset = frozenset().union(*after) if after else before
        self._reachable = bool(after)

    def _Break(self, node: ast.Break) -> None:
        self._loops[-1].breaks.append(self.unset)
        self._emit("break;")
        self._reachable = False

    def _Continue(self, node: ast.Continue) -> None:
        self._loops[-1].rounds.append(self.unset)
        self._emit("continue;")
        self._reachable = False


def _widened(kind: Type) -> Type:
    """Return the type without known values: what a function returns."""
    if isinstance(kind, Number):
        return Number(kind.kind)
    if isinstance(kind, Tuple):
        return Tuple(tuple(map(_widened, kind.items)))
    return kind


def _times_set(node: ast.AST, parameters: list[str]) -> dict[str, int]:
    """Return how often each name is set in the text; one that is set once keeps a known value."""
    names = (n for n in ast.walk(node) if isinstance(n, ast.Name))
    return dict(Counter([*parameters, *(n.id for n in names if isinstance(n.ctx, ast.Store))]))


def _loaded(target: ast.expr) -> ast.expr:
    """Return a target of an assignment as an expression."""
    if isinstance(target, ast.Name):
        return ast.copy_location(ast.Name(target.id, ast.Load()), target)
    return target


#: What people write and is not supported, in their words.
_WORDS = {
    "FunctionDef": "def",
    "ClassDef": "class",
    "Delete": "del",
    "With": "with",
    "Match": "match",
    "Raise": "raise",
    "Try": "try",
    "TryStar": "try",
    "Assert": "assert",
    "Import": "import",
    "ImportFrom": "import",
    "Global": "global",
    "Nonlocal": "nonlocal",
    "AsyncFor": "async for",
    "AsyncFunctionDef": "async def",
    "AsyncWith": "async with",
}
