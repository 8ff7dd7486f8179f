"""Launches compiled kernels: checks what a driver would refuse, and what it would let pass."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from cuda_host.build import compile_kernels, runtime

MAX_THREADS = 1024
MAX_SHARED = 48 << 10  # bytes, unless the kernel has asked for more


class KernelFault(AssertionError):
    """A kernel did what is wrong on a device, whether or not one would notice."""


class LaunchError(Exception):
    """A driver would refuse this launch."""


@dataclass(frozen=True)
class Schedule:
    """How the threads of a grid take turns.

    `resident` blocks run at a time. They start in order, or with `shuffle` in an order drawn
    from `seed`, from which everything else is drawn as well.
    """

    seed: int = 0
    resident: int = 4
    shuffle: bool = False


_schedule = Schedule()


@contextmanager
def schedule(**changes: Any) -> Iterator[None]:
    """Run the launches inside with another `Schedule`."""
    global _schedule
    before, _schedule = _schedule, replace(_schedule, **changes)
    try:
        yield
    finally:
        _schedule = before


class _Parameter(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_char), ("size", ctypes.c_uint), ("pointee", ctypes.c_uint))


class _Kernel(ctypes.Structure):
    _fields_ = (
        ("function", ctypes.c_void_p),
        ("call", ctypes.c_void_p),
        ("n_parameters", ctypes.c_uint),
        ("parameters", ctypes.POINTER(_Parameter)),
    )


@dataclass(frozen=True)
class Pointer:
    """An array as a kernel gets it: an address, and the size of an element."""

    address: int
    itemsize: int


class Kernel:
    """One instantiation of a kernel.

    Parameters
    ----------
    library : PyDLL
        What `compile_kernels` returned.
    number : int
        Which of the library's kernels.
    name : str
        The name expression.
    """

    def __init__(self, library: ctypes.PyDLL, number: int, name: str) -> None:
        describe = getattr(library, f"cuda_host_kernel_{number}")
        describe.restype = _Kernel
        self.name = name
        self.max_dynamic_shared = MAX_SHARED
        self.shared_bytes = 0  # the most that a block has used
        self._library = library
        self._kernel: _Kernel = describe()

    def launch(
        self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], shared_mem: int
    ) -> None:
        """Run a grid to its end."""
        sizes = _launch_sizes(grid, block)
        if not 0 <= shared_mem <= self.max_dynamic_shared:
            raise LaunchError(
                f"{self.name}: {shared_mem} bytes of dynamic shared memory; at most "
                f"{self.max_dynamic_shared} unless max_dynamic_shared_size_bytes is raised"
            )
        values = self._arguments(args)
        pointers = (ctypes.c_void_p * max(1, len(values)))(*(v.ctypes.data for v in values))
        message = ctypes.create_string_buffer(4096)
        used = ctypes.c_size_t()
        failed = runtime().cuda_host_run(
            self.name.encode(),
            ctypes.byref(self._kernel),
            pointers,
            (ctypes.c_uint * 6)(*sizes),
            ctypes.c_size_t(shared_mem),
            ctypes.c_uint64(_schedule.seed),
            ctypes.c_size_t(_schedule.resident),
            ctypes.c_int(_schedule.shuffle),
            ctypes.byref(used),
            message,
            ctypes.c_size_t(len(message)),
        )
        self.shared_bytes = max(self.shared_bytes, used.value)
        if failed:
            raise KernelFault(message.value.decode())

    def _arguments(self, args: Sequence[Any]) -> list[np.ndarray]:
        """Return each argument's bytes, after comparing it with the parameter's type."""
        n = self._kernel.n_parameters
        if len(args) != n:
            raise KernelFault(f"{self.name} takes {n} arguments; got {len(args)}")
        return [self._argument(i, arg) for i, arg in enumerate(args)]

    def _argument(self, i: int, arg: Any) -> np.ndarray:
        parameter = self._kernel.parameters[i]
        kind = parameter.kind.decode()
        if isinstance(arg, Pointer):
            fits = kind == "p" and (not arg.address or parameter.pointee in (0, arg.itemsize))
            given, value = f"an array of {arg.itemsize}-byte elements", np.array(arg.address, "u8")
        else:
            value = np.asarray(arg)
            given = f"{value.dtype}"
            alike = {"b": "u", "c": "s", "V": "s"}.get(value.dtype.kind, value.dtype.kind)
            fits = alike == kind and value.nbytes == parameter.size
        if not fits:
            wanted = {"p": "pointer", "i": "int", "u": "unsigned", "f": "float", "s": "struct"}
            size = parameter.pointee if kind == "p" else parameter.size
            raise KernelFault(
                f"{self.name}: parameter {i} is a {wanted[kind]} "
                f"{'to elements ' if kind == 'p' else ''}of {size} bytes; got {given}"
            )
        return value


def _launch_sizes(grid: Sequence[int], block: Sequence[int]) -> list[int]:
    sizes = [(*(int(v) for v in size), 1, 1)[:3] for size in (grid, block)]
    (gx, gy, gz), (bx, by, bz) = sizes
    if min(gx, gy, gz, bx, by, bz) < 1 or max(gy, gz) > 65535 or gx >= 2**31:
        raise LaunchError(f"invalid configuration: grid {tuple(grid)}, block {tuple(block)}")
    if bx * by * bz > MAX_THREADS or bz > 64:
        raise LaunchError(f"a block has at most {MAX_THREADS} threads; got {tuple(block)}")
    return [gx, gy, gz, bx, by, bz]


class Module:
    """The kernels of one source, compiled for the host at first use.

    Parameters
    ----------
    source : str
        CUDA C++.
    expressions : sequence of str
        Names of the kernels that can be launched, as C++ expressions.
    defines : sequence of str
        Compiler options ``-DNAME=value``.
    """

    def __init__(self, source: str, expressions: Sequence[str], defines: Sequence[str]) -> None:
        self._expressions = tuple(expressions)
        library = compile_kernels(source, self._expressions, tuple(defines))
        self._kernels = {name: Kernel(library, i, name) for i, name in enumerate(self._expressions)}

    def __getitem__(self, name: str) -> Kernel:
        return self._kernels[name]
