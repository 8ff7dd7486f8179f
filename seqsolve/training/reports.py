"""Training runs as files, tables and pictures."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from seqsolve.backend import get_backend
from seqsolve.training.fitting import Epoch, Run

#: Test accuracy in percent that the slides of Zhang report, by task and method.
SLIDES = {
    "mnist-mlp": {"bp": 99.5, "lr-f": 92.2, "lr-l": 92.2, "lr-m": 99.5},
    "ag-news-rnn": {"bp": 88.3, "lr-f": 84.2, "lr-l": 84.3, "lr-m": 88.4},
    "cora-gcn": {"bp": 80.4, "lr-f": 75.6, "lr-l": 75.2, "lr-m": 78.8},
}
_HEADER = ("method", "copies", "right, %", "slides, %", "s", "CPU s", "GFLOP", "cosines")
_COLOURS = {"bp": "black", "lr-f": "#d9622b", "lr-l": "#2f8f5b", "lr-m": "#0f6fb4"}
_MARKERS = ("o", "s", "^", "D")


def save_runs(runs: Sequence[Run], path: str | os.PathLike[str], *, command: str = "") -> None:
    """Write runs to a file, and where and how they came about.

    Parameters
    ----------
    runs : sequence of Run
        The runs. Their networks are not written, and numbers to five digits.
    path : path
        A JSON file.
    command : str, optional
        What makes them again.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from seqsolve import training
    >>> run = training.fit(training.digits_mlp(), "bp", epochs=1)
    >>> file = Path(tempfile.mkdtemp()) / "runs.json"
    >>> training.save_runs([run], file)
    >>> training.load_runs(file)[0][0].method
    'bp'
    """
    head = json.dumps({"command": command, "machine": _machine()}, indent=1)
    records = ",\n".join(json.dumps(_record(run)) for run in runs)
    text = f'{head.removesuffix("}").rstrip()},\n "runs": [\n{records}\n ]\n}}\n'
    Path(path).write_text(text, encoding="utf-8")


def load_runs(path: str | os.PathLike[str]) -> tuple[tuple[Run, ...], dict[str, str]]:
    """Return the runs of a file, and what it says of them.

    Parameters
    ----------
    path : path
        A file that `save_runs` has written.

    Returns
    -------
    runs : tuple of Run
        The runs, without networks.
    origin : dict
        "command" and "machine".

    Raises
    ------
    ValueError
        If the file is another one.

    Examples
    --------
    See :func:`save_runs`.
    """
    try:
        contents = json.loads(Path(path).read_text(encoding="utf-8"))
        runs = tuple(_run(record) for record in contents.pop("runs"))
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} holds no training runs: {error!r}.") from error
    return runs, contents


def as_table(runs: Sequence[Run]) -> str:
    """Return runs as tables in Markdown, one for each task and number of epochs.

    Parameters
    ----------
    runs : sequence of Run
        The runs, one a row.

    Returns
    -------
    str
        Test accuracy after the last epoch beside that of the slides, copies; seconds, those of
        the processor and operations of an epoch (medians); and the cosines to the exact
        gradient after the last epoch, layer by layer.

    Examples
    --------
    >>> from seqsolve import training
    >>> run = training.fit(training.digits_mlp(), "bp", epochs=1)
    >>> print(training.as_table([run]).splitlines()[0])
    **digits-mlp, 1 epoch**
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        n = len(run.epochs)
        groups.setdefault(f"**{run.task}, {n} epoch{'s' * (n != 1)}**", []).append(run)
    return "\n\n".join(f"{title}\n\n{_table(group)}" for title, group in groups.items())


def _table(runs: Sequence[Run]) -> str:
    rows = [_HEADER, ("---", "---", *("---:",) * 5, "---")]
    for run in runs:
        slides = SLIDES.get(run.task, {}).get(run.method)
        rows.append(
            (
                run.method,
                " ".join(map(str, run.copies)) or "–",
                f"{100 * run.accuracy:.1f}",
                "–" if slides is None else f"{slides:.1f}",
                f"{_median(run, 'seconds'):.2f}",
                f"{_median(run, 'process_seconds'):.2f}",
                f"{_median(run, 'flops') / 1e9:,.3g}",
                " ".join(f"{c:.2f}" for c in run.epochs[-1].cosines) or "–",
            )
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def draw(runs: Sequence[Run], path: str | os.PathLike[str] | None = None) -> Any:
    """Draw accuracy by epoch, and cosines by copies beside the law.

    Parameters
    ----------
    runs : sequence of Run
        Runs of one task.
    path : path, optional
        Where to write the picture, in a format that its ending names.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from seqsolve import training
    >>> run = training.fit(training.digits_mlp(), "lr-m", epochs=1)
    >>> training.draw([run]).axes[0].get_xlabel()
    'epoch'
    """
    if find_spec("matplotlib") is None:
        raise ImportError("drawing needs matplotlib: pip install 'seqsolve[plot]'.")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.8), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.92")
        axes.set_axisbelow(True)
    _draw_accuracy(left, runs)
    _draw_cosines(right, [run for run in runs if run.law and run.epochs[0].delta_cosines])
    if path is not None:
        figure.savefig(path)
    return figure


def _draw_accuracy(axes: Any, runs: Sequence[Run]) -> None:
    for run in runs:
        same = [other for other in runs if other.method == run.method]
        copies = f", {_span(run.copies)} copies" if len(same) > 1 and run.copies else ""
        axes.plot(
            range(1, len(run.epochs) + 1),
            [100 * epoch.accuracy for epoch in run.epochs],
            color=_COLOURS[run.method],
            alpha=(1 + same.index(run)) / len(same),
            ls="--" if run.method == "bp" else "-",
            lw=1.4,
            marker="o" if len(run.epochs) <= 20 else None,
            ms=3,
            label=f"{run.method}{copies}: {100 * run.accuracy:.1f} %",
        )
    axes.set(title="test accuracy", xlabel="epoch", ylabel="%")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize="small")


def _draw_cosines(axes: Any, runs: Sequence[Run]) -> None:
    """Draw the cosines of one datum's delta over those that the law expects."""
    axes.plot([0, 1], [0, 1], color="0.6", lw=1, label="law")
    for run in runs:
        same = [other for other in runs if other.method == run.method]
        means = np.mean([epoch.delta_cosines for epoch in run.epochs], axis=0)
        for layer, (law, cosine) in enumerate(zip(run.law, means, strict=True)):
            axes.plot(
                law,
                cosine,
                _MARKERS[layer % len(_MARKERS)],
                color=_COLOURS[run.method],
                alpha=(1 + same.index(run)) / len(same),
                ms=5,
                label=f"{run.method}, layer {layer}" if run is same[-1] else "_",
            )
    axes.set(
        title="cosine of one datum's delta",
        xlabel="law: sqrt(draws / (draws + numbers perturbed together))",
        ylabel="measured, mean of all epochs",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    axes.legend(frameon=False, fontsize="small", loc="lower right")


def _span(copies: Sequence[int]) -> str:
    low, high = min(copies), max(copies)
    return str(low) if low == high else f"{low}-{high}"


def _median(run: Run, name: str) -> float:
    return float(np.median([getattr(epoch, name) for epoch in run.epochs]))


def _record(run: Run) -> dict[str, Any]:
    """Return a run without its network, the epochs as columns."""
    record = {name: getattr(run, name) for name in ("task", "method", "seed", "copies", "units")}
    epochs = [asdict(epoch) for epoch in run.epochs]
    return {**record, "epochs": {k: [_rounded(e[k]) for e in epochs] for k in epochs[0]}}


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_rounded(v) for v in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _run(record: Mapping[str, Any]) -> Run:
    columns = record["epochs"]
    rows = zip(*columns.values(), strict=True)
    return Run(
        record["task"],
        record["method"],
        record["seed"],
        tuple(record["copies"]),
        tuple(record["units"]),
        tuple(_epoch(**dict(zip(columns, row, strict=True))) for row in rows),
    )


def _epoch(*, cosines: Any, delta_cosines: Any, **numbers: Any) -> Epoch:
    return Epoch(cosines=tuple(cosines), delta_cosines=tuple(delta_cosines), **numbers)


def _machine() -> str:
    """Return processor and versions, for people."""
    about = get_backend("numpy").describe()
    return (
        f"{about['cpu']} ({about['cores']} cores), {platform.system()}, "
        f"Python {platform.python_version()}, NumPy {about['numpy']}, "
        f"seqsolve {version('seqsolve')}"
    )
