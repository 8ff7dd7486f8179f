"""Measures the CuPy backend on the GPU at hand, and writes JSON and Markdown.

    python asv_benchmarks/gpu_report.py [--seconds 420] [--output gpu]

Writes OUTPUT.json and OUTPUT.md after each part, the most telling one first. Ends
in time: what no time is left for is listed as skipped. Exits with 1 where there is
no device. JAX and PyTorch are compared with where they are installed with CUDA.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import benchmarks  # noqa: F401  # first of all: NumPy reads the number of threads when loaded
import numpy as np

import seqsolve


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write the report.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default those of the process.

    Returns
    -------
    int
        0; 1 where there is no device.
    """
    parser = argparse.ArgumentParser(description="Measure the CuPy backend.")
    parser.add_argument("--seconds", type=float, default=420.0, help="default: %(default)s")
    parser.add_argument(
        "--output", type=Path, default=Path("gpu"), metavar="PATH", help="without suffix"
    )
    parser.add_argument(
        "--tiny", action="store_true", help="sizes that test the report; the figures mean nothing"
    )
    arguments = parser.parse_args(argv)
    status = seqsolve.backend_status("cupy")
    if not status.available:
        print(f"Nothing was measured. {status.reason}", file=sys.stderr)
        return 1
    from gpu import document, kernels, solvers
    from gpu.measure import Budget, Session, copy_bandwidth

    budget = Budget(arguments.seconds)
    bandwidth = copy_bandwidth(2**20 if arguments.tiny else 2**31)
    session = Session(budget, bandwidth, arguments.tiny)
    machine = {**status.details, **_versions()}
    title = "CuPy backend, tiny sizes: no figure here means anything"
    if not arguments.tiny:
        title = f"CuPy backend on {status.details['device']}"
    for part in (
        kernels.measure_primitives,
        solvers.measure_parts,
        kernels.measure_cyclic_reduction,
        solvers.measure_deer,
    ):
        part(session)
        content = machine, bandwidth, session.figures
        arguments.output.with_suffix(".json").write_text(document.as_json(*content))
        arguments.output.with_suffix(".md").write_text(document.as_markdown(title, *content))
    print(arguments.output.with_suffix(".md").read_text())
    return 0


def _versions() -> dict[str, str]:
    """Return the versions of what is compared."""
    versions = {
        "seqsolve": seqsolve.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    for name in ("jax", "torch"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


if __name__ == "__main__":
    sys.exit(main())
