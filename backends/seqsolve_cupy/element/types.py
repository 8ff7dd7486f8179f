"""Types of values in translated functions, and their C++ names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

__all__ = [
    "BOOL",
    "COMPLEX",
    "INT",
    "NONE",
    "REAL",
    "Kind",
    "Nothing",
    "Number",
    "Static",
    "Tuple",
    "Type",
    "View",
    "join",
]


class Kind(IntEnum):
    """Kinds of numbers; each holds those before it."""

    BOOL = 0
    INT = 1
    REAL = 2
    COMPLEX = 3


#: C++ types; `Real` is what the state's parts are, `Number` the state.
_CPP = {Kind.BOOL: "bool", Kind.INT: "int64", Kind.REAL: "Real", Kind.COMPLEX: "Number"}
_TEXT = {
    Kind.BOOL: "a truth value",
    Kind.INT: "an integer",
    Kind.REAL: "a floating-point number",
    Kind.COMPLEX: "a complex number",
}


@dataclass(frozen=True, eq=False)
class Number:
    """A number; `value` if it is known when the function is translated, as text too."""

    kind: Kind
    value: Any = None
    text: str = ""  # what tells -0.0 from 0.0, and NaN equal to NaN

    @classmethod
    def known(cls, value: bool | int | float | complex) -> Number:
        """Return the type of a constant."""
        kinds = {bool: Kind.BOOL, int: Kind.INT, float: Kind.REAL, complex: Kind.COMPLEX}
        return cls(kinds[type(value)], value, repr(value))

    @property
    def cpp(self) -> str:
        """The C++ type."""
        return _CPP[self.kind]

    def __str__(self) -> str:
        return _TEXT[self.kind]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number) and (self.kind, self.text) == (other.kind, other.text)

    def __hash__(self) -> int:
        return hash((self.kind, self.text))


BOOL, INT = Number(Kind.BOOL), Number(Kind.INT)
REAL, COMPLEX = Number(Kind.REAL), Number(Kind.COMPLEX)


@dataclass(frozen=True)
class View:
    """An array in memory, contiguous; `item` is the C++ type of an element there."""

    kind: Kind
    shape: tuple[int, ...]
    item: str
    writable: bool = False

    @property
    def cpp(self) -> str:
        """The C++ type."""
        const = "" if self.writable else "const "
        return f"View<{', '.join([const + self.item, *map(str, self.shape)])}>"

    def __str__(self) -> str:
        return f"an array of shape {self.shape}"


@dataclass(frozen=True)
class Tuple:
    """Several values."""

    items: tuple[Type, ...]

    @property
    def cpp(self) -> str:
        """The C++ type."""
        return f"Tuple<{', '.join(item.cpp for item in self.items)}>"

    def __str__(self) -> str:
        return f"a tuple of {len(self.items)}"


@dataclass(frozen=True)
class Nothing:
    """None."""

    cpp = "Nothing"

    def __str__(self) -> str:
        return "None"


@dataclass(frozen=True, eq=False)
class Static:
    """A function, a module: what exists only while the function is translated."""

    value: Any
    cpp = "Nothing"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)

    def __str__(self) -> str:
        return getattr(self.value, "__name__", repr(self.value))


NONE = Nothing()
Type: TypeAlias = Number | View | Tuple | Nothing | Static


def join(a: Type, b: Type) -> Type | None:
    """Return the type of a variable that holds either, or None if there is none."""
    if a == b:
        return a
    if isinstance(a, Number) and isinstance(b, Number):
        return Number(max(a.kind, b.kind))
    if isinstance(a, Tuple) and isinstance(b, Tuple) and len(a.items) == len(b.items):
        items = [join(x, y) for x, y in zip(a.items, b.items, strict=True)]
        known = tuple(item for item in items if item is not None)
        return Tuple(known) if len(known) == len(items) else None
    return None
