"""Solves the examples both ways and reports times, iterations and deviations."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import seqsolve
from seqsolve._demo import plot
from seqsolve._demo.problems import Example, examples
from seqsolve._demo.table import WIDTH, format_table
from seqsolve.backend import Backend, get_backend
from seqsolve.solution import Solution

#: Seconds for which seqsolve is called again and again, if the loop took as long.
_SECONDS = 0.5


@dataclass(frozen=True)
class Measurement:
    """An example, solved both ways.

    Parameters
    ----------
    example : Example
        What was solved.
    solution : Solution
        What seqsolve found.
    deviation, size : float
        Largest absolute difference from the loop, and largest value of that.
    loop, first, seconds : float
        Seconds that the loop took, seqsolve's first call, and on average its
        calls after that.
    """

    example: Example
    solution: Solution
    deviation: float
    size: float
    loop: float
    first: float
    seconds: float


def run(backend: str, n_steps: int, picture: Path | None) -> int:
    """Run the demonstration and print its report.

    Parameters
    ----------
    backend : str
        Where seqsolve runs.
    n_steps : int
        Length of every sequence.
    picture : path, optional
        Where to draw the iterations.

    Returns
    -------
    int
        0 if everything converged, else 1.
    """
    if picture is not None:
        plot.check(picture)
    engine = get_backend(backend)
    problems = examples(n_steps)
    print(_introduction(engine, problems, n_steps), end="\n\n", flush=True)
    measurements = [measure(example, engine) for example in problems]
    print(_results(measurements))
    if picture is not None:
        plot.draw(measurements, picture)
        print(f"\nPicture: {picture}")
    failures = [m for m in measurements if not m.solution.success]
    for m in failures:
        print(f"\n{m.example.name} did not converge. {m.solution.message}")
    return 1 if failures else 0


def measure(example: Example, engine: Backend) -> Measurement:
    """Solve an example both ways and time it."""

    def solve() -> Solution:
        solution = seqsolve.deer(
            example.f,
            example.jac,
            example.x,
            example.y0,
            backend=engine.name,
            on_failure="return",
        )
        engine.synchronize()
        return solution

    loop, expected = _timed(example.loop)
    first, solution = _timed(solve)
    times: list[float] = []
    while sum(times) < min(loop, _SECONDS):
        times.append(_timed(solve)[0])
    deviation = float(np.abs(engine.to_numpy(solution.y) - expected).max())
    size = float(np.abs(expected).max())
    return Measurement(example, solution, deviation, size, loop, first, sum(times) / len(times))


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def _introduction(engine: Backend, problems: list[Example], n_steps: int) -> str:
    details = ", ".join(f"{key} {value}" for key, value in engine.describe().items())
    machine = textwrap.fill(f"Backend {engine.name}: {details}.", WIDTH)
    width = max(len(p.name) for p in problems)
    listed = "\n".join(f"  {p.name.ljust(width)}  {p.description}" for p in problems)
    return (
        f"{machine}\n\n"
        f"Recurrences y[t] = f(y[t-1], x[t]), {n_steps:,} steps of one sequence:\n"
        f"{listed}\n\n"
        "  loop      for t in range(n_steps): y = f(y, x[t]), in plain NumPy\n"
        "  seqsolve  seqsolve.deer(f, jac, x, y0): Newton's method on a window of steps at once"
    )


def _results(measurements: list[Measurement]) -> str:
    header = (
        "problem",
        "steps",
        "loop [s]",
        "seqsolve [s]",
        "speed-up",
        "iterations/window",
        "largest deviation",
    )
    rows = []
    for m in measurements:
        counts = [record.nit for record in m.solution.history]
        mean, low, high = sum(counts) / len(counts), min(counts), max(counts)
        rows.append(
            (
                m.example.name,
                f"{len(m.example.x):,}",
                f"{m.loop:.3f}",
                f"{m.seconds:.4f}",
                f"{m.loop / m.seconds:.1f} x",
                f"{mean:.1f} ({low} to {high})",
                f"{m.deviation:.1e} of {m.size:.3g}",
            )
        )
    table = format_table(header, rows, numbers=header[1:])
    firsts = ", ".join(f"{m.first:.2f} s" for m in measurements)
    note = (
        f"seqsolve: mean of all calls in {_SECONDS} s or as long as the loop took, after a first "
        f"one, which took {firsts}. First calls compile where they must; the result is kept on "
        "disk for the next time. Deviation: largest absolute difference from the loop, of the "
        "largest value."
    )
    return f"{table}\n\n{textwrap.fill(note, WIDTH)}"
