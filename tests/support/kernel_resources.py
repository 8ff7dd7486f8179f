"""What the CuPy backend's kernels need of a device, from compiling them without one.

    python tests/support/kernel_resources.py --sample   # what the tests compile, into the table
    python tests/support/kernel_resources.py --source newton_update    # all of one source, besides
    python tests/support/kernel_resources.py            # every instance: over ten minutes

The table, ``tests/backends/kernel_resources.json``, holds for each instance and architecture the
registers of a thread, bytes of local memory (stack), bytes spilled to it (stores and loads), and
bytes of static shared memory. The compiler is NVRTC, as pip installs it.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

TESTS = Path(__file__).resolve().parents[1]
TABLE = TESTS / "backends" / "kernel_resources.json"
ARCHITECTURES = ("sm_80", "sm_90")

#: Multiprocessors of an A100, an H100 PCIe, and an H100 SXM or H200.
_MULTIPROCESSORS = (108, 114, 132)

#: Options that CuPy compiles with: the backend's, and its own.
OPTIONS = ("-std=c++17", "-ftz=true", "--device-as-default-execution-space")

#: Bytes that a block may have: every chunk's map fits.
_SHARED_MEMORY = 227 << 10

#: Lengths and numbers of sequences on all sides of the planner's limits.
_STEPS = (1, 30, 300, 1000, 3000, 10**4, 10**5, 10**6, 10**8)
_LANES = (*range(1, 18), 31, 32, 33, 64, 100, 250, 300, 600, 1000, 3000, 9000, 10**5, 10**7)


class Instance(NamedTuple):
    """One kernel: its source, and the C++ expression of it."""

    source: str
    expression: str

    @property
    def kind(self) -> str:
        """The template's name."""
        return re.split("::|<", self.expression)[1]

    @property
    def arguments(self) -> list[str]:
        """The template's arguments: the scalar type, then numbers."""
        return self.expression.partition("<")[2].rstrip(">").split(", ")


class Resources(NamedTuple):
    """What ptxas says of one kernel on one architecture."""

    registers: int
    stack: int
    spilled: int
    shared: int


@cache
def instances() -> tuple[Instance, ...]:
    """Return every instance that the backend can ask for, found by letting it ask."""
    asked: set[Instance] = set()
    with _recording(asked):
        for dtype in ("float32", "float64", "complex64", "complex128"):
            _ask_for_residual_tests(dtype)
            _ask_for_cyclic_reductions(dtype)
            _ask_for_scans(dtype)
        for dtype in ("float32", "float64"):
            _ask_for_noise(dtype)
    return tuple(sorted(asked))


def sample() -> tuple[Instance, ...]:
    """Return instances of every kernel, few enough to be compiled at every test."""
    ends = {"float": {"1", "4", "5", "64"}, "seqsolve::complex128": {"1", "2", "8", "40"}}
    chosen: dict[tuple[str, ...], Instance] = {}
    for instance in instances():
        scalar, n, *rest = instance.arguments
        if instance.kind == "residual_test" or instance.source == "noise":
            chosen[instance] = instance
        elif n in ends.get(scalar, ()):
            way = rest[-1] if rest and not rest[-1].isdigit() else ""
            chosen.setdefault((instance.source, instance.kind, scalar, n, way), instance)
    return tuple(sorted(chosen.values()))


@contextmanager
def _recording(asked: set[Instance]) -> Iterator[None]:
    """Let the backend's modules ask for kernels, which are noted and do nothing."""
    from seqsolve_cupy import cyclic_reduction, noise, residual, scans

    def nothing(*args: Any, **kwargs: Any) -> None:
        """Stand for a kernel."""

    def kernel(source: str, expression: str) -> Any:
        asked.add(Instance(source, expression))
        return nothing

    with (
        mock.patch.object(cyclic_reduction, "kernel", kernel),
        mock.patch.object(noise, "kernel", kernel),
        mock.patch.object(residual, "kernel", kernel),
        mock.patch.object(scans, "kernel", kernel),
    ):
        yield


def _ask_for_residual_tests(dtype: str) -> None:
    import cupy

    from seqsolve_cupy.residual import residual_test

    for n_batch, n_state in ((1, 1), (2, 3), (10, 10)):
        y = cupy.zeros((2, n_batch, n_state), dtype=dtype)
        residual_test(y, y, 0.0, cupy.zeros(n_state))


def _ask_for_cyclic_reductions(dtype: str) -> None:
    import cupy

    from seqsolve_cupy import cyclic_reduction

    for n in range(1, 65):
        A = cupy.broadcast_to(cupy.zeros((), dtype=dtype), (2**15, 1, n, n))
        b = cupy.broadcast_to(cupy.zeros((), dtype=dtype), (2**15, 1, n))
        if cyclic_reduction.applies(A, b):
            out = cupy.empty((2**15, 1, n), dtype=dtype)
            cyclic_reduction.solve(A, b, None, reverse=False, transpose=False, out=out)


def _ask_for_scans(dtype: str) -> None:
    import cupy

    from seqsolve_cupy.scans import Task, launch

    for n in range(1, 65):
        A = cupy.zeros((1, 1, n, n), dtype=dtype)
        b = cupy.zeros((1, 1, n), dtype=dtype)
        A, b = cupy.broadcast_to(A, (600, 1, n, n)), cupy.broadcast_to(b, (600, 1, n))
        for plan in _plans(dtype, n):
            launch(Task.linear(A, b, None, b), plan)
            launch(Task.newton(A, b, b), plan)


def _ask_for_noise(dtype: str) -> None:
    import cupy

    from seqsolve.random import NoiseStream
    from seqsolve_cupy import noise

    z, w = cupy.zeros((1, 2, 3), dtype=dtype), cupy.zeros((2, 2), dtype=dtype)
    for kind, bits in (("normal", "uint32"), ("sign", "uint8")):
        for table in (None, cupy.zeros((2, 2, 3), dtype=bits)):
            stream = NoiseStream((0, 0), 0, kind, table is not None, table)
            noise.weigh_noise(w, stream, range(2), noise.add_noise(z, 1.0, stream, range(2))[0])


def _plans(dtype: str, n: int) -> set[Any]:
    """Return plans with every instance; how far they look and cut changes none."""
    from seqsolve_cupy.plans import Wide, choose

    chosen = {
        choose(
            n_steps,
            n_lanes,
            n,
            itemsize=np.dtype(dtype).itemsize,
            is_complex=np.dtype(dtype).kind == "c",
            steps_adjacent=steps_adjacent,
            n_multiprocessors=n_multiprocessors,
            shared_memory=_SHARED_MEMORY,
        )
        for n_steps in _STEPS
        for n_lanes in _LANES
        for steps_adjacent in ((True, False) if n == 1 else (False,))
        for n_multiprocessors in _MULTIPROCESSORS
    }
    return {
        replace(plan, n_chunks=min(plan.n_chunks, 2)) if isinstance(plan, Wide) else plan
        for plan in chosen
    }


def compile_instances(
    source: str, expressions: Iterable[str], architecture: str, step: str = ""
) -> dict[str, Resources]:
    """Compile instances of one source to machine code, in one program, for an element step.

    With the options that CuPy compiles with, the backend's and its own.
    """
    from cuda.core import Program, ProgramOptions

    from seqsolve_cupy import sources

    options = ProgramOptions(
        std="c++17",
        arch=architecture,
        ftz=True,
        device_as_default_execution_space=True,
        ptxas_options=["-v"],
    )
    log = io.StringIO()
    text = sources.load(source, step) if step else sources.load(source)
    program = Program(text, "c++", options)
    binary = program.compile("cubin", name_expressions=tuple(expressions), logs=log)
    assert binary.code[:4] == b"\x7fELF"
    names = {mangled.decode(): name for name, mangled in binary.symbol_mapping.items()}
    return {names[mangled]: found for mangled, found in _parse(log.getvalue())}


def ptx(source: str, expressions: Iterable[str], architecture: str) -> str:
    """Compile instances of one source to PTX."""
    from cuda.bindings import nvrtc

    from seqsolve_cupy import sources

    def call(function: Callable[..., Any], *args: Any) -> Any:
        error, *results = function(*args)
        assert error == nvrtc.nvrtcResult.NVRTC_SUCCESS, error
        return results[0] if results else None

    program = call(nvrtc.nvrtcCreateProgram, sources.load(source).encode(), b"", 0, [], [])
    for expression in expressions:
        call(nvrtc.nvrtcAddNameExpression, program, expression.encode())
    options = [*OPTIONS, f"-arch={architecture.replace('sm', 'compute')}"]
    call(nvrtc.nvrtcCompileProgram, program, len(options), [o.encode() for o in options])
    text = b" " * call(nvrtc.nvrtcGetPTXSize, program)
    call(nvrtc.nvrtcGetPTX, program, text)
    return text.decode()


def _parse(log: str) -> Iterator[tuple[str, Resources]]:
    for part in log.split("Function properties for ")[1:]:
        read = _reader(part)
        yield (
            part.split()[0],
            Resources(
                registers=read(r"Used (\d+) registers"),
                stack=read(r"(\d+) bytes stack frame"),
                spilled=read(r"(\d+) bytes spill stores") + read(r"(\d+) bytes spill loads"),
                shared=read(r"(\d+) bytes smem", default=0),
            ),
        )


def _reader(text: str) -> Callable[..., int]:
    def read(pattern: str, default: int | None = None) -> int:
        match = re.search(pattern, text)
        if match is None and default is None:
            raise ValueError(f"the compiler's log has no {pattern!r}: {text[:400]}")
        return int(match[1]) if match else int(default or 0)

    return read


def compiler_version() -> str:
    """Return the version of NVRTC."""
    from cuda.bindings import nvrtc

    _, major, minor = nvrtc.nvrtcVersion()
    return f"NVRTC {major}.{minor}"


def load_table() -> dict[str, dict[Instance, Resources]]:
    """Return the recorded resources by architecture."""
    recorded = json.loads(TABLE.read_text())["resources"]
    return {
        architecture: {
            Instance(source, expression): Resources(*numbers)
            for source, rows in sources.items()
            for expression, numbers in rows.items()
        }
        for architecture, sources in recorded.items()
    }


def _save_table(table: dict[str, dict[str, dict[str, list[int]]]]) -> None:
    head = json.dumps({"compiler": compiler_version(), "columns": list(Resources._fields)})
    lines = [head[:-1] + ', "resources": {']
    for architecture, sources in sorted(table.items()):
        lines.append(f' "{architecture}": {{')
        for source, rows in sorted(sources.items()):
            lines.append(f'  "{source}": {{')
            lines += [f"   {json.dumps(k)}: {json.dumps(v)}," for k, v in sorted(rows.items())]
            lines[-1] = lines[-1].rstrip(",")
            lines.append("  },")
        lines[-1] = "  }"
        lines.append(" },")
    lines[-1] = " }"
    TABLE.write_text("\n".join([*lines, "}}", ""]))


def _job(job: tuple[str, list[str], str]) -> tuple[str, str, dict[str, Resources]]:
    source, expressions, architecture = job
    return architecture, source, compile_instances(source, expressions, architecture)


def main() -> None:
    """Compile, print what spills, and write the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--sample", action="store_true", help="only what the tests compile")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--source", action="append", help="keep what is recorded of others")
    options = parser.parse_args()
    by_source: dict[str, list[str]] = {}
    for source, expression in sample() if options.sample else instances():
        if options.source and source not in options.source:
            continue
        by_source.setdefault(source, []).append(expression)
    jobs = [
        (source, names[i : i + 8], architecture)
        for architecture in ARCHITECTURES
        for source, names in by_source.items()
        for i in range(0, len(names), 8)
    ]
    table: dict[str, dict[str, dict[str, list[int]]]] = {}
    if options.source:
        table = json.loads(TABLE.read_text())["resources"]
        for sources in table.values():
            for source in () if options.sample else options.source:
                sources.pop(source, None)
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for i, (architecture, source, rows) in enumerate(pool.imap_unordered(_job, jobs), 1):
            table.setdefault(architecture, {}).setdefault(source, {}).update(
                {name: list(row) for name, row in rows.items()}
            )
            print(f"{i} of {len(jobs)} programs", flush=True)
            for name, row in rows.items():
                if row.spilled:
                    print(f"  {architecture} {name}: {row}", flush=True)
    _save_table(table)


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    from support.emulation import EMULATION

    sys.path.insert(0, str(EMULATION))
    main()
