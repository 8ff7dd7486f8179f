"""The demonstration: three recurrences, in parallel and step by step."""

from __future__ import annotations

#: Length of the sequences unless told otherwise.
DEFAULT_STEPS = 100_000
