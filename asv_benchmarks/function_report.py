"""Measures what elementary functions cost in compiled element steps and prints Markdown tables.

    python asv_benchmarks/function_report.py [--seconds 1] [--output FILE.md]

Every step is compiled twice: with the backend's own functions, and with calls of the C library
in place of all but exponentials and logarithms. Both run in turn, on the same inputs, and the
fastest time of each counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import benchmarks  # noqa: F401  # first of all: NumPy reads the number of threads when loaded
from benchmarks.common import fastest
from benchmarks.function_steps import STEPS, exponentials_only, problem
from speed_report import machine

import seqsolve
from seqsolve_numba import NumbaBackend

#: Sequences, and steps of each.
SIZES = ((1, 100_000), (64, 10_000))

DTYPES = ("float32", "float64")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure elementary functions in steps.")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each cell")
    parser.add_argument("--output", type=Path, help="write the Markdown to this file as well")
    arguments = parser.parse_args(argv)
    parts = [machine()]
    for n_batch, n_steps in SIZES:
        heads = [f"{dtype}, {of}" for dtype in DTYPES for of in ("C library", "own")]
        lines = [
            "| step | n | " + " | ".join(heads) + " |",
            "| --- | ---: " + "| ---: " * len(heads) + "|",
        ]
        for name in STEPS:
            for n in (1, 2, 4):
                cells = [
                    f"{ns / n_batch:.1f}"
                    for dtype in DTYPES
                    for ns in measure(name, n, n_steps, n_batch, dtype, arguments.seconds)
                ]
                lines.append(f"| {name} | {n} | " + " | ".join(cells) + " |")
        many = "One sequence" if n_batch == 1 else f"{n_batch} sequences, a step is of one of them"
        parts += [f"**{many}; {n_steps:,} steps**", "\n".join(lines)]
    text = "\n\n".join(parts) + "\n"
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    print(text)


def measure(
    name: str, n: int, n_steps: int, n_batch: int, dtype: str, seconds: float
) -> tuple[float, float]:
    """Return nanoseconds per step with the C library's functions and with the backend's."""
    calls: dict[str, Callable[[], Any]] = {}
    for of in ("C library", "own"):
        step, x, y0 = problem(name, n, n_steps, n_batch, dtype)
        backend = NumbaBackend()

        def call(step: Any = step, x: Any = x, y0: Any = y0, backend: Any = backend) -> Any:
            return seqsolve.sequential(step, x, y0, backend=backend)

        calls[of] = call
        if of == "own":
            call()
        else:
            with exponentials_only():
                call()
    best = fastest(calls, seconds=seconds, timer=time.process_time)
    return 1e9 * best["C library"] / n_steps, 1e9 * best["own"] / n_steps


if __name__ == "__main__":
    main()
