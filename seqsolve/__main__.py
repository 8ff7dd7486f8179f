"""``python -m seqsolve``: what runs here, and a demonstration."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import seqsolve
from seqsolve import _registry
from seqsolve._demo import DEFAULT_STEPS
from seqsolve._demo.plot import PlotError
from seqsolve._demo.table import format_table
from seqsolve.backend import BackendUnavailableError, backend_status

#: Optional extras: what each adds, and the modules that it installs.
_EXTRAS = {
    "cuda12": ("NVIDIA GPUs, CUDA 12 (backends cupy, numba)", ("cupy",)),
    "cuda13": ("NVIDIA GPUs, CUDA 13 (backends cupy, numba)", ("cupy",)),
    "plot": ("pictures (demo --plot)", ("matplotlib",)),
    "progress": ("progress bars (progress=True)", ("tqdm",)),
    "datasets": ("downloads of seqsolve.datasets", ("pooch",)),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default those of the process.

    Returns
    -------
    int
        Exit code: 0 on success, 1 where something cannot run here or did not
        converge. Bad arguments exit with 2.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        print(describe_installation())
        return 0
    if arguments.backend not in _registry.names():
        installed = ", ".join(_registry.names())
        parser.error(f"--backend must be one of {installed}; got {arguments.backend!r}")
    from seqsolve._demo.report import run

    try:
        return run(arguments.backend, arguments.steps, arguments.plot)
    except (BackendUnavailableError, PlotError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def describe_installation() -> str:
    """Return the installed backends and extras as text."""
    rows = []
    for status in map(backend_status, _registry.names()):
        details = ", ".join(f"{key} {value}" for key, value in status.details.items())
        rows.append(
            (
                status.name,
                "yes" if status.available else "no",
                status.distribution,
                details if status.available else status.reason,
            )
        )
    extras = [
        (
            name,
            purpose,
            "yes" if all(map(find_spec, modules)) else f'pip install "seqsolve[{name}]"',
        )
        for name, (purpose, modules) in _EXTRAS.items()
    ]
    return "\n\n".join(
        [
            f"seqsolve {seqsolve.__version__}, NumPy {np.__version__}, "
            f"Python {platform.python_version()} on {platform.system()} {platform.machine()}",
            format_table(("backend", "runs here", "provided by", "details"), rows),
            format_table(("extra", "adds", "installed"), extras),
            "Arrays choose the backend; `backend=` names another.\n"
            "python -m seqsolve demo  solves three problems and compares with a plain loop.",
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m seqsolve",
        description="List the backends that are installed, and what each needs to run.",
    )
    parser.add_argument("--version", action="version", version=f"seqsolve {seqsolve.__version__}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="solve three recurrences in parallel and step by step, and compare",
        description="Solve three recurrences in parallel and step by step, and compare.",
    )
    demo.add_argument("--backend", default="numpy", metavar="NAME", help="default: numpy")
    demo.add_argument(
        "--steps",
        type=_positive,
        default=DEFAULT_STEPS,
        metavar="N",
        help="length of the sequences (default: %(default)s)",
    )
    demo.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw the iterations (extra `plot`)"
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1; got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
