"""Compiles kernels where they would be launched: what a machine without a device can check."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from numba import cuda, types
from numba.cuda import dispatcher

ARCHITECTURES = ((8, 0), (9, 0))


class Compiler:
    """Stands in for the launches of `seqsolve_numba.gpu.launch`; keeps what compiled."""

    def __init__(self):
        self.architectures = ARCHITECTURES
        self.compiled = {}

    def ready(self, kernel, grid, n_threads, *arguments):
        return lambda: self.compile(kernel, *arguments)

    def rounds(self, backend, launches, left):
        for one in launches:
            one()

    def compile(self, kernel, *arguments):
        signature = types.void(*(_type(a) for a in arguments))
        for architecture in self.architectures:
            ptx, _ = cuda.compile(
                kernel.py_func, signature, device=False, cc=architecture, abi="numba"
            )
            assert f".target sm_{architecture[0]}{architecture[1]}" in ptx
            self.compiled[kernel.py_func.__name__, architecture] = ptx


@contextmanager
def compiling():
    """Compile kernels for a device instead of launching them."""
    from seqsolve_numba.gpu import launch, memory

    compiler = Compiler()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "ready", compiler.ready)
        patch.setattr(launch, "rounds", compiler.rounds)
        patch.setattr(launch, "n_multiprocessors", lambda: 132)
        patch.setattr(launch, "n_resident", lambda: 2**16)
        patch.setattr(memory, "total_bytes", lambda: 2**36)
        # Device functions are typed for the device that is there.
        device = SimpleNamespace(compute_capability=ARCHITECTURES[0])
        patch.setattr(dispatcher, "get_current_device", lambda: device)
        yield compiler


def _type(argument):
    """Return the type that a kernel sees of an array on a device, or of a number."""
    if isinstance(argument, tuple):
        return types.Tuple([_type(a) for a in argument])
    if isinstance(argument, np.ndarray):
        layout = "C" if argument.flags.c_contiguous else "A"
        return types.Array(numba.from_dtype(argument.dtype), argument.ndim, layout)
    return numba.typeof(argument)
