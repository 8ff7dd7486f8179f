"""Warn of pages whose figures did not come out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util import logging

logger = logging.getLogger(__name__)


def setup(app: Any) -> dict[str, Any]:
    """Look at the pages when they are complete."""
    app.connect("doctree-resolved", _warn_of_missing_figures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _warn_of_missing_figures(app: Any, doctree: nodes.document, docname: str) -> None:
    if app.config.nb_execution_mode == "off":
        return
    text = Path(app.env.doc2path(docname)).read_text(encoding="utf-8")
    if "import matplotlib" in text and not any(True for _ in doctree.findall(nodes.image)):
        logger.warning("%s draws, but shows no figure", docname)
