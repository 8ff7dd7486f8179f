# mypy: disable-error-code="no-untyped-call"
"""Numba's way from a function to machine code, with powers that need no call."""

from __future__ import annotations

import operator
from typing import Any

from numba.core import errors
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.untyped_passes import ReconstructSSA

from seqsolve_numba.replaced import POWER

#: Constant exponents that LLVM turns into products, a root or a division.
SIMPLE = (-1.0, 0.5, 1.0, 2.0)


@register_pass(mutates_CFG=False, analysis_only=False)
class _ReplacePowers(FunctionPass):
    """Puts the backend's power in place of the operators ``**`` and ``**=``."""

    _name = "seqsolve_replace_powers"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Return whether there were any."""
        changed = False
        for block in state.func_ir.blocks.values():
            for kind in ("binop", "inplace_binop"):
                for expression in block.find_exprs(op=kind):
                    if expression.fn in (operator.pow, operator.ipow) and not _is_simple(
                        state.func_ir, expression.rhs
                    ):
                        expression.fn = POWER
                        changed = True
                        if kind == "inplace_binop":
                            expression.immutable_fn = POWER
        return changed


def _is_simple(code: Any, exponent: Any) -> bool:
    """Return whether an exponent is a constant of those."""
    try:
        return code.infer_constant(exponent) in SIMPLE
    except errors.ConstantInferenceError:
        return False


class Compiler(CompilerBase):
    """Numba's compiler with that pass, after functions have been inlined."""

    def define_pipelines(self) -> list[Any]:
        """Return the only pipeline."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_ReplacePowers, ReconstructSSA)
        passes.finalize()
        return [passes]
