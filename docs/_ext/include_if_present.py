"""Put a generated or neighbouring Markdown file into a page, where it exists.

A line ``<!-- include-if-present: path -->``, with a path relative to the page,
is replaced by the file's text, its headings a level lower. Without the file the
line is a comment.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

MARKER = re.compile(r"^<!-- include-if-present: (\S+) -->$", re.MULTILINE)
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ ", re.MULTILINE)


def setup(app: Any) -> dict[str, Any]:
    """Register the replacement."""
    app.connect("source-read", _replace)
    return {"parallel_read_safe": True}


def _replace(app: Any, docname: str, source: list[str]) -> None:
    page = Path(app.env.doc2path(docname))

    def text(match: re.Match[str]) -> str:
        file = (page.parent / match[1]).resolve()
        app.env.note_dependency(str(file))
        return _demoted(file.read_text(encoding="utf-8")) if file.exists() else match[0]

    source[0] = MARKER.sub(text, source[0])


def _demoted(text: str) -> str:
    parts = FENCED.split(text)
    parts[::2] = [HEADING.sub(lambda m: "#" + m[0], part) for part in parts[::2]]
    return "".join(parts)
