"""The report as JSON and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gpu.figures import CHOSEN, Figure
from gpu.sections import SECTIONS
from gpu.targets import DEER, TARGETS, ratio

EXPLANATION = (
    "The floor of a figure is the time to read its inputs and write its outputs once at the copy "
    "bandwidth. Times are medians. The deviation of a result is relative to what is tolerated; "
    "beyond 1 it is wrong, and nothing is concluded from its time."
)


def as_json(machine: Mapping[str, Any], figures: Sequence[Figure]) -> str:
    """Return everything that was measured."""
    content = {"machine": dict(machine), "figures": [asdict(figure) for figure in figures]}
    return json.dumps(content, indent=1) + "\n"


def as_markdown(title: str, machine: Mapping[str, Any], figures: Sequence[Figure]) -> str:
    """Return a table of the targets, one of the ratios, and one for each section."""
    parts = [f"# {title}", "; ".join(f"{k} {v}" for k, v in machine.items()) + ".", EXPLANATION]
    wrong = [f for f in figures if f.seconds is not None and not f.stands]
    if wrong:
        parts.append(f"**{len(wrong)} results are wrong; their notes say so.**")
    parts += ["## Targets", _table(["target", "asked", "measured", ""], _targets(figures))]
    for name, section in SECTIONS.items():
        of_section = [f for f in figures if f.section == name]
        if not of_section:
            continue
        parts.append(f"## {section.title}")
        if name == "deer":
            parts.append(_ratios(of_section))
        parts.append(_gains(of_section) if name == "tuning" else _figures(of_section))
    return "\n\n".join(parts) + "\n"


def _targets(figures: Sequence[Figure]) -> list[list[str]]:
    return [target.row(figures) for target in TARGETS]


def _ratios(figures: Sequence[Figure]) -> str:
    """Return how many times longer the rivals take, in each case."""
    cases = [f.case for f in figures if f.variant == DEER]
    rivals = [v for v in dict.fromkeys(f.variant for f in figures) if v != DEER]
    if not cases:
        return ""
    rows = []
    for case in cases:
        ratios = [ratio(figures, case, rival) for rival in rivals]
        rows.append(
            [*map(_text, case.values()), *("" if r is None else f"{r:.3g}" for r in ratios)]
        )
    return (
        f"How many times longer than {DEER} the others take, where all computed the same:\n\n"
        + _table([*cases[0], *rivals], rows)
    )


def _figures(figures: Sequence[Figure]) -> str:
    keys = list(dict.fromkeys(key for figure in figures for key in figure.case))
    header = [*keys, "computed by", "time [ms]", "ns / step", "floor [ms]", "floor / time"]
    rows = [
        [
            *(_text(figure.case.get(key, "")) for key in keys),
            figure.variant,
            *_times(figure),
            *_verdict(figure),
        ]
        for figure in figures
    ]
    return _table([*header, "deviation", "note"], rows)


def _gains(figures: Sequence[Figure]) -> str:
    """Return what was tried for each case, the largest gain over what is chosen first."""
    chosen = {str(f.case): f for f in figures if f.variant.endswith(f"({CHOSEN})")}
    rows: list[tuple[float, list[str]]] = []
    for figure in figures:
        reference = chosen.get(str(figure.case))
        gain = 0.0
        if reference is not None and reference.stands and figure.stands:
            assert reference.seconds
            assert figure.seconds
            gain = reference.seconds / figure.seconds
        case = ", ".join(_text(value) for value in figure.case.values())
        time, floor = _milliseconds(figure.seconds), _milliseconds(figure.floor)
        row = [f"{gain:.3f}" if gain else "", case, figure.variant, time, floor, *_verdict(figure)]
        rows.append((gain, row))
    rows.sort(key=lambda row: -row[0])
    header = ["gain", "case", "tried", "time [ms]", "floor [ms]", "deviation", "note"]
    return _table(header, [row for _, row in rows])


def _times(figure: Figure) -> list[str]:
    per_step, of_floor = "", ""
    if figure.seconds and "n_steps" in figure.case:
        per_step = f"{1e9 * figure.seconds / figure.case['n_steps']:.4g}"
    if figure.floor and figure.seconds:
        of_floor = f"{figure.floor / figure.seconds:.1%}"
    return [_milliseconds(figure.seconds), per_step, _milliseconds(figure.floor), of_floor]


def _verdict(figure: Figure) -> list[str]:
    deviation = "" if figure.deviation is None else f"{figure.deviation:.2g}"
    wrong = "**wrong** " if figure.seconds is not None and not figure.stands else ""
    return [deviation, wrong + figure.note]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines
    )


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1e3 * seconds:.4g}"
