"""The CuPy backend's primitives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import cupy
import numpy as np
import numpy.typing as npt

from seqsolve.backend import Array
from seqsolve.portable import PortableBackend
from seqsolve.random import NoiseStream
from seqsolve_cupy import cyclic_reduction, half, memory, newton, noise, recurrence, residual, wide
from seqsolve_cupy.element.steps import ElementSteps
from seqsolve_cupy.placement import common_device


class CupyBackend(ElementSteps, PortableBackend):
    """CuPy arrays on NVIDIA GPUs; the primitives are kernels on the current stream.

    Each runs on the device of its arguments. What comes from the host goes to
    the current device.
    """

    def __init__(self) -> None:
        ElementSteps.__init__(self)
        PortableBackend.__init__(self, "cupy", cupy)

    def describe(self) -> Mapping[str, str]:
        """Return the versions and the current device."""
        runtime = cupy.cuda.runtime
        device = cupy.cuda.Device()
        properties = runtime.getDeviceProperties(device.id)
        return {
            "cupy": cupy.__version__,
            "cuda": _dotted(runtime.runtimeGetVersion()),
            "driver": _dotted(runtime.driverGetVersion()),
            "device": properties["name"].decode(),
            "compute capability": str(int(device.compute_capability) / 10),
            "memory": f"{properties['totalGlobalMem'] / 2**30:.0f} GiB",
        }

    def placed(self, arrays: Sequence[Array]) -> AbstractContextManager[Any]:
        """Return the device that all `arrays` live on, as a context."""
        device: AbstractContextManager[Any] = common_device(*arrays)
        return device

    def to_numpy(self, a: Array) -> npt.NDArray[Any]:
        """Return `a` in host memory; waits for the work on the current stream."""
        on_host: npt.NDArray[Any] = cupy.asnumpy(a)
        return on_host

    def synchronize(self) -> None:
        """Wait for the work on the current stream."""
        cupy.cuda.get_current_stream().synchronize()

    def default_window(
        self, *, n_steps: int, n_batch: int, n_state: int, n_jacobian: int, dtype: Any
    ) -> int:
        """Return a window that fits the free memory; 1 where the batch fills the device."""
        return memory.default_window(
            n_steps=n_steps,
            n_batch=n_batch,
            n_state=n_state,
            n_jacobian=n_jacobian,
            itemsize=np.dtype(dtype).itemsize,
        )

    def linear_recurrence(
        self,
        A: Array,
        b: Array,
        y0: Array | None,
        *,
        reverse: bool,
        transpose: bool,
        method: str,
        out: Array | None,
    ) -> Array:
        """Solve the recurrence; ``"auto"`` is the scan."""
        with common_device(A, b, y0, out):
            if method == "sequential":
                return super().linear_recurrence(
                    A, b, y0, reverse=reverse, transpose=transpose, method=method, out=out
                )
            y = cupy.empty(b.shape, dtype=b.dtype) if out is None else out
            if y.size:
                solver = cyclic_reduction if method == "cyclic_reduction" else recurrence
                solver = solver if solver.applies(A, b) else wide
                solver.solve(A, b, y0, reverse=reverse, transpose=transpose, out=y)
            return y

    def residual_test(
        self, y: Array, fy: Array, rtol: float, atol: Array
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """Return each sequence's first failing step and largest residual."""
        with common_device(y, fy, atol):
            return residual.residual_test(y, fy, rtol, atol)

    def newton_update(self, A: Array, fy: Array, y: Array, *, method: str) -> None:
        """Advance the iterate in place."""
        with common_device(A, fy, y):
            if method in ("auto", "scan") and recurrence.applies(A, y):
                newton.newton_update(A, fy, y)
            else:
                super().newton_update(A, fy, y, method=method)

    def add_noise(self, z: Array, sigma: float, stream: NoiseStream, copies: range) -> Array:
        """Return ``z + sigma eps``; see `seqsolve.random.add_noise`."""
        with common_device(z, stream.table):
            return noise.add_noise(z, sigma, stream, copies)

    def weigh_noise(self, weights: Array, stream: NoiseStream, copies: range, out: Array) -> None:
        """Add ``sum_k weights[k] eps[k]`` to `out`; see `seqsolve.random.weigh_noise`."""
        with common_device(weights, stream.table, out):
            noise.weigh_noise(weights, stream, copies, out)

    def half_matmul(self, a: Array, b: Array) -> Array:
        """Return the product of matrices rounded to float16, on tensor cores, summed in float32."""
        with common_device(a, b):
            return half.half_matmul(a, b)


def _dotted(version: int) -> str:
    """Return CUDA's number of a version as people write it."""
    return f"{version // 1000}.{version % 1000 // 10}"
