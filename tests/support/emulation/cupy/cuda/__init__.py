"""Devices, streams and events, none of which is there."""

from __future__ import annotations

import time
from typing import Any

from cupy._memory import TOTAL_BYTES, current_device, pool, set_current_device
from cupy.cuda import compiler, cublas, driver, memory, runtime
from cupy.cuda.cublas import get_cublas_handle

__all__ = [
    "Device",
    "Event",
    "Stream",
    "compiler",
    "cublas",
    "driver",
    "get_cublas_handle",
    "get_current_stream",
    "get_elapsed_time",
    "is_available",
    "memory",
    "runtime",
]


class Device:
    """One of the devices; ``with`` makes it the current one."""

    def __init__(self, device: int | Device | None = None) -> None:
        number = current_device() if device is None else int(device)
        runtime.check_device(number)
        self.id = number
        self._before: list[int] = []

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return hash(("Device", self.id))

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def use(self) -> None:
        set_current_device(self.id)

    def __enter__(self) -> Device:
        self._before.append(current_device())
        self.use()
        return self

    def __exit__(self, *args: object) -> None:
        set_current_device(self._before.pop())

    def synchronize(self) -> None:
        """Return at once: nothing runs."""

    @property
    def compute_capability(self) -> str:
        return "90"

    @property
    def attributes(self) -> dict[str, Any]:
        return dict(runtime.ATTRIBUTES)

    @property
    def mem_info(self) -> tuple[int, int]:
        with self:
            return TOTAL_BYTES - pool.used_bytes(), TOTAL_BYTES


class Stream:
    """A stream; `launches` counts the kernels that it ran."""

    null: Stream
    _current: Stream

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        self.ptr = 0 if null else id(self)
        self.launches = 0
        self._before: list[Stream] = []

    def use(self) -> Stream:
        Stream._current = self
        return self

    def __enter__(self) -> Stream:
        self._before.append(Stream._current)
        return self.use()

    def __exit__(self, *args: object) -> None:
        self._before.pop().use()

    def synchronize(self) -> None:
        """Return at once: nothing runs."""

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Return at once: nothing runs."""


Stream.null = Stream._current = Stream(null=True)


class Event:
    """A point in time of the host."""

    def __init__(
        self, block: bool = False, disable_timing: bool = False, interprocess: bool = False
    ) -> None:
        self._time = 0.0
        self.done = True

    def record(self, stream: Stream | None = None) -> None:
        self._time = time.perf_counter()

    def synchronize(self) -> None:
        """Return at once: nothing runs."""


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Return milliseconds of the host's clock."""
    return (end_event._time - start_event._time) * 1e3


def get_current_stream(device_id: int | None = None) -> Stream:
    return Stream._current


def is_available() -> bool:
    return True
