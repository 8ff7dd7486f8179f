"""The report as JSON and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gpu.measure import Figure


def as_json(machine: Mapping[str, str], bandwidth: float, figures: Sequence[Figure]) -> str:
    """Return everything that was measured."""
    content = {
        "machine": dict(machine),
        "copy_bandwidth_bytes_per_second": bandwidth,
        "figures": [asdict(figure) for figure in figures],
    }
    return json.dumps(content, indent=1) + "\n"


def as_markdown(
    title: str, machine: Mapping[str, str], bandwidth: float, figures: Sequence[Figure]
) -> str:
    """Return a table for each section."""
    parts = [
        f"# {title}",
        "; ".join(f"{key} {value}" for key, value in machine.items()) + ".",
        f"Copy bandwidth, bytes read and written: {bandwidth / 1e12:.3f} TB/s. The floor of a "
        "figure is the time to read its inputs and write its outputs once at that bandwidth. "
        "Medians after one call to warm up.",
    ]
    for section in dict.fromkeys(figure.section for figure in figures):
        parts.append(f"## {section}")
        parts.append(_table([f for f in figures if f.section == section]))
    return "\n\n".join(parts) + "\n"


def _table(figures: Sequence[Figure]) -> str:
    keys = list(dict.fromkeys(key for figure in figures for key in figure.case))
    header = [*keys, "computed by", "time [ms]", "ns / step", "floor [ms]", "floor / time", "note"]
    rows = [header, ["---"] * len(header)]
    rows.extend(_row(figure, keys) for figure in figures)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _row(figure: Figure, keys: Sequence[str]) -> list[str]:
    of_floor = f"{figure.floor / figure.seconds:.1%}" if figure.floor and figure.seconds else ""
    return [
        *(_text(figure.case.get(key, "")) for key in keys),
        figure.variant,
        _milliseconds(figure.seconds),
        f"{1e9 * figure.seconds / figure.case['n_steps']:.4g}" if figure.seconds else "",
        _milliseconds(figure.floor),
        of_floor,
        figure.note.replace("|", "/"),
    ]


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1e3 * seconds:.4g}"
