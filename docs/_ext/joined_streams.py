"""What a cell prints is shown as it was printed, in however many pieces the kernel sends it.

MyST-NB ends each piece with a new line, so one that begins with a new line leaves a blank one.
"""

from __future__ import annotations

from typing import Any


def setup(app: Any) -> dict[str, Any]:
    """Join the pieces before MyST-NB merges what is left."""
    from myst_nb.core import render

    merge = render.coalesce_streams
    render.coalesce_streams = lambda outputs: merge(joined(outputs))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def joined(outputs: list[Any]) -> list[Any]:
    """Return the outputs, neighbouring pieces of one stream as a single one."""
    kept: list[Any] = []
    for output in outputs:
        if output["output_type"] == "stream" and kept and kept[-1].get("name") == output["name"]:
            kept[-1]["text"] += output["text"]
        else:
            kept.append(output)
    return kept
