"""README as a package index shows it: what points into the repository would lead nowhere there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

RELATIVE = r"\((?!https?:|#)[^)\s]+\)"


class PackagePage(MetadataHookInterface):
    """Gives the package README's text without pictures and links of the repository."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the page's text: a picture goes with its paragraph, a link leaves its words."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        paragraphs = (p for p in text.split("\n\n") if not re.search(rf"!\[[^]]*\]{RELATIVE}", p))
        page = re.sub(rf"\[([^]]+)\]{RELATIVE}", r"\1", "\n\n".join(paragraphs))
        metadata["readme"] = {"content-type": "text/markdown", "text": page}
