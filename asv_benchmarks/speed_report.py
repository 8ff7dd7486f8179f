"""Measures the table of speeds in one run and prints it as Markdown.

    python asv_benchmarks/speed_report.py [--quick] [--output FILE.md] [--readme README.md]

Every row times all its columns in turn, on the same inputs, and takes each
one's fastest time. Loops in Python, whose time a step does not depend on the
length, take the first part of the sequence only. One thread, so that the time
is the processor's, which other programs on the machine disturb least.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import benchmarks  # noqa: F401  # first of all: NumPy reads the number of threads when loaded
import numpy as np
from benchmarks.common import fastest, gru_loop, gru_problem, linear_loop, linear_problem
from peers import jax_scan
from scipy.signal import lfilter

import seqsolve
from seqsolve import Status, WindowRecord

N_STEPS = 100_000
N_LOOP = 2_000
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the table of speeds.")
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--output", type=Path, help="write the Markdown to this file as well")
    parser.add_argument(
        "--readme", type=Path, help="put the parts on GRUs between this file's `figures` marks"
    )
    arguments = parser.parse_args(argv)
    report = Report(seconds=0.5 if arguments.quick else 5.0)
    parts = [
        machine(),
        report.gru(),
        report.batched_gru(),
        report.constant_recurrence(),
        report.linear_recurrences(),
    ]
    text = "\n\n".join(parts) + "\n"
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    if arguments.readme:
        before, rest = arguments.readme.read_text(encoding="utf-8").split(BEGIN)
        figures = "\n\n".join(parts[:3])
        after = rest.split(END)[1]
        page = f"{before}{BEGIN}\n{figures}\n{END}{after}"
        arguments.readme.write_text(page, encoding="utf-8")
    print(text)


def machine() -> str:
    """Return the machine and the versions, in a sentence."""
    details = seqsolve.get_backend("numpy").describe()
    return (
        f"Measured on {details['cpu']} ({details['cores']} cores, one of them used), "
        f"{platform.system()}, Python {platform.python_version()}, NumPy {details['numpy']}, "
        f"Numba {details['numba']}, seqsolve {seqsolve.__version__}. "
        "Processor time in nanoseconds per step, the least of interleaved repeats."
    )


class Report:
    """The parts of the report.

    Parameters
    ----------
    seconds : float
        How long to measure each row.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def gru(self) -> str:
        """Measure one sequence through GRUs of several sizes."""
        rows = [self._gru(n, N_STEPS, ()) for n in (1, 2, 4, 8, 16, 32)]
        return _section(f"GRU, one sequence of {N_STEPS:,} steps, float32", _GRU_HEADER, rows)

    def batched_gru(self) -> str:
        """Measure a batch: stepping through time is vectorised over it."""
        n_steps, batch = N_STEPS // 10, (16,)
        return _section(
            f"GRU, {batch[0]} sequences of {n_steps:,} steps, float32; a step is of all of them",
            _GRU_HEADER,
            [self._gru(16, n_steps, batch)],
        )

    def constant_recurrence(self) -> str:
        """Measure a scalar recurrence with a constant coefficient."""
        return _section(
            f"Scalar recurrence with a constant coefficient, {N_STEPS:,} steps",
            (
                "dtype",
                "plain NumPy loop",
                "scipy.signal.lfilter",
                "linear_recurrence",
                "lfilter / seqsolve",
            ),
            [self._constant(dtype) for dtype in ("float32", "float64")],
        )

    def linear_recurrences(self) -> str:
        """Measure linear recurrences whose coefficients change with time."""
        cases = [("diagonal", 1), ("diagonal", 16), *(("dense", n) for n in (2, 4, 8, 16))]
        return _section(
            f"Linear recurrences with changing coefficients, {N_STEPS:,} steps, float32",
            ("matrix", "n", "plain NumPy loop", "linear_recurrence", "loop / seqsolve"),
            [self._linear(structure, n) for structure, n in cases],
        )

    def _gru(self, n: int, n_steps: int, batch: tuple[int, ...]) -> list[str]:
        cell, x, y0 = gru_problem(n, n_steps, batch)
        history = seqsolve.deer(cell, None, x, y0, on_failure="raise").history
        calls: dict[str, tuple[Callable[[], Any], int]] = {
            "loop": (lambda: gru_loop(cell, x[:N_LOOP], y0), N_LOOP),
            "sequential": (lambda: seqsolve.sequential(cell, x[:N_LOOP], y0), N_LOOP),
            "deer": (lambda: seqsolve.deer(cell, None, x, y0, on_failure="raise"), n_steps),
        }
        if jax_scan.available():
            calls["scan"] = (jax_scan.gru(cell, x, y0), n_steps)
        ns = self._measure(calls)
        return [
            str(n),
            _ns(ns["loop"]),
            _ns(ns["sequential"]),
            _ns(ns.get("scan")),
            _ns(ns["deer"]),
            f"{ns['loop'] / ns['deer']:.1f}",
            _iterations(history),
        ]

    def _constant(self, dtype: str) -> list[str]:
        A, b = linear_problem(N_STEPS, 1, "diagonal", dtype)
        A = A[:1]
        every = np.broadcast_to(A, b.shape)
        numerator, denominator = np.ones(1, dtype), np.array([1, -A[0, 0]], dtype)
        ns = self._measure(
            {
                "loop": (lambda: linear_loop(every[:N_LOOP], b[:N_LOOP]), N_LOOP),
                "lfilter": (lambda: lfilter(numerator, denominator, b[:, 0]), N_STEPS),
                "seqsolve": (lambda: seqsolve.linear_recurrence(A, b), N_STEPS),
            }
        )
        times = [_ns(ns[name]) for name in ("loop", "lfilter", "seqsolve")]
        return [dtype, *times, f"{ns['lfilter'] / ns['seqsolve']:.1f}"]

    def _linear(self, structure: str, n: int) -> list[str]:
        A, b = linear_problem(N_STEPS, n, structure, "float32")
        ns = self._measure(
            {
                "loop": (lambda: linear_loop(A[:N_LOOP], b[:N_LOOP]), N_LOOP),
                "seqsolve": (lambda: seqsolve.linear_recurrence(A, b), N_STEPS),
            }
        )
        times = [_ns(ns[name]) for name in ("loop", "seqsolve")]
        return [structure, str(n), *times, f"{ns['loop'] / ns['seqsolve']:.0f}"]

    def _measure(self, calls: dict[str, tuple[Callable[[], Any], int]]) -> dict[str, float]:
        """Return nanoseconds per step."""
        best = fastest(
            {name: call for name, (call, _) in calls.items()},
            seconds=self.seconds,
            timer=time.process_time,
        )
        return {name: 1e9 * best[name] / n_steps for name, (_, n_steps) in calls.items()}


_GRU_HEADER = (
    "n",
    "plain NumPy loop",
    "seqsolve.sequential",
    "jax.lax.scan, jitted",
    "seqsolve.deer",
    "loop / deer",
    "iterations per window",
)


def _ns(value: float | None) -> str:
    if value is None:
        return "n/a"
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _iterations(history: Sequence[WindowRecord]) -> str:
    if any(record.status is Status.SEQUENTIAL for record in history):
        return "stepped"
    return f"{sum(record.nit for record in history) / len(history):.1f}"


def _section(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---:"] * len(header), *rows]
    return "\n".join([f"**{title}**", "", *("| " + " | ".join(line) + " |" for line in lines)])


if __name__ == "__main__":
    main()
