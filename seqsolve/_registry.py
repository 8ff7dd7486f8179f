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


def is_installed(name: str) -> bool:
    """Return whether a backend of that name is installed; fast once it is loaded."""
    return name in _loaded or name in names()


def is_loaded(backend: Any) -> bool:
    """Return whether this very object is the backend of its name."""
    return _loaded.get(getattr(backend, "name", "")) is backend


def distribution(name: str) -> str:
    """Return the name and version of the distribution that provides a backend."""
    return _provider(_points(name)[0])


def load(name: str) -> Any:
    """Make the backend `name`, once."""
    with _lock:
        if name not in _loaded:
            points = _points(name)
            if len(points) > 1:
                claims = ", ".join(f"{point.value} of {_provider(point)}" for point in points)
                raise UnavailableError(f"more than one is installed: {claims}; keep one of them.")
            try:
                backend = points[0].load()()
            except Exception as error:
                # A library without its driver fails in its own ways, and none of
                # them may take the host program down.
                raise UnavailableError(str(error) or type(error).__name__) from error
            own = getattr(backend, "name", name)
            if own != name:
                raise UnavailableError(f"it is registered as {name!r} but calls itself {own!r}.")
            _loaded[name] = backend
        return _loaded[name]


def _points(name: str) -> list[EntryPoint]:
    points = [point for point in entry_points(group=GROUP) if point.name == name]
    if points:
        return points
    installed = ", ".join(repr(n) for n in names()) or "none"
    raise ValueError(f"`backend` must name an installed backend ({installed}); got {name!r}.")


def _provider(point: EntryPoint) -> str:
    dist = point.dist
    return f"{dist.name} {dist.version}" if dist is not None else "unknown distribution"
