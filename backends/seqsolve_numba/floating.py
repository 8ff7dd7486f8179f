# mypy: disable-error-code="no-untyped-call"
"""Arithmetic on floating-point numbers and on their bits, in code that is being made."""

from __future__ import annotations

from collections.abc import Sequence
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


#: A flag that changes nothing here: it only keeps Numba from adding the caller's. A product that
#: has no other flag never becomes part of a fused product.
_ALONE = ("arcp",)


class _NoFlags(ir.instructions.FastMathFlags):  # type: ignore[misc]
    """No flags of a call, and none to be added by Numba, which adds the caller's to every call."""

    def add(self, name: str) -> None:
        """Leave it as it is."""


@dataclass(frozen=True)
class Value:
    """A floating-point number, an integer with its bits or a condition, in code being made.

    Operators append instructions. They may be fused, not regrouped: to instructions with a
    flag Numba adds none of the caller's.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
        Appends instructions.
    format : Format
        The number's.
    code : llvmlite value
        The result of an instruction, or a constant.
    fuses : bool
        Whether the processor multiplies and adds with one rounding.
    """

    builder: Any
    format: Format
    code: Any
    fuses: bool

    def _of(self, code: Any) -> Value:
        return Value(self.builder, self.format, code, self.fuses)

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

    def __mod__(self, other: Any) -> Value:
        return self._operation("rem", other)

    def __and__(self, other: Any) -> Value:
        return self._operation("and_", other)

    def __or__(self, other: Any) -> Value:
        return self._operation("or_", other)

    def __xor__(self, other: Any) -> Value:
        return self._operation("xor", other)

    def __neg__(self) -> Value:
        return self._of(self.builder.fneg(self.code))

    def __invert__(self) -> Value:
        """Return that a condition does not hold."""
        return self._of(self.builder.not_(self.code))

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

    def equals(self, other: Any) -> Value:
        """Return the condition that two numbers are equal."""
        return self._compared("==", other)

    def is_zero(self) -> Value:
        """Return the condition that it is zero."""
        return self.equals(0.0)

    def has_sign(self) -> Value:
        """Return the condition that its sign is negative, a zero's or a NaN's too."""
        top = ir.Constant(self.format.word, self.format.sign.bit_length() - 1)
        return self._of(self.builder.trunc(self.builder.lshr(self.bits.code, top), ir.IntType(1)))

    def choose(self, then: Any, otherwise: Any) -> Value:
        """Return one of two values, of which one is a `Value`, by this condition."""
        like = then if isinstance(then, Value) else otherwise
        return self._of(self.builder.select(self.code, like._lifted(then), like._lifted(otherwise)))

    def lowest_bit(self) -> Value:
        """Return the condition that an integer is odd."""
        return self._of(self.builder.trunc(self.code, ir.IntType(1)))

    @property
    def size(self) -> Value:
        """The absolute value."""
        return (self.bits & (self.format.sign - 1)).number

    def signed(self, x: Value) -> Value:
        """Return this number, which is not of the other sign, with the sign of `x`."""
        return (self.bits | (x.bits & x.format.sign)).number

    def called(self, name: str, *arguments: Value) -> Value:
        """Return the result of one of LLVM's own functions."""
        number = self.format.number
        operation = ir.FunctionType(number, [number] * len(arguments))
        function = self.builder.module.declare_intrinsic(name, [number], operation)
        call = self.builder.call(function, [argument.code for argument in arguments])
        call.fastmath = _NoFlags()
        return self._of(call)

    def root(self) -> Value:
        """Return the square root."""
        return self.called("llvm.sqrt", self)

    def product(self, other: Value | float) -> tuple[Value, Value]:
        """Return the product, rounded, and what the rounding took.

        Without fused products, that comes from products of halves (Dekker, "A Floating-Point
        Technique for Extending the Available Precision", Numerische Mathematik 18, 1971).
        """
        a, b = self, other if isinstance(other, Value) else self.constant(other)
        high = self._of(self.builder.fmul(a.code, b.code, flags=_ALONE))
        if self.fuses:
            return high, self.called("llvm.fma", a, b, -high)
        (a1, a2), (b1, b2) = a._halves(), b._halves()
        return high, ((a1 * b1 - high) + a1 * b2 + a2 * b1) + a2 * b2

    def less_product(self, a: Value, b: Value | float) -> Value:
        """Return ``self - a * b``, which is small beside both, as if the product were exact."""
        if self.fuses:
            b = b if isinstance(b, Value) else self.constant(b)
            return self.called("llvm.fma", -a, b, self)
        high, low = a.product(b)
        return (self - high) - low

    def _halves(self) -> tuple[Value, Value]:
        low = (1 << (self.format.mantissa + 2) // 2) - 1
        high = (self.bits & ~low).number
        return high, self - high

    def sum_with_less(self, other: Value) -> tuple[Value, Value]:
        """Return the sum, rounded, and what the rounding took (Dekker).

        The other number is the smaller one, or this is zero.
        """
        high = self + other
        return high, (self - high) + other

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


def polynomial(x: Value, coefficients: Sequence[Any]) -> Value:
    """Return the polynomial in `x`, as a tree (Estrin): products wait for few others."""
    terms = list(coefficients)
    while len(terms) > 1:
        terms = pairs(x, terms)
        x = x * x
    result: Value = terms[0]
    return result


def pairs(x: Value, terms: Sequence[Any]) -> list[Any]:
    """Return the coefficients of the same polynomial in powers of ``x * x``."""
    sums = [x * high + low for low, high in zip(terms[::2], terms[1::2], strict=False)]
    return [*sums, *terms[len(terms) & ~1 :]]
