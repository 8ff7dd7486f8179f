"""Measures compiled element steps in one run and prints Markdown tables.

    python asv_benchmarks/element_report.py [--seconds 5] [--output FILE.md]

GRUs, float32, one sequence and batches. Every row times all its columns in
turn, on the same inputs, and takes each one's fastest time. One thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import benchmarks  # noqa: F401  # first of all: NumPy reads the number of threads when loaded
import numba
import numpy as np
from benchmarks.common import NDArray, fastest, gru_loop, gru_problem
from peers import jax_scan
from speed_report import machine

import seqsolve
from seqsolve.models import GRU

N_STEPS = 100_000
N_LOOP = 2_000

#: Newton's method is measured up to this size of the state.
LARGEST_NEWTON = 2

#: Sequences of a batch, and values of all its states.
BATCHES = (16, 64, 256)
N_VALUES = 2_000_000

SINGLE = ("NumPy loop", "njit loop, libm", "lax.scan", "sequential", "fused Newton", "array deer")
BATCHED = ("NumPy loop", "lax.scan", "sequential")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure compiled element steps.")
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each row")
    parser.add_argument("--output", type=Path, help="write the Markdown to this file as well")
    arguments = parser.parse_args(argv)
    single = {(n,): measure(n, arguments.seconds) for n in (1, 2, 4, 8, 16, 32)}
    batched = {
        (batch, n): measure_batch(batch, n, arguments.seconds)
        for batch in BATCHES
        for n in (1, 2, 4, 8, 16, 32)
    }
    parts = [
        machine(),
        "**Compiled GRU, one sequence of 100,000 steps, float32**",
        table(("n",), SINGLE, single),
        "**Compiled GRU, many sequences, float32; a step is of all of them**",
        table(("sequences", "n"), BATCHED, batched),
    ]
    text = "\n\n".join(parts) + "\n"
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    print(text)


def table(
    keys: Sequence[str],
    columns: Sequence[str],
    rows: Mapping[tuple[int, ...], Mapping[str, float]],
) -> str:
    """Return rows of nanoseconds per step as Markdown."""
    header = [*keys, *columns, "lax.scan / sequential"]
    lines = ["| " + " | ".join(header) + " |", "| ---: " * len(header) + "|"]
    for key, ns in rows.items():
        ratio = ns.get("lax.scan", np.nan) / ns["sequential"]
        cells = [f"{ns[name]:,.0f}" if name in ns else "n/a" for name in columns]
        lines.append(" | ".join(["|", *map(str, key), *cells, f"{ratio:.1f} |"]))
    return "\n".join(line.replace("| | ", "| ", 1) for line in lines)


def measure(n: int, seconds: float) -> dict[str, float]:
    """Return nanoseconds per step."""
    cell, x, y0 = gru_problem(n, N_STEPS)
    element = cell.element_step()
    compiled = compiled_loop(cell)
    calls: dict[str, tuple[Callable[[], Any], int]] = {
        "NumPy loop": (lambda: gru_loop(cell, x[:N_LOOP], y0), N_LOOP),
        "njit loop, libm": (lambda: compiled(x, y0), N_STEPS),
        "sequential": (lambda: seqsolve.sequential(element, x, y0, backend="numba"), N_STEPS),
        "array deer": (lambda: seqsolve.deer(cell, None, x, y0, on_failure="raise"), N_STEPS),
    }
    if n <= LARGEST_NEWTON:
        options: dict[str, Any] = {"backend": "numba", "window": 4096, "on_failure": "raise"}
        calls["fused Newton"] = (
            lambda: seqsolve.deer(element, None, x, y0, **options),
            N_STEPS,
        )
    if jax_scan.available():
        calls["lax.scan"] = (jax_scan.gru(cell, x, y0), N_STEPS)
    best = fastest({name: call for name, (call, _) in calls.items()}, seconds=seconds)
    return {name: 1e9 * best[name] / n_steps for name, (_, n_steps) in calls.items()}


def measure_batch(batch: int, n: int, seconds: float) -> dict[str, float]:
    """Return nanoseconds per step of all sequences."""
    n_steps = max(200, N_VALUES // (batch * n * max(1, n // 4)))
    cell, x, y0 = gru_problem(n, n_steps, (batch,))
    element = cell.element_step()
    n_loop = min(n_steps, 500)
    calls: dict[str, tuple[Callable[[], Any], int]] = {
        "NumPy loop": (lambda: gru_loop(cell, x[:n_loop], y0), n_loop),
        "sequential": (lambda: seqsolve.sequential(element, x, y0, backend="numba"), n_steps),
    }
    if jax_scan.available():
        calls["lax.scan"] = (jax_scan.gru(cell, x, y0), n_steps)
    best = fastest({name: call for name, (call, _) in calls.items()}, seconds=seconds)
    return {name: 1e9 * best[name] / n for name, (_, n) in calls.items()}


def compiled_loop(cell: GRU) -> Callable[[NDArray, NDArray], NDArray]:
    """Return the loop that a user would compile: plain arithmetic, libm's tanh and exp."""

    @numba.njit(fastmath=True)  # type: ignore[untyped-decorator]
    def loop(projected: Any, y0: Any, w: Any, b: Any) -> Any:
        n, one = len(y0), np.float32(1)
        y = np.empty((len(projected), n), y0.dtype)
        h, hidden = y0.copy(), b.copy()
        for t in range(len(projected)):
            for i in range(3 * n):
                total = b[i]
                for j in range(n):
                    total += w[i, j] * h[j]
                hidden[i] = total
            for i in range(n):
                r = one / (one + np.exp(-projected[t, i] - hidden[i]))
                z = one / (one + np.exp(-projected[t, n + i] - hidden[n + i]))
                candidate = np.tanh(projected[t, 2 * n + i] + r * hidden[2 * n + i])
                h[i] = candidate + z * (h[i] - candidate)
                y[t, i] = h[i]
        return y

    w = {name: np.array(p) for name, p in cell.params.items()}
    return lambda x, y0: loop(x @ w["weight_ih"].T + w["bias_ih"], y0, w["weight_hh"], w["bias_hh"])


if __name__ == "__main__":
    main()
