"""Measures what elementary functions cost in compiled element steps and prints Markdown tables.

    python asv_benchmarks/function_report.py [--seconds 1] [--output FILE.md]

Every function and every step is compiled twice: with the backend's own functions, and with calls of
the C library (in steps, in place of all but exponentials and logarithms). Both run in turn, on the
same inputs, and the fastest time of each counts.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import benchmarks  # noqa: F401  # first of all: NumPy reads the number of threads when loaded
import numba
import numpy as np
from benchmarks.common import fastest
from benchmarks.function_steps import STEPS, exponentials_only, problem
from speed_report import machine

import seqsolve
from seqsolve_numba import NumbaBackend
from seqsolve_numba.compilation import FASTMATH
from seqsolve_numba.replaced import REPLACED

#: Sequences, and steps of each.
SIZES = ((1, 100_000), (64, 10_000))

DTYPES = ("float32", "float64")

OF = ("C library", "own")


#: Functions of one number, and of two.
ONE = (np.exp, np.tanh, np.sin, np.tan, np.arctan, np.arccos, math.erf, math.erfc)
TWO = (np.power, np.arctan2, np.remainder, np.hypot, np.logaddexp)

N_VALUES = 4096


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure elementary functions in steps.")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each cell")
    parser.add_argument("--output", type=Path, help="write the Markdown to this file as well")
    arguments = parser.parse_args(argv)
    parts = [
        machine(),
        "**One call among many in a loop, and one that waits for the result of the last**",
        functions(arguments.seconds / 10),
    ]
    for n_batch, n_steps in SIZES:
        heads = [f"{dtype}, {of}" for dtype in DTYPES for of in OF]
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


def functions(seconds: float) -> str:
    """Return the table of functions."""
    heads = [f"{dtype}, {of}{wait}" for dtype in DTYPES for wait in ("", ", waiting") for of in OF]
    lines = ["| function | " + " | ".join(heads) + " |", "| --- " + "| ---: " * len(heads) + "|"]
    for function in (*ONE, *TWO):
        best = [measure_function(function, dtype, seconds) for dtype in DTYPES]
        cells = [f"{1e9 * t / N_VALUES:.1f}" for times in best for t in times.values()]
        lines.append(f"| {function.__name__} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def measure_function(function: Any, dtype: str, seconds: float) -> dict[str, float]:
    """Return seconds for a loop and for a chain of calls, of the C library and of the backend."""
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0.1, 0.9, (2, N_VALUES)).astype(dtype)
    out = np.empty_like(a)
    scale, start = a.dtype.type(0.2), a.dtype.type(0.5)
    loops, chains = {}, {}
    for of, form in zip(OF, (function, REPLACED[function]), strict=True):
        loop, chain = compiled(form, function in TWO)

        def run_loop(loop: Any = loop) -> None:
            loop(a, b, out)

        def run_chain(chain: Any = chain) -> None:
            chain(start, scale, N_VALUES)

        loops[of], chains[f"{of}, waiting"] = run_loop, run_chain
    return fastest(loops | chains, seconds=seconds, timer=time.process_time)


def compiled(function: Any, of_two: bool) -> tuple[Any, Any]:
    """Return a loop over arrays, and a chain in which each call takes the result of the last."""
    options: dict[str, Any] = {"fastmath": set(FASTMATH), "error_model": "numpy"}

    @numba.njit(inline="always", **options)  # type: ignore[untyped-decorator]
    def call(x: Any, y: Any) -> Any:
        return function(x, y) if of_two else function(x)

    @numba.njit(**options)  # type: ignore[untyped-decorator]
    def loop(a: Any, b: Any, out: Any) -> None:
        for i in range(a.size):
            out[i] = call(a[i], b[i])

    @numba.njit(**options)  # type: ignore[untyped-decorator]
    def chain(x: Any, scale: Any, count: int) -> Any:
        start = x
        for _ in range(count):
            x = scale * call(x, start) + scale
        return x

    return loop, chain


def measure(
    name: str, n: int, n_steps: int, n_batch: int, dtype: str, seconds: float
) -> tuple[float, float]:
    """Return nanoseconds per step with the C library's functions and with the backend's."""
    calls: dict[str, Callable[[], Any]] = {}
    for of in OF:
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
