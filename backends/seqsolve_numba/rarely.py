# mypy: disable-error-code="no-untyped-call"
"""Calls that few arguments need, in loops that become vector instructions all the same.

LLVM makes no vector instructions of a loop with a call, unless it knows a vector form of the
function (the attribute `vector-function-abi-variant`). Where a call stands under a condition and
the only form is for more numbers than fit an instruction, it tests the condition number by number,
and calls for those that meet it.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from seqsolve_numba.floating import Value

#: More than fit any vector instruction. A form for so many is declared, and never called.
_MANY = 64


def rarely(condition: Value, emit: Callable[..., Value], name: str, *arguments: Value) -> Value:
    """Return what `emit` computes of the arguments where the condition holds, zero elsewhere.

    Write it before the arithmetic for all other arguments: what is in a register is saved around
    the call.
    """
    first, builder = arguments[0], arguments[0].builder
    function = _function(emit, f"seqsolve.{name}.{first.format.number}", arguments)
    before = builder.block
    with builder.if_then(condition.code, likely=False):
        result = builder.call(function, [argument.code for argument in arguments])
        inside = builder.block
    merged = builder.phi(first.format.number)
    merged.add_incoming(first.constant(0.0).code, before)
    merged.add_incoming(result, inside)
    return first._of(merged)


def _function(emit: Callable[..., Value], name: str, arguments: tuple[Value, ...]) -> ir.Function:
    """Return the function of this name, which each module has for itself."""
    first = arguments[0]
    module, number = first.builder.module, first.format.number
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(number, [number] * len(arguments)), name)
    function.linkage = "internal"
    form = f"_ZGV_LLVM_M{_MANY}{'v' * len(arguments)}_{name}({name}.M)"
    function.attributes = _Attributes(("noinline", f'"vector-function-abi-variant"="{form}"'))
    builder = ir.IRBuilder(function.append_basic_block())
    inner = (Value(builder, first.format, code, first.fuses) for code in function.args)
    builder.ret(emit(*inner).code)
    vector, mask = ir.VectorType(number, _MANY), ir.VectorType(ir.IntType(1), _MANY)
    kind = ir.FunctionType(vector, [*[vector] * len(arguments), mask])
    _keep(module, function, ir.Function(module, kind, f"{name}.M"))
    return function


def _keep(module: ir.Module, *functions: ir.Function) -> None:
    """Keep functions as they are: LLVM removes neither arguments nor what nothing calls."""
    name, pointer = "llvm.compiler.used", ir.IntType(8).as_pointer()
    used = module.globals.get(name)
    if used is None:
        used = ir.GlobalVariable(module, ir.ArrayType(pointer, 0), name)
        used.linkage, used.section = "appending", "llvm.metadata"
        used.initializer = ir.Constant(used.value_type, [])
    kept = [*used.initializer.constant, *(f.bitcast(pointer) for f in functions)]
    used.value_type = ir.ArrayType(pointer, len(kept))
    used.initializer = ir.Constant(used.value_type, kept)


class _Attributes(ir.values.FunctionAttributes):  # type: ignore[misc]
    """Attributes that llvmlite knows, and others."""

    def add(self, name: str) -> None:
        """Add one, whatever it is."""
        self.update((name,))
