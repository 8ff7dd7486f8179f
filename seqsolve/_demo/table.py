"""Text tables."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

WIDTH = 100


def format_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str] = ()
) -> str:
    """Return a table no wider than `WIDTH`; its last column is wrapped.

    Parameters
    ----------
    header : sequence of str
        Names of the columns.
    rows : sequence of sequences of str
        Cells.
    numbers : sequence of str
        Columns that are aligned to the right.

    Returns
    -------
    str
        Lines without trailing blanks.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    indent = sum(widths[:-1]) + 2 * (len(widths) - 1)
    widths[-1] = min(widths[-1], WIDTH - indent)
    lines = []
    for row in (header, ["-" * width for width in widths], *rows):
        first, *rest = textwrap.wrap(row[-1], widths[-1]) or [""]
        cells = [
            cell.rjust(width) if name in numbers else cell.ljust(width)
            for name, cell, width in zip(header, [*row[:-1], first], widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
        lines.extend(" " * indent + line for line in rest)
    return "\n".join(lines)
