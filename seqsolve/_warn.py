"""Warnings that point at the user's call."""

from __future__ import annotations

import sys
import warnings
from types import FrameType


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the call that entered the library, however deep inside this one is."""
    frame, depth = sys._getframe(), 1
    while frame.f_back is not None and _is_ours(frame.f_back):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, category, stacklevel=depth + 1)


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).split(".")[0] == "seqsolve"
