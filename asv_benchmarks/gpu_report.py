"""Measures the CuPy backend on the GPU at hand, and writes JSON and Markdown.

    python asv_benchmarks/gpu_report.py [--seconds 420] [--sections memory,deer] [--output gpu]

Each section runs in a process of its own with a share of the time, so that one
that fails, hangs or runs out of memory costs no other. OUTPUT.json and
OUTPUT.md are written after every section. What no time is left for is listed as
skipped; results that are wrong are marked, and no ratio is formed of them.
Exits with 1 where there is no device, or a result is wrong. JAX and PyTorch are
compared with where they are installed with CUDA.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import benchmarks  # noqa: F401  # first of all: NumPy reads the number of threads when loaded
import numpy as np
from gpu import document
from gpu.figures import Figure, Session
from gpu.sections import SECTIONS

import seqsolve

#: Seconds that a section may take beyond its share until its process is ended.
GRACE = 20.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write the report.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default those of the process.

    Returns
    -------
    int
        0; 1 where there is no device, or a result is wrong.
    """
    arguments = _parser().parse_args(argv)
    if arguments.into:
        _measure_section(arguments.sections[0], arguments.seconds, arguments.tiny, arguments.into)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends a section's processes, too
    status = seqsolve.backend_status("cupy")
    if not status.available:
        print(f"Nothing was measured. {status.reason}", file=sys.stderr)
        return 1
    machine = {**status.details, **_versions()}
    title = "CuPy backend, tiny sizes: no figure here means anything"
    if not arguments.tiny:
        title = f"CuPy backend on {status.details['device']}"
    figures: list[Figure] = []
    end = time.monotonic() + arguments.seconds
    for i, name in enumerate(arguments.sections):
        shares = [SECTIONS[other].share for other in arguments.sections[i:]]
        seconds = max(0.0, end - time.monotonic()) * shares[0] / sum(shares)
        into = arguments.output.with_suffix(f".{name}.json")  # outlives a report that is ended
        content = _run_section(name, seconds, arguments.tiny, into)
        figures += content["figures"]
        bandwidth = content.get("copy bandwidth")
        if bandwidth is not None:
            machine[f"copy bandwidth ({name})"] = f"{bandwidth / 1e12:.4g} TB/s"
        markdown = document.as_markdown(title, machine, figures)
        arguments.output.with_suffix(".json").write_text(document.as_json(machine, figures))
        arguments.output.with_suffix(".md").write_text(markdown)
    print(markdown)
    return int(any(f.seconds is not None and not f.stands for f in figures))


def _run_section(name: str, seconds: float, tiny: bool, into: Path) -> dict[str, Any]:
    """Run a section in a process, and return what it has written until its end."""
    command = [sys.executable, __file__, "--sections", name, "--seconds", str(seconds)]
    command += ["--into", str(into), *(["--tiny"] if tiny else [])]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, process_group=0) as process:
        try:
            _, told = process.communicate(timeout=seconds + GRACE)
            lines = told.strip().splitlines() or [""]
            reason = "" if process.returncode == 0 else f"ended: {lines[-1]}"
            sys.stderr.write(told)
        except subprocess.TimeoutExpired:
            reason = f"its process was ended after {seconds + GRACE:.0f} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and the peers that it started
    content = json.loads(into.read_text()) if into.exists() else {"figures": []}
    into.unlink(missing_ok=True)
    content["figures"] = [Figure(**figure) for figure in content["figures"]]
    if reason:
        case, variant = content.get("running") or ({}, f"section {name}")
        content["figures"].append(Figure(name, case, variant, None, note=reason[:200]))
    return content


def _measure_section(name: str, seconds: float, tiny: bool, into: Path) -> None:
    """Measure a section, keeping a file up to date."""

    def save(session: Session) -> None:
        content = {
            "copy bandwidth": session.bandwidth,
            "running": session.running,
            "figures": [asdict(figure) for figure in session.figures],
        }
        part = into.with_suffix(".part")
        part.write_text(json.dumps(content))
        os.replace(part, into)

    session = Session(seconds, tiny, save, section=name)
    from gpu.measure import copy_bandwidth

    session.bandwidth = copy_bandwidth(tiny)
    SECTIONS[name].load()(session)
    save(session)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure the CuPy backend.")
    parser.add_argument("--seconds", type=float, default=420.0, help="default: %(default)s")
    parser.add_argument(
        "--sections", type=_sections, default=list(SECTIONS), metavar="A,B", help="default: all"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("gpu"), metavar="PATH", help="without suffix"
    )
    parser.add_argument(
        "--tiny", action="store_true", help="sizes that test the report; the figures mean nothing"
    )
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    return parser


def _sections(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in SECTIONS:
            raise argparse.ArgumentTypeError(f"there is no section {name!r}: {', '.join(SECTIONS)}")
    return names


def _versions() -> dict[str, str]:
    """Return the versions of what is compared."""
    versions = {
        "seqsolve": seqsolve.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    for name in ("numba", "numba-cuda", "jax", "torch"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


if __name__ == "__main__":
    sys.exit(main())
