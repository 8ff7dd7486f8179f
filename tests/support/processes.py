"""Environments of processes that tests start."""

from __future__ import annotations

import os
from pathlib import Path


def environment(*folders: Path | str, **variables: str) -> dict[str, str]:
    """Return this process's environment, packages being looked for in `folders` first."""
    path = [*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), **variables}
