# mypy: disable-error-code="no-untyped-call"
"""Arithmetic on floating-point numbers and on their bits, in code that is being made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir


@dataclass(frozen=True)
class Format:
    """A floating-point format, IEEE 754's float32 or float64.

    Parameters
    ----------
    dtype : type
        NumPy's.
    number : llvmlite type
        LLVM's.
    mantissa : int
        Bits behind the point of a mantissa.
    """

    dtype: Any
    number: Any
    mantissa: int

    @property
    def word(self) -> Any:
        """The integers with as many bits."""
        return ir.IntType(8 * np.dtype(self.dtype).itemsize)

    @property
    def bias(self) -> int:
        """What is added to an exponent where it is stored."""
        return int(np.finfo(self.dtype).maxexp) - 1

    @property
    def sign(self) -> int:
        """The bit that a negative number has, and a positive one has not."""
        return int(1 << (8 * np.dtype(self.dtype).itemsize - 1))

    @property
    def shift(self) -> float:
        """What, added to a number, rounds it to an integer, and leaves that in the last bits."""
        return 1.5 * 2.0**self.mantissa

    def bits(self, value: float) -> int:
        """Return the bits of a number, as an integer."""
        return int(self.dtype(value).view(f"u{np.dtype(self.dtype).itemsize}"))


FLOAT32 = Format(np.float32, ir.FloatType(), 23)
FLOAT64 = Format(np.float64, ir.DoubleType(), 52)


@dataclass(frozen=True)
class Value:
    """A floating-point number, an integer with its bits or a condition, in code being made.

    Operators append instructions. They may be fused, not regrouped: to instructions with a
    flag Numba adds none of the caller's.
    """

    builder: Any
    format: Format
    code: Any

    def _of(self, code: Any) -> Value:
        return Value(self.builder, self.format, code)

    def _lifted(self, other: Any) -> Any:
        return other.code if isinstance(other, Value) else ir.Constant(self.code.type, other)

    def _operation(self, name: str, other: Any) -> Value:
        if isinstance(self.code.type, ir.IntType):
            return self._of(getattr(self.builder, name)(self.code, self._lifted(other)))
        operation = getattr(self.builder, f"f{name}")
        return self._of(operation(self.code, self._lifted(other), flags=("contract",)))

    def __add__(self, other: Any) -> Value:
        return self._operation("add", other)

    def __sub__(self, other: Any) -> Value:
        return self._operation("sub", other)

    def __mul__(self, other: Any) -> Value:
        return self._operation("mul", other)

    def __truediv__(self, other: Any) -> Value:
        return self._operation("div", other)

    def __and__(self, other: Any) -> Value:
        return self._operation("and_", other)

    def __or__(self, other: Any) -> Value:
        return self._operation("or_", other)

    def __lshift__(self, other: int) -> Value:
        return self._operation("shl", other)

    def __rshift__(self, other: int) -> Value:
        return self._operation("lshr", other)

    def _compared(self, sign: str, other: Any) -> Value:
        other = self._lifted(other)
        return self._of(self.builder.fcmp_ordered(sign, self.code, other, flags=("contract",)))

    def __lt__(self, other: Any) -> Value:
        return self._compared("<", other)

    def __gt__(self, other: Any) -> Value:
        return self._compared(">", other)

    def is_zero(self) -> Value:
        """Return the condition that it is zero."""
        return self._compared("==", 0.0)

    def choose(self, then: Any, otherwise: Any) -> Value:
        """Return one of two values, of which one is a `Value`, by this condition."""
        like = then if isinstance(then, Value) else otherwise
        return self._of(self.builder.select(self.code, like._lifted(then), like._lifted(otherwise)))

    @property
    def bits(self) -> Value:
        """The integer with the same bits."""
        return self._of(self.builder.bitcast(self.code, self.format.word))

    @property
    def number(self) -> Value:
        """The number with the bits of this integer."""
        return self._of(self.builder.bitcast(self.code, self.format.number))

    def constant(self, value: float) -> Value:
        """Return a number."""
        return self._of(ir.Constant(self.format.number, value))

    def word(self, value: int) -> Value:
        """Return an integer."""
        return self._of(ir.Constant(self.format.word, value))
