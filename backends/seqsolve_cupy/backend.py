"""The CuPy backend's primitives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cupy
import numpy.typing as npt

from seqsolve.backend import Array
from seqsolve.portable import PortableBackend


class CupyBackend(PortableBackend):
    """CuPy arrays on an NVIDIA GPU."""

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


def _dotted(version: int) -> str:
    """Return CUDA's number of a version as people write it."""
    return f"{version // 1000}.{version % 1000 // 10}"
