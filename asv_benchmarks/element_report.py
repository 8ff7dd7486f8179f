"""Measures compiled element steps in one run and prints a Markdown table.

    python asv_benchmarks/element_report.py [--seconds 5]

One GRU sequence, float32. Every row times all its columns in turn, on the same
inputs, and takes each one's fastest time. One sequence runs on one thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from benchmarks.common import NDArray, fastest, gru_loop, gru_problem
from peers import jax_scan

import seqsolve
from seqsolve.models import GRU

N_STEPS = 100_000
N_LOOP = 2_000

#: Newton's method is measured up to this size of the state.
LARGEST_NEWTON = 2

COLUMNS = ("NumPy loop", "njit loop, libm", "lax.scan", "sequential", "fused Newton", "array deer")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure compiled element steps.")
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each row")
    arguments = parser.parse_args(argv)
    print("| n | " + " | ".join(COLUMNS) + " | sequential / fused Newton |")
    print("| ---: " * (len(COLUMNS) + 2) + "|")
    for n in (1, 2, 4, 8, 16, 32):
        ns = measure(n, arguments.seconds)
        ratio = ns["sequential"] / ns.get("fused Newton", np.nan)
        cells = [f"{ns[name]:,.0f}" if name in ns else "n/a" for name in COLUMNS]
        print(f"| {n} | " + " | ".join(cells) + f" | {ratio:.2f} |", flush=True)


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
