"""Measures `solve_ivp` against SciPy's, on one trajectory, and writes the data of the page.

    python asv_benchmarks/ivp_report.py docs/benchmarks/ivp_data.json

Every problem, method and tolerance is solved by both in turn; the fastest of
some processor times counts. Errors are those at the times of the references,
which `tests/support/ode_references.py` computes.

Which iterates the sliding window meets depends on the last digits of all it
computes, and the depth with them. So that is a median over runs from initial
states that differ in the twelfth digit; their range is recorded too.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.integrate

import seqsolve

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from odes import PROBLEMS, Ode, error, reference

TOLERANCES = [10.0**-k for k in range(3, 11)]
STARTS, SPREAD = 5, 1e-12
EXPLICIT, IMPLICIT = ["RK45", "DOP853"], ["Radau"]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Measure solve_ivp against SciPy's.")
    parser.add_argument("path", type=Path, help="where to write the data")
    parser.add_argument("--seconds", type=float, default=0.5, help="time for each case")
    arguments = parser.parse_args()
    warm = PROBLEMS["harmonic"]
    seqsolve.solve_ivp(warm.fun, warm.t_span, warm.y0)
    records = []
    for name, ode in PROBLEMS.items():
        for method in IMPLICIT if ode.stiff else EXPLICIT + IMPLICIT:
            for rtol in TOLERANCES:
                record = measure(name, ode, method, rtol, arguments.seconds)
                records.append(record)
                print(json.dumps(record), file=sys.stderr, flush=True)
    lines = ",\n".join(json.dumps(record) for record in records)
    arguments.path.write_text(f"[\n{lines}\n]\n")


def measure(name: str, ode: Ode, method: str, rtol: float, seconds: float) -> dict[str, Any]:
    """Solve a problem by both."""
    atol = rtol * 1e-3
    args, options = (ode.fun, ode.t_span, ode.y0, method), {"rtol": rtol, "atol": atol}
    solvers = (seqsolve.solve_ivp, scipy.integrate.solve_ivp)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        times = in_turns([lambda s=s: s(*args, **options) for s in solvers], seconds)
        results = [s(*args, **options) for s in solvers]
        dense = [s(*args, dense_output=True, **options) for s in solvers]
        depths = sorted(
            seqsolve.solve_ivp(ode.fun, ode.t_span, y0, method, **options).depth
            for y0 in starts(ode)
        )
    t, _ = reference(name)
    record: dict[str, Any] = {"problem": name, "method": method, "rtol": rtol}
    calls = (depths[STARTS // 2], results[1].nfev)
    for key, result, solution, took, depth in zip(
        ("seqsolve", "scipy"), results, dense, times, calls, strict=True
    ):
        record[key] = {
            "error": float(f"{error(name, solution.sol(t), rtol, atol):.3g}"),
            "seconds": float(f"{took:.3g}"),
            "depth": int(depth),
            "steps": int(result.t.size - 1),
            "success": bool(result.success),
        }
    record["seqsolve"]["depths"] = [depths[0], depths[-1]]
    return record


def starts(ode: Ode) -> np.ndarray:
    """Return initial states that are almost the same, the given one first."""
    noise = np.random.default_rng(0).standard_normal((STARTS, len(ode.y0)))
    noise[0] = 0
    return np.array(ode.y0) * (1 + SPREAD * noise)


def in_turns(runs: list[Callable[[], Any]], seconds: float) -> list[float]:
    """Return the fastest processor time of each, all run in turn for some seconds."""
    fastest = [np.inf] * len(runs)
    started = time.process_time()
    while True:
        for i, run in enumerate(runs):
            before = time.process_time()
            run()
            fastest[i] = min(fastest[i], time.process_time() - before)
        if time.process_time() - started > seconds:
            return fastest


if __name__ == "__main__":
    main()
