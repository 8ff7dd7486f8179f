"""What was compiled last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import RLock
from typing import Generic, Protocol, TypeVar


class Compiled(Protocol):
    """What depends on functions of a user's."""

    @property
    def current(self) -> bool:
        """Whether the functions are what they were."""


T = TypeVar("T", bound=Compiled)


class Latest(Generic[T]):
    """Those used last, made anew where what they depend on has changed.

    Parameters
    ----------
    maximum : int
        How many to keep.
    """

    def __init__(self, maximum: int = 256) -> None:
        self._maximum = maximum
        self._lock = RLock()
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what is kept under a key, or what is made if that is missing or outdated."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or not kept.current:
                kept = self._kept[key] = make()
                if len(self._kept) > self._maximum:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return kept
