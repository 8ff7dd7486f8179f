# mypy: disable-error-code="no-untyped-call"
"""What stands in compiled steps for some functions of NumPy's and of `math`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, overload

from seqsolve_numba import elementary
from seqsolve_numba.floating import FLOAT32, FLOAT64, Value

#: These become float64.
_INTEGERS = (types.int32, types.uint32, types.int64, types.uint64)

_FORMATS = {types.float32: FLOAT32, types.float64: FLOAT64}


def stand_in(emit: Callable[[Value], Value], original: Any) -> Any:
    """Return what stands in compiled code for a function: itself, but for real numbers."""

    def function(*arguments: Any) -> Any:
        return original(*arguments)

    def typed(self: Any, arguments: Any, keywords: Any) -> Any:
        if len(arguments) == 1 and not keywords:
            (a,) = arguments
            if a in _INTEGERS:
                a = types.float64
            if a in _FORMATS:
                return a(a)
        known = self.context.resolve_value_type(original)
        return self.context.resolve_function_type(known, arguments, keywords)

    def implementation(self: Any, signature: Any) -> Any:
        real = len(signature.args) == 1 and signature.args[0] in _FORMATS
        return function if real else original

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return emit(Value(builder, _FORMATS[signature.return_type], arguments[0])).code

    function.__qualname__ = original.__name__
    members = {"key": function, "generic": typed, "get_impl_key": implementation}
    template = type(original.__name__, (AbstractTemplate,), members)
    infer_global(function, types.Function(template))
    lower_builtin(function, types.Float)(generate)
    return function


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


def _replaced() -> dict[Any, Any]:
    functions = {
        np.minimum: _extreme("llvm.minimum", np.minimum),
        np.maximum: _extreme("llvm.maximum", np.maximum),
    }
    for emit in elementary.FUNCTIONS:
        for module in (np, math):
            original = getattr(module, emit.__name__)
            functions[original] = stand_in(emit, original)
    return functions


#: In place of what.
REPLACED: Mapping[Any, Any] = _replaced()
