"""A backend for the loopback library: the portable primitives, and a count of their calls."""

from __future__ import annotations

from collections import Counter
from typing import Any

import loopback
import numpy as np

from seqsolve.portable import PortableBackend


class LoopbackBackend(PortableBackend):
    """Counts in `calls` how often the core used each primitive."""

    def __init__(self) -> None:
        super().__init__("loopback", loopback)
        self.calls: Counter[str] = Counter()

    def to_numpy(self, a: Any) -> np.ndarray:
        if not isinstance(a, loopback.Array):
            raise TypeError(f"`a` must be a loopback array; got {type(a).__name__}.")
        return a.get()

    def linear_recurrence(self, *args: Any, **kwargs: Any) -> Any:
        self.calls["linear_recurrence"] += 1
        return super().linear_recurrence(*args, **kwargs)

    def residual_test(self, *args: Any, **kwargs: Any) -> Any:
        self.calls["residual_test"] += 1
        return super().residual_test(*args, **kwargs)

    def newton_update(self, *args: Any, **kwargs: Any) -> None:
        self.calls["newton_update"] += 1
        super().newton_update(*args, **kwargs)


def make_backend() -> LoopbackBackend:
    return LoopbackBackend()
