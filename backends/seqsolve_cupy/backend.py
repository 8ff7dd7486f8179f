"""The CuPy backend's primitives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cupy
import numpy.typing as npt

from seqsolve.backend import Array
from seqsolve.portable import PortableBackend
from seqsolve_cupy import cyclic_reduction, wide


class CupyBackend(PortableBackend):
    """CuPy arrays on an NVIDIA GPU, the primitives as kernels on the current stream."""

    def __init__(self) -> None:
        super().__init__("cupy", cupy)

    def describe(self) -> Mapping[str, str]:
        """Return the versions and the device."""
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

    def to_numpy(self, a: Array) -> npt.NDArray[Any]:
        """Return `a` in host memory; waits for the work on the current stream."""
        on_host: npt.NDArray[Any] = cupy.asnumpy(a)
        return on_host

    def synchronize(self) -> None:
        """Wait for the work on the current stream."""
        cupy.cuda.get_current_stream().synchronize()

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
        if method == "sequential":
            return super().linear_recurrence(
                A, b, y0, reverse=reverse, transpose=transpose, method=method, out=out
            )
        y = cupy.empty(b.shape, dtype=b.dtype) if out is None else out
        if y.size:
            solver = cyclic_reduction if cyclic_reduction.applies(A, b) else wide
            solver.solve(A, b, y0, reverse=reverse, transpose=transpose, out=y)
        return y


def _dotted(version: int) -> str:
    """Return CUDA's number of a version as people write it."""
    return f"{version // 1000}.{version % 1000 // 10}"
