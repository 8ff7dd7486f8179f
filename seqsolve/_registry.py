"""Finds backends through entry points and loads them on demand."""

from __future__ import annotations

import threading
from importlib.metadata import EntryPoint, entry_points
from typing import Any

GROUP = "seqsolve.backends"

_loaded: dict[str, Any] = {}
_lock = threading.RLock()  # a backend may be built on another one


class UnavailableError(Exception):
    """A registered backend could not be made; the text says why."""


def names() -> list[str]:
    """Return the names of all installed backends."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def distribution(name: str) -> str:
    """Return the name and version of the distribution that provides a backend."""
    dist = _find(name).dist
    return f"{dist.name} {dist.version}" if dist is not None else "unknown distribution"


def load(name: str) -> Any:
    """Make the backend `name`, once."""
    with _lock:
        if name not in _loaded:
            point = _find(name)
            try:
                _loaded[name] = point.load()()
            except Exception as error:
                # A library without its driver fails in its own ways, and none of
                # them may take the host program down.
                raise UnavailableError(str(error) or type(error).__name__) from error
        return _loaded[name]


def _find(name: str) -> EntryPoint:
    for point in entry_points(group=GROUP):
        if point.name == name:
            return point
    installed = ", ".join(repr(n) for n in names()) or "none"
    raise ValueError(f"`backend` must name an installed backend ({installed}); got {name!r}.")
