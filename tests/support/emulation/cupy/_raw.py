"""`RawModule` and `RawKernel`, by emulation on the host."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import cuda_host
import numpy as np
from cupy._array import ndarray
from cupy._memory import current_device
from cupy.cuda import get_current_stream
from cupy.cuda.compiler import CompileException
from cupy.cuda.driver import CUDADriverError

MAX_DYNAMIC_SHARED = 232448  # bytes: what a block can have where the architecture is sm_90

_PLAIN = re.compile(r'extern\s+"C"\s+__global__\s+(?:__launch_bounds__\([^)]*\)\s+)?void\s+(\w+)')


class RawModule:
    """CUDA C++ whose kernels are compiled together when the first is asked for."""

    def __init__(
        self,
        *,
        code: str,
        options: Sequence[str] = (),
        backend: str = "nvrtc",
        translate_cucomplex: bool = False,
        name_expressions: Sequence[str] | None = None,
    ) -> None:
        if not isinstance(options, tuple):
            raise TypeError("`options` must be a tuple")
        self.code = code
        self.options = options
        self.name_expressions = name_expressions
        self._module: cuda_host.Module | None = None

    def compile(self, log_stream: Any = None) -> None:
        """Compile now."""
        names = tuple(self.name_expressions or _PLAIN.findall(self.code))
        defines = [option for option in self.options if option.startswith(("-D", "--define"))]
        try:
            self._module = cuda_host.Module(self.code, names, defines)
        except cuda_host.CompileError as error:
            raise CompileException(
                str(error), self.code, "kernel.cu", self.options, "nvrtc"
            ) from None

    def get_function(self, name: str) -> RawKernel:
        if self._module is None:
            self.compile()
        assert self._module is not None
        try:
            return RawKernel(self._module[name])
        except KeyError:
            raise CUDADriverError(500, "CUDA_ERROR_NOT_FOUND: named symbol not found") from None


class RawKernel:
    """A kernel that can be launched on the device on which it was loaded."""

    local_size_bytes = 0
    const_size_bytes = 0
    max_threads_per_block = cuda_host.launch.MAX_THREADS

    def __init__(self, kernel: cuda_host.Kernel) -> None:
        self.name = kernel.name
        self._kernel = kernel
        self._device = current_device()
        self._carveout = -1

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        return self._kernel.max_dynamic_shared

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        if not 0 <= size <= MAX_DYNAMIC_SHARED:
            raise CUDADriverError(1, "CUDA_ERROR_INVALID_VALUE: invalid argument")
        self._kernel.max_dynamic_shared = size

    @property
    def preferred_shared_memory_carveout(self) -> int:
        return self._carveout

    @preferred_shared_memory_carveout.setter
    def preferred_shared_memory_carveout(self, percent: int) -> None:
        if not -1 <= percent <= 100:
            raise CUDADriverError(1, "CUDA_ERROR_INVALID_VALUE: invalid argument")
        self._carveout = percent

    def __call__(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Any],
        *,
        shared_mem: int = 0,
        enable_cooperative_groups: bool = False,
    ) -> None:
        if self._device != current_device():
            raise CUDADriverError(400, "CUDA_ERROR_INVALID_HANDLE: invalid resource handle")
        arrays = [arg for arg in args if isinstance(arg, ndarray)]
        for array in arrays:
            if array._memory.device != self._device:
                raise cuda_host.KernelFault(
                    f"{self.name} runs on device {self._device} and was handed an array of "
                    f"device {array._memory.device}"
                )
        try:
            self._kernel.launch(grid, block, [_argument(arg) for arg in args], shared_mem)
        except cuda_host.LaunchError as error:
            raise CUDADriverError(
                1, f"CUDA_ERROR_INVALID_VALUE: invalid argument: {error}"
            ) from None
        get_current_stream().launches += 1
        for array in arrays:
            array._memory.check_fences(self.name)


def _argument(arg: Any) -> Any:
    """Return what the launcher takes, for what CuPy takes."""
    if isinstance(arg, ndarray):
        return cuda_host.Pointer(arg.data.ptr, arg.itemsize)
    if arg is None:
        return cuda_host.Pointer(0, 0)
    if isinstance(arg, bool | int | float | complex | np.generic):
        return np.asarray(arg)
    raise TypeError(f"Unsupported type {type(arg)}")
