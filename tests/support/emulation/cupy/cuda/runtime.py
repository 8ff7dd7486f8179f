"""What the runtime says of devices that are not there."""

from __future__ import annotations

from typing import Any

from cupy._memory import N_DEVICES, TOTAL_BYTES, current_device, pool, set_current_device

#: As an H200 gives them, but for the number of multiprocessors: with few, short sequences fill
#: the device, and all ways of the launch code are taken.
ATTRIBUTES = {
    "MultiProcessorCount": 4,
    "WarpSize": 32,
    "MaxThreadsPerBlock": 1024,
    "MaxThreadsPerMultiProcessor": 2048,
    "MaxBlocksPerMultiprocessor": 32,
    "MaxRegistersPerBlock": 65536,
    "MaxRegistersPerMultiprocessor": 65536,
    "MaxSharedMemoryPerBlock": 49152,
    "MaxSharedMemoryPerBlockOptin": 232448,
    "MaxSharedMemoryPerMultiprocessor": 233472,
    "L2CacheSize": 62914560,
    "MaxGridDimX": 2**31 - 1,
    "MaxGridDimY": 65535,
    "MaxGridDimZ": 65535,
    "ConcurrentKernels": 1,
}

CUDA_R_32F, CUDA_R_16F = 0, 2

#: The numbers of the attributes are not CuPy's, their names are.
globals().update({f"cudaDevAttr{name}": i for i, name in enumerate(ATTRIBUTES)})


class CUDARuntimeError(RuntimeError):
    """As `cupy.cuda.runtime.CUDARuntimeError`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check_device(number: int) -> None:
    """Raise unless there is such a device."""
    if not 0 <= number < N_DEVICES:
        raise CUDARuntimeError(101, "cudaErrorInvalidDevice: invalid device ordinal")


def getDeviceCount() -> int:
    return N_DEVICES


def getDevice() -> int:
    return current_device()


def setDevice(device: int) -> None:
    check_device(device)
    set_current_device(device)


def getDeviceProperties(device: int) -> dict[str, Any]:
    check_device(device)
    return {
        "name": b"emulated on the host",
        "totalGlobalMem": TOTAL_BYTES,
        "multiProcessorCount": ATTRIBUTES["MultiProcessorCount"],
        "warpSize": 32,
        "maxThreadsPerBlock": 1024,
        "maxThreadsPerMultiProcessor": 2048,
        "regsPerMultiprocessor": 65536,
        "sharedMemPerBlock": 49152,
        "sharedMemPerBlockOptin": 232448,
        "sharedMemPerMultiprocessor": 233472,
        "l2CacheSize": ATTRIBUTES["L2CacheSize"],
        "major": 9,
        "minor": 0,
    }


def runtimeGetVersion() -> int:
    return 13000


def driverGetVersion() -> int:
    return 13000


def memGetInfo() -> tuple[int, int]:
    return TOTAL_BYTES - pool.used_bytes(), TOTAL_BYTES


def deviceSynchronize() -> None:
    """Return at once: nothing runs."""


def deviceCanAccessPeer(device: int, peerDevice: int) -> int:
    return 0
