"""What the CuPy backend's kernels need of a device, from compiling them without one.

    python tests/support/kernel_resources.py             every instance, into the table
    python tests/support/kernel_resources.py --sample    those that the tests compile

The compiler is NVRTC as `pip install "cuda-core[cu13]" nvidia-cuda-nvrtc` brings it. The table,
``tests/backends/kernel_resources.json``, holds registers, bytes of local memory (stack), spilled
bytes (stores and loads) and bytes of static shared memory for each instance and architecture.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import multiprocessing
import os
import re
import sys
import time
from pathlib import Path

if __name__ == "__main__":  # pytest has it on the path
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.emulation import use_emulation

use_emulation()

from seqsolve_cupy import cyclic_reduction, layout, plans, sources  # noqa: E402

TABLE = Path(__file__).resolve().parents[1] / "backends" / "kernel_resources.json"
ARCHITECTURES = ("sm_80", "sm_90")

#: Multiprocessors of an A100, an H100 PCIe, and an H100 SXM or H200.
_MULTIPROCESSORS = (108, 114, 132)

#: Shapes on all sides of the planner's limits.
_STEPS = (1, 30, 300, 1000, 3000, 10**4, 10**5, 10**6, 10**8)
_LANES = (*range(1, 18), 31, 32, 33, 64, 100, 250, 300, 600, 1000, 3000, 9000, 10**5, 10**7)


def instances() -> dict[str, list[str]]:
    """Return the instances that the backend can ask for, by source."""
    found: dict[str, list[str]] = {"residual_test": [], "cyclic_reduction": []}
    for dtype, scalar in layout.SCALARS.items():
        found["residual_test"] += [
            f"seqsolve::residual_test<{scalar}, {lanes}, 256>" for lanes in (1, 8, 32)
        ]
        largest = (
            cyclic_reduction.LARGEST_COMPLEX if _is_complex(dtype) else cyclic_reduction.LARGEST_REAL
        )
        found["cyclic_reduction"] += [
            f"seqsolve::cyclic_reduction<{scalar}, {n}, {ends_only}>"
            for n in range(1, largest + 1)
            for ends_only in ("true", "false")
        ]
        for n in range(1, plans.LARGEST + 1):
            for plan in _plans(dtype, n):
                for name in ("linear_recurrence", "newton_update"):
                    for source, instance in _of_plan(name, scalar, n, plan):
                        found.setdefault(source, []).append(instance)
    return {source: sorted(set(names)) for source, names in found.items()}


def sample() -> dict[str, list[str]]:
    """Return instances of every kernel: smallest and largest, of the narrowest and widest type."""
    ends = {"float": (1, 4, 5, 64), "seqsolve::complex128": (1, 2, 5, 64), "double": (4, 8)}
    chosen: dict[str, list[str]] = {}
    for source, names in instances().items():
        by_kind: dict[tuple[str, ...], str] = {}
        for name in names:
            kind, scalar, numbers = _parts(name)
            if source == "residual_test" or numbers[0] in ends.get(scalar, ()):
                by_kind.setdefault((kind, scalar, str(numbers[0]), numbers[-1] < "1"), name)
        chosen[source] = sorted(by_kind.values())
    return chosen


def _parts(instance: str) -> tuple[str, str, list[str]]:
    kind, arguments = re.fullmatch(r"seqsolve::(\w+)<(.*)>", instance).groups()
    scalar, *numbers = arguments.split(", ")
    return kind, scalar, numbers
