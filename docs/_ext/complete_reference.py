"""Warn of public names without a page, and keep noise out of the pages."""

from __future__ import annotations

import collections
import importlib
from typing import Any

from sphinx.util import logging

logger = logging.getLogger(__name__)
_FieldAlias = type(collections.namedtuple("_Example", "field").field)


def setup(app: Any) -> dict[str, Any]:
    """Register the check."""
    app.connect("env-check-consistency", _check)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True}


def _check(app: Any, env: Any) -> None:
    package = importlib.import_module(app.config.project)
    documented = env.get_domain("py").objects
    for name in package.__all__:
        if f"{package.__name__}.{name}" not in documented:
            logger.warning("the reference lacks %s.%s", package.__name__, name)


def _skip(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of named tuples: their class describes them."""
    return True if isinstance(obj, _FieldAlias) else None
