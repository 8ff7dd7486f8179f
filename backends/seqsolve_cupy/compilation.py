"""Kernels, compiled when first launched."""

from __future__ import annotations

import functools
from typing import Any

import cupy

from seqsolve_cupy import sources

OPTIONS = ("-std=c++17",)

#: How much of a compiler's log an error shows.
_LOG_LINES = 8


class KernelCompilationError(RuntimeError):
    """A kernel could not be compiled; the device remains usable."""


def kernel(source: str, expression: str, step: str = "") -> Any:
    """Return a kernel, compiled for the current device on first use.

    It is kept for the process, or with the steps used last; CuPy 14.2 keeps the binary on disk.

    Parameters
    ----------
    source : str
        Name of a file in ``kernels/``, without its suffix.
    expression : str
        The instance of a kernel template in it, as in ``"sweep<float, 4>"``.
    step : str
        The element step that the kernel evaluates, if it does.

    Returns
    -------
    cupy.RawKernel
        Launched as ``kernel(grid, block, args, shared_mem=0)``.

    Raises
    ------
    KernelCompilationError
        The compiler refuses it; the message begins its log.
    """
    device = cupy.cuda.Device().id
    if step:
        return _compile_step(source, expression, step, device)
    return _compile(source, expression, device)


@functools.cache
def _compile(source: str, expression: str, device: int) -> Any:
    return _build(source, expression, "", device)


@functools.lru_cache(maxsize=1024)
def _compile_step(source: str, expression: str, step: str, device: int) -> Any:
    return _build(source, expression, step, device)


def _build(source: str, expression: str, step: str, device: int) -> Any:
    module = cupy.RawModule(
        code=sources.load(source, step), options=OPTIONS, name_expressions=(expression,)
    )
    try:
        return module.get_function(expression)
    except cupy.cuda.compiler.CompileException as error:
        log = "\n".join(str(error).splitlines()[:_LOG_LINES])
        raise KernelCompilationError(
            f"Kernel {expression} of {source}.cu does not compile for device {device}:\n{log}"
        ) from error
