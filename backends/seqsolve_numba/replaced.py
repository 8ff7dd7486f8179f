# mypy: disable-error-code="no-untyped-call"
"""What stands in compiled steps for some functions of NumPy's and of `math`."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, overload

from seqsolve_numba import (
    elementary,
    errorfunction,
    inverse,
    powers,
    remainders,
    trigonometry,
)
from seqsolve_numba.floating import FLOAT32, FLOAT64, Value

#: They become float64.
_INTEGERS = (types.int32, types.uint32, types.int64, types.uint64)

_FORMATS = {types.float32: FLOAT32, types.float64: FLOAT64}


def _all(arguments: Any) -> bool:
    return True


def stand_in(emit: Callable[..., Value], original: Any, takes: Callable[[Any], bool] = _all) -> Any:
    """Return what stands in compiled code for a function: itself, but for real numbers.

    Integers among them become float64. Where `takes` says no of the types, it is the function.
    """

    def function(*arguments: Any) -> Any:
        return original(*arguments)

    n_arguments = emit.__code__.co_argcount

    def typed(self: Any, arguments: Any, keywords: Any) -> Any:
        if len(arguments) == n_arguments and not keywords and takes(arguments):
            reals = [types.float64 if a in _INTEGERS else a for a in arguments]
            if all(a in _FORMATS for a in reals):
                widest = types.float64 if types.float64 in reals else types.float32
                return widest(*[widest] * n_arguments)
        known = self.context.resolve_value_type(original)
        return self.context.resolve_function_type(known, arguments, keywords)

    def implementation(self: Any, signature: Any) -> Any:
        real = len(signature.args) == n_arguments and all(a in _FORMATS for a in signature.args)
        return function if real else original

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        form, fuses = _FORMATS[signature.return_type], fuses_products(context)
        return emit(*(Value(builder, form, code, fuses) for code in arguments)).code

    function.__qualname__ = original.__name__
    members = {"key": function, "generic": typed, "get_impl_key": implementation}
    template = type(original.__name__, (AbstractTemplate,), members)
    infer_global(function, types.Function(template))
    lower_builtin(function, *[types.Float] * n_arguments)(generate)
    return function


def fuses_products(context: Any) -> bool:
    """Return whether the processor that is compiled for has fused products."""
    triple, _, features = context.codegen().magic_tuple()
    return "+fma" in features.split(",") or triple.startswith(("aarch64", "arm64", "ppc64le"))


def _extreme(name: str, ufunc: Any) -> Any:
    """Return what stands for a function of NumPy's in compiled code.

    Of two floating-point numbers of one type it is an instruction, NaN included, where
    Numba's own is four.
    """

    def typed(typing_context: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            number = arguments[0].type
            operation = ir.FunctionType(number, (number, number))
            function = builder.module.declare_intrinsic(name, [number], operation)
            return builder.call(function, arguments, fastmath=("nsz",))

        return a(a, b), generate

    instruction: Any = intrinsic(typed)
    of_floats, of_others = lambda a, b: instruction(a, b), lambda a, b: ufunc(a, b)

    def extreme(a: Any, b: Any) -> Any:
        return ufunc(a, b)

    overload(extreme, inline="always")(
        lambda a, b: of_floats if isinstance(a, types.Float) and a == b else of_others
    )
    return extreme


#: Functions that `math` calls by another name, and those that it has not.
_IN_MATH = {
    "power": "pow",
    "arctan": "atan",
    "arctan2": "atan2",
    "arcsin": "asin",
    "arccos": "acos",
    "remainder": "",  # its own is rounded to the nearest
}

_MODULES = (elementary, trigonometry, inverse, errorfunction, powers, remainders)


def _replaced() -> dict[Any, Any]:
    functions = {
        np.minimum: _extreme("llvm.minimum", np.minimum),
        np.maximum: _extreme("llvm.maximum", np.maximum),
    }
    for emit in (emit for module in _MODULES for emit in module.FUNCTIONS):
        name = emit.__name__
        for module, known in ((np, name), (math, _IN_MATH.get(name, name))):
            if hasattr(module, known):
                original = getattr(module, known)
                functions[original] = stand_in(emit, original)
    return functions


#: In place of what.
REPLACED: Mapping[Any, Any] = _replaced()

_POWER = stand_in(powers.power, operator.pow, lambda a: a[1] in _FORMATS)
_REMAINDER = stand_in(remainders.remainder, operator.mod, lambda a: any(b in _FORMATS for b in a))

#: In place of operators.
OPERATORS: Mapping[Any, Any] = {
    operator.pow: _POWER,
    operator.ipow: _POWER,
    operator.mod: _REMAINDER,
    operator.imod: _REMAINDER,
}
