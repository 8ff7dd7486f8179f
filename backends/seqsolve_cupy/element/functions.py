"""Functions of numbers that translated code may call, and what they are in CUDA C++."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqsolve_cupy.element.types import Kind

__all__ = ["CASTS", "FUNCTIONS", "OPERATORS", "Function"]


@dataclass(frozen=True)
class Function:
    """A function of numbers.

    Parameters
    ----------
    cpp : str
        The C++ function, or an expression of its arguments ``{0}``, ``{1}``, ...
    n_arguments : int
        How many it takes.
    least, most : Kind
        Arguments become the least kind at least; beyond the most they are refused.
    result : Kind or None
        The kind of the result; None: that of the arguments.
    """

    cpp: str
    n_arguments: int = 1
    least: Kind = Kind.REAL
    most: Kind = Kind.REAL
    result: Kind | None = None

    def call(self, arguments: list[str]) -> str:
        """Return the C++ expression of a call."""
        if "{" in self.cpp:
            return self.cpp.format(*arguments)
        return f"{self.cpp}({', '.join(arguments)})"


def _elementary(*names: str) -> dict[str, Function]:
    """Return functions of a real number that C++ knows by the same name."""
    return {name: Function(name) for name in names}


_BOTH = {
    **_elementary("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "log", "sqrt"),
    **_elementary("exp2", "expm1", "log2", "log10", "log1p", "cbrt", "fabs"),
    "asin": Function("asin"),
    "acos": Function("acos"),
    "atan": Function("atan"),
    "asinh": Function("asinh"),
    "acosh": Function("acosh"),
    "atanh": Function("atanh"),
    "atan2": Function("atan2", 2),
    "hypot": Function("hypot", 2),
    "copysign": Function("copysign", 2),
    "fmod": Function("fmod", 2),
    "degrees": Function("({0} * Real(57.29577951308232))"),
    "radians": Function("({0} * Real(0.017453292519943295))"),
    "isnan": Function("is_nan", result=Kind.BOOL),
    "isinf": Function("is_infinite", result=Kind.BOOL),
    "isfinite": Function("is_finite_number", result=Kind.BOOL),
}

#: Also of complex numbers.
_COMPLEX = ("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "log", "sqrt")
for _name in (*_COMPLEX, "isnan", "isfinite"):
    _BOTH[_name] = Function(_BOTH[_name].cpp, most=Kind.COMPLEX, result=_BOTH[_name].result)

_MATH = {
    **_BOTH,
    "pow": Function("pow", 2),
    "floor": Function("int64(floor({0}))", result=Kind.INT),
    "ceil": Function("int64(ceil({0}))", result=Kind.INT),
    "trunc": Function("int64(trunc({0}))", result=Kind.INT),
    "erf": Function("erf"),
    "erfc": Function("erfc"),
    "gamma": Function("tgamma"),
    "lgamma": Function("lgamma"),
}

_NUMPY = {
    **_BOTH,
    "arcsin": _BOTH["asin"],
    "arccos": _BOTH["acos"],
    "arctan": _BOTH["atan"],
    "arcsinh": _BOTH["asinh"],
    "arccosh": _BOTH["acosh"],
    "arctanh": _BOTH["atanh"],
    "arctan2": _BOTH["atan2"],
    "deg2rad": _BOTH["radians"],
    "rad2deg": _BOTH["degrees"],
    "floor": Function("floor"),
    "ceil": Function("ceil"),
    "trunc": Function("trunc"),
    "rint": Function("rint"),
    "absolute": Function("absolute", least=Kind.INT),
    "negative": Function("(-{0})", least=Kind.INT, most=Kind.COMPLEX),
    "positive": Function("{0}", least=Kind.INT, most=Kind.COMPLEX),
    "square": Function("square", least=Kind.INT, most=Kind.COMPLEX),
    "reciprocal": Function("(Real(1) / {0})"),
    "sign": Function("sign_of", least=Kind.INT),
    "signbit": Function("has_sign", result=Kind.BOOL),
    "heaviside": Function("heaviside", 2),
    "conjugate": Function("conjugate", least=Kind.INT, most=Kind.COMPLEX),
    "maximum": Function("maximum", 2, least=Kind.INT),
    "minimum": Function("minimum", 2, least=Kind.INT),
    "fmax": Function("fmax", 2),
    "fmin": Function("fmin", 2),
    "logaddexp": Function("log_add_exp", 2),
    "clip": Function("minimum(maximum({0}, {1}), {2})", 3, least=Kind.INT),
    "logical_not": Function("(!{0})", least=Kind.BOOL, most=Kind.BOOL),
    "logical_and": Function("({0} && {1})", 2, least=Kind.BOOL, most=Kind.BOOL),
    "logical_or": Function("({0} || {1})", 2, least=Kind.BOOL, most=Kind.BOOL),
    "logical_xor": Function("({0} != {1})", 2, least=Kind.BOOL, most=Kind.BOOL),
}

#: By the Python object itself.
FUNCTIONS: dict[Any, Function] = {
    **{getattr(math, name): function for name, function in _MATH.items() if hasattr(math, name)},
    **{getattr(np, name): function for name, function in _NUMPY.items() if hasattr(np, name)},
}

#: Functions that are operators: the name of the syntax node.
OPERATORS: dict[Any, str] = {
    np.add: "Add",
    np.subtract: "Sub",
    np.multiply: "Mult",
    np.divide: "Div",
    np.floor_divide: "FloorDiv",
    np.remainder: "Mod",
    np.power: "Pow",
    np.float_power: "Pow",
    operator.add: "Add",
    operator.sub: "Sub",
    operator.mul: "Mult",
    operator.truediv: "Div",
    operator.floordiv: "FloorDiv",
    operator.mod: "Mod",
    operator.pow: "Pow",
    pow: "Pow",
    np.greater: "Gt",
    np.greater_equal: "GtE",
    np.less: "Lt",
    np.less_equal: "LtE",
    np.equal: "Eq",
    np.not_equal: "NotEq",
}

#: What makes a number another kind, and how it rounds before.
CASTS: dict[Any, tuple[Kind, str]] = {
    bool: (Kind.BOOL, "{}"),
    np.bool_: (Kind.BOOL, "{}"),
    int: (Kind.INT, "{}"),
    np.int32: (Kind.INT, "int({})"),
    np.int64: (Kind.INT, "{}"),
    float: (Kind.REAL, "{}"),
    np.float32: (Kind.REAL, "float({})"),
    np.float64: (Kind.REAL, "{}"),
}
