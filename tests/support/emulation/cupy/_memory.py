"""Memory of two devices that are not there: fenced, accounted for, and never initialised."""

from __future__ import annotations

import ctypes
import weakref

import numpy as np
from cuda_host import KernelFault, is_sanitized

N_DEVICES = 2
TOTAL_BYTES = 2 << 30  # of each device
_GUARD = 256
_UNIT = 512  # what CuPy's pool rounds to

_current_device = 0


def current_device() -> int:
    """Return the number of the current device."""
    return _current_device


def set_current_device(number: int) -> None:
    """Make a device the current one."""
    global _current_device
    _current_device = number


class OutOfMemoryError(MemoryError):
    """As `cupy.cuda.memory.OutOfMemoryError`."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        limited = f", limit set to: {limit:,} bytes" if limit else ""
        super().__init__(
            f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes{limited})."
        )


class MemoryPool:
    """The default pool: `used_bytes` and the limit are those of the current device."""

    def __init__(self) -> None:
        self._used = [0] * N_DEVICES
        self._limit = [0] * N_DEVICES

    def used_bytes(self) -> int:
        return self._used[_current_device]

    def total_bytes(self) -> int:
        return self.used_bytes()

    def free_bytes(self) -> int:
        return 0

    def n_free_blocks(self) -> int:
        return 0

    def free_all_blocks(self, stream: object = None) -> None:
        """Do nothing: no block is kept."""

    def get_limit(self) -> int:
        return self._limit[_current_device]

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        if fraction is not None:
            size = int(fraction * TOTAL_BYTES)
        self._limit[_current_device] = size or 0

    def take(self, size: int, device: int) -> None:
        """Count `size` bytes as used, or raise."""
        limit = self._limit[device]
        if self._used[device] + size > (limit or TOTAL_BYTES):
            raise OutOfMemoryError(size, self._used[device], limit)
        self._used[device] += size

    def give_back(self, size: int, device: int) -> None:
        self._used[device] -= size


pool = MemoryPool()
_live: weakref.WeakValueDictionary[int, Memory] = weakref.WeakValueDictionary()


class Memory:
    """An allocation on the current device, filled with ones: NaN, or -1.

    What lies before and behind it must stay as it is; under the address
    sanitizer, touching it ends the process.
    """

    def __init__(self, size: int) -> None:
        self.device = _current_device
        self.size = size
        rounded = -(-size // _UNIT) * _UNIT
        pool.take(rounded, self.device)
        self._space = np.empty(size + 2 * _GUARD + 257, np.uint8)
        start = -self._space.ctypes.data % 256 + _GUARD
        self._fences = self._space[start - _GUARD : start], self._space[start + size :][:_GUARD]
        for fence in self._fences:
            fence[...] = 0xA5
        window = (ctypes.c_ubyte * max(size, 1)).from_buffer(self._space, start)
        self._root = np.frombuffer(window, np.uint8)  # the base of all views
        self.bytes = self._root[:size]
        self.bytes[...] = 0xFF
        self.address = self._space.ctypes.data + start if size else 0
        _live[id(self._root)] = self
        if is_sanitized():
            for fence in self._fences:
                _asan("__asan_poison_memory_region", fence)
        weakref.finalize(self, _release, self._fences, rounded, self.device)

    def check_fences(self, kernel: str) -> None:
        """Raise if a kernel has written beside the array."""
        if is_sanitized():
            return
        for side, fence in zip(("before", "behind"), self._fences, strict=True):
            if not (fence == 0xA5).all():
                fence[...] = 0xA5
                raise KernelFault(f"{kernel} wrote {side} an array of {self.size} bytes")


def memory_of(a: np.ndarray) -> Memory | None:
    """Return the device memory that `a` is a view of, None if it is the host's."""
    while isinstance(a.base, np.ndarray):
        a = a.base
    return _live.get(id(a))


def _release(fences: tuple[np.ndarray, np.ndarray], rounded: int, device: int) -> None:
    pool.give_back(rounded, device)
    if is_sanitized():
        for fence in fences:
            _asan("__asan_unpoison_memory_region", fence)


def _asan(function: str, fence: np.ndarray) -> None:
    getattr(ctypes.CDLL(None), function)(
        ctypes.c_void_p(fence.ctypes.data), ctypes.c_size_t(fence.size)
    )
