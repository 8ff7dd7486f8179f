"""Run the examples of the public docstrings; a failure is a warning of the build."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import pkgutil
from typing import Any

from sphinx.util import logging

logger = logging.getLogger(__name__)


def setup(app: Any) -> dict[str, Any]:
    """Run the examples before the pages are read."""
    app.connect("builder-inited", _run)
    return {"parallel_read_safe": True}


def _run(app: Any) -> None:
    package = importlib.import_module(app.config.project)
    names = [m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    for name in [package.__name__, *names]:
        if "._" in name:  # private modules and __main__
            continue
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            logger.warning("%s cannot be imported: %s", name, error)
            continue
        report = io.StringIO()
        with contextlib.redirect_stdout(report):
            failed = doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed
        if failed:
            logger.warning("examples of %s fail:\n%s", name, report.getvalue())
