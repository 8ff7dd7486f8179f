# mypy: disable-error-code="no-untyped-call"
"""Numba's way from a function to machine code, with operators that need no call."""

from __future__ import annotations

import operator
from typing import Any

from numba.core import errors
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.untyped_passes import ReconstructSSA

from seqsolve_numba.replaced import OPERATORS

#: Constants on the right of an operator with which it is an instruction, or some.
SIMPLE = {operator.pow: (-1.0, 0.5, 1.0, 2.0), operator.mod: (1.0,)}
SIMPLE |= {operator.ipow: SIMPLE[operator.pow], operator.imod: SIMPLE[operator.mod]}


@register_pass(mutates_CFG=False, analysis_only=False)
class _ReplaceOperators(FunctionPass):
    """Puts the backend's functions in place of operators that are calls of the C library."""

    _name = "seqsolve_replace_operators"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Return whether there were any."""
        code, changed = state.func_ir, False
        for block in code.blocks.values():
            for kind in ("binop", "inplace_binop"):
                for expression in block.find_exprs(op=kind):
                    replacement = OPERATORS.get(expression.fn)
                    if replacement and not _is_simple(code, expression):
                        expression.fn = replacement
                        if kind == "inplace_binop":
                            expression.immutable_fn = replacement
                        changed = True
        return changed


def _is_simple(code: Any, expression: Any) -> bool:
    """Return whether a constant of those is on the right."""
    try:
        return code.infer_constant(expression.rhs) in SIMPLE[expression.fn]
    except errors.ConstantInferenceError:
        return False


class Compiler(CompilerBase):
    """Numba's compiler with that pass, after functions have been inlined."""

    def define_pipelines(self) -> list[Any]:
        """Return the only pipeline."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_ReplaceOperators, ReconstructSSA)
        passes.finalize()
        return [passes]
