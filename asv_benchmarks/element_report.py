"""Measures compiled element steps in one run and prints Markdown tables.

    python asv_benchmarks/element_report.py [--seconds 5] [--threads 2] [--output FILE.md]

GRUs, one sequence and batches. Every row times all its columns in
turn, on the same inputs, and takes each one's fastest time: processor time on
one thread, the clock's where there are several.
"""

from __future__ import annotations

import argparse
import os
import time
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

#: Sizes of the state with which Newton's method is measured.
NEWTON_SIZES = (1, 2, 4)

#: Sequences of a batch, and values of all its states.
BATCHES = (16, 64, 256)
N_VALUES = 2_000_000

#: Steps solved together by Newton's method.
WINDOW = 4096

#: What is added to the bias of the update gates of a GRU to remember for long.
LONG_MEMORY = (3.0, 5.0, 7.0)

LONG = ("lax.scan", "sequential", "fused Newton")
SINGLE = ("NumPy loop", "njit loop, libm", "lax.scan", "sequential", "fused Newton", "array deer")
BATCHED = ("NumPy loop", "lax.scan", "sequential")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure compiled element steps.")
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each row")
    parser.add_argument("--output", type=Path, help="write the Markdown to this file as well")
    parser.add_argument("--threads", type=int, default=0, help="measure so many threads as well")
    arguments = parser.parse_args(argv)
    single = {(n,): measure(n, arguments.seconds) for n in (1, 2, 4, 8, 16, 32)}
    long = {
        (n, f"{bias:+g}"): measure_memory(n, bias, arguments.seconds)
        for n in NEWTON_SIZES
        for bias in LONG_MEMORY
    }
    batched = {
        (batch, n): measure_batch(batch, n, arguments.seconds)
        for batch in BATCHES
        for n in (1, 2, 4, 8, 16, 32)
    }
    double = {(n,): measure(n, arguments.seconds, "float64") for n in (1, 2, 4, 8)}
    long_double = {
        (n, f"{bias:+g}"): measure_memory(n, bias, arguments.seconds, "float64")
        for n in NEWTON_SIZES
        for bias in LONG_MEMORY
    }
    parts = [
        machine(),
        "**Compiled GRU, one sequence of 100,000 steps, float32**",
        table(("n",), SINGLE, single),
        "**The same, the bias of the update gates shifted: a longer memory**",
        table(("n", "shift"), LONG, long),
        "**Compiled GRU, many sequences, float32; a step is of all of them**",
        table(("sequences", "n"), BATCHED, batched),
        "**Compiled GRU, one sequence of 100,000 steps, float64**",
        table(("n",), SINGLE, double),
        "**The same, float64, with a longer memory**",
        table(("n", "shift"), LONG, long_double),
    ]
    if arguments.threads:
        threads = range(1, arguments.threads + 1)
        names = [f"{name}, {k}" for name in ("sequential", "fused Newton") for k in threads]
        rows = {
            (n, f"{bias:+g}"): measure_threads(n, bias, threads, arguments.seconds)
            for n in NEWTON_SIZES
            for bias in (0.0, *LONG_MEMORY)
        }
        parts += [
            "**One sequence on threads, their number in the head; time by the clock**",
            table(("n", "shift"), names, rows, ratio=False),
        ]
    text = "\n\n".join(parts) + "\n"
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    print(text)


def table(
    keys: Sequence[str],
    columns: Sequence[str],
    rows: Mapping[tuple[Any, ...], Mapping[str, float]],
    *,
    ratio: bool = True,
) -> str:
    """Return rows of nanoseconds per step as Markdown."""
    header = [*keys, *columns, *["lax.scan / sequential"] * ratio]
    lines = ["| " + " | ".join(header) + " |", "| ---: " * len(header) + "|"]
    for key, ns in rows.items():
        cells = [*map(str, key), *(f"{ns[name]:,.0f}" if name in ns else "n/a" for name in columns)]
        if ratio:
            cells.append(f"{ns.get('lax.scan', np.nan) / ns['sequential']:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def newton(element: Any, x: NDArray, y0: NDArray) -> Callable[[], Any]:
    """Return the call of the fused Newton."""
    options: dict[str, Any] = {"backend": "numba", "window": WINDOW, "on_failure": "raise"}
    return lambda: seqsolve.deer(element, None, x, y0, **options)


def sequential(element: Any, x: NDArray, y0: NDArray) -> Callable[[], Any]:
    """Return the call that steps."""
    return lambda: seqsolve.sequential(element, x, y0, backend="numba")


def remembering(cell: GRU, bias: float) -> GRU:
    """Return the cell with the bias of its update gates shifted."""
    shifted = np.array(cell.params["bias_ih"])
    n = shifted.size // 3
    shifted[n : 2 * n] += bias
    return cell.with_params({"bias_ih": shifted})


def measure_memory(n: int, bias: float, seconds: float, dtype: str = "float32") -> dict[str, float]:
    """Return nanoseconds per step of a GRU with a longer memory."""
    cell, x, y0 = gru_problem(n, N_STEPS, dtype=dtype)
    cell = remembering(cell, bias)
    element = cell.element_step()
    calls = {"sequential": sequential(element, x, y0), "fused Newton": newton(element, x, y0)}
    if jax_scan.available():
        calls["lax.scan"] = jax_scan.gru(cell, x, y0)
    best = fastest(calls, seconds=seconds, timer=time.process_time)
    return {name: 1e9 * best[name] / N_STEPS for name in calls}


def measure_threads(
    n: int, bias: float, threads: Sequence[int], seconds: float
) -> dict[str, float]:
    """Return nanoseconds per step, by the clock, with different numbers of threads."""
    cell, x, y0 = gru_problem(n, N_STEPS)
    element = remembering(cell, bias).element_step()

    def on(k: int, call: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> None:
            os.environ["NUMBA_NUM_THREADS"] = str(k)
            call()

        return run

    calls = {
        f"{name}, {k}": on(k, call(element, x, y0))
        for name, call in (("sequential", sequential), ("fused Newton", newton))
        for k in sorted(threads, reverse=True)
    }
    best = fastest(calls, seconds=seconds, timer=time.perf_counter)
    return {name: 1e9 * best[name] / N_STEPS for name in calls}


def measure(n: int, seconds: float, dtype: str = "float32") -> dict[str, float]:
    """Return nanoseconds per step."""
    cell, x, y0 = gru_problem(n, N_STEPS, dtype=dtype)
    element = cell.element_step()
    compiled = compiled_loop(cell)
    calls: dict[str, tuple[Callable[[], Any], int]] = {
        "NumPy loop": (lambda: gru_loop(cell, x[:N_LOOP], y0), N_LOOP),
        "njit loop, libm": (lambda: compiled(x, y0), N_STEPS),
        "sequential": (sequential(element, x, y0), N_STEPS),
        "array deer": (lambda: seqsolve.deer(cell, None, x, y0, on_failure="raise"), N_STEPS),
    }
    if n in NEWTON_SIZES:
        calls["fused Newton"] = (newton(element, x, y0), N_STEPS)
    if jax_scan.available():
        calls["lax.scan"] = (jax_scan.gru(cell, x, y0), N_STEPS)
    runs = {name: call for name, (call, _) in calls.items()}
    best = fastest(runs, seconds=seconds, timer=time.process_time)
    return {name: 1e9 * best[name] / n_steps for name, (_, n_steps) in calls.items()}


def measure_batch(batch: int, n: int, seconds: float) -> dict[str, float]:
    """Return nanoseconds per step of all sequences."""
    n_steps = max(200, N_VALUES // (batch * n * max(1, n // 4)))
    cell, x, y0 = gru_problem(n, n_steps, (batch,))
    element = cell.element_step()
    n_loop = min(n_steps, 500)
    calls: dict[str, tuple[Callable[[], Any], int]] = {
        "NumPy loop": (lambda: gru_loop(cell, x[:n_loop], y0), n_loop),
        "sequential": (sequential(element, x, y0), n_steps),
    }
    if jax_scan.available():
        calls["lax.scan"] = (jax_scan.gru(cell, x, y0), n_steps)
    runs = {name: call for name, (call, _) in calls.items()}
    best = fastest(runs, seconds=seconds, timer=time.process_time)
    return {name: 1e9 * best[name] / n for name, (_, n) in calls.items()}


def compiled_loop(cell: GRU) -> Callable[[NDArray, NDArray], NDArray]:
    """Return the loop that a user would compile: plain arithmetic, libm's tanh and exp."""

    @numba.njit(fastmath=True)  # type: ignore[untyped-decorator]
    def loop(projected: Any, y0: Any, w: Any, b: Any) -> Any:
        n, one = len(y0), y0.dtype.type(1)
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
