"""Compares the stand-in for CuPy with CuPy itself, which must be installed; needs no device.

    python tests/support/cupy_interface.py

Everything that the stand-in offers must be there in CuPy, and take the same arguments.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

EMULATION = Path(__file__).parent / "emulation"

#: What only the stand-in has: it says so, and counts.
ITS_OWN = {
    "is_emulated",
    "cuda.cublas.get_cublas_handle",
    "cuda.runtime.check_device",
    "cuda.Stream.launches",
    "cuda.memory.MemoryPool.give_back",
    "cuda.memory.MemoryPool.take",
    "cuda.runtime.ATTRIBUTES",
}

#: Arguments that nobody passes by name: CuPy alone makes these.
POSITIONAL = {
    "RawKernel",
    "cuda.driver.CUDADriverError",
    "cuda.runtime.CUDARuntimeError",
    "random.Generator",
}


def interface() -> dict[str, list[str] | None]:
    """Return the stand-in's public names and, of functions, the arguments by name."""
    import cupy
    from cupy import _functions

    names: dict[str, list[str] | None] = {}
    for name in _functions.FUNCTIONS | _functions.VIEWS | _functions.SCALARS:
        names[name] = None
    for name in cupy.linalg._FUNCTIONS:
        names[f"linalg.{name}"] = None
    for name in cupy.cuda.runtime.ATTRIBUTES:  # keys of `Device.attributes`
        names[f"cuda.runtime.cudaDevAttr{name}"] = None
    _collect(cupy, "", names)
    return names


def _collect(owner: Any, prefix: str, names: dict[str, list[str] | None]) -> None:
    for name, member in vars(owner).items():
        if name.startswith("_"):
            continue
        if inspect.ismodule(member):
            if member.__name__ == f"{owner.__name__}.{name}":
                _collect(member, f"{prefix}{name}.", names)
        elif inspect.isclass(owner) or _is_public(owner, name, member):
            names[prefix + name] = _parameters(member) if callable(member) else None
            if inspect.isclass(member):
                _collect(member, f"{prefix}{name}.", names)


def _is_public(module: ModuleType, name: str, member: Any) -> bool:
    listed = name in getattr(module, "__all__", ())
    return listed or getattr(member, "__module__", None) == module.__name__


def _parameters(function: Any) -> list[str]:
    """Return the names that arguments can be passed by, positional-only ones aside."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in parameters if p.kind in kinds and p.name != "self"]


def mismatches(names: dict[str, list[str] | None]) -> list[str]:
    """Return what of an interface CuPy lacks, or names differently."""
    import cupy

    found = []
    for name, parameters in sorted(names.items()):
        member: Any = cupy
        try:
            for part in name.split("."):
                member = getattr(member, part)
        except AttributeError:
            found.append(f"cupy.{name} does not exist")
            continue
        except ImportError as error:  # of a library of CUDA's
            found.append(f"cupy.{name} cannot be loaded: {error}")
            continue
        taken = _taken(member)
        if parameters and taken is not None and name not in POSITIONAL:
            unknown = [p for p in parameters if p not in taken]
            if unknown:
                found.append(f"cupy.{name} takes no argument named {', '.join(unknown)}: {taken}")
    return found


def _taken(function: Any) -> list[str] | None:
    """Return the names of arguments, from the signature or its line in the docstring."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        lines = (getattr(function, "__doc__", None) or "").strip().splitlines()
        match = re.match(r"[\w.]+\((.*)\)", lines[0]) if lines else None
        if match is None or "**" in match[1]:
            return None
        parts = (re.split(r"[:=]", part)[0].split() for part in match[1].split(","))
        return [words[-1] for words in parts if words]
    if any(p.kind == inspect.Parameter.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters]


def main() -> int:
    """Print what differs, and return how much does."""
    import cupy

    if hasattr(cupy, "is_emulated"):
        print("CuPy is not installed, only its stand-in")
        return 1
    answer = subprocess.run(
        [sys.executable, __file__, "--stand-in"],
        env={**os.environ, "PYTHONPATH": str(EMULATION), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    names = {n: p for n, p in json.loads(answer.stdout).items() if n not in ITS_OWN}
    found = mismatches(names)
    print("\n".join(found))
    print(f"{len(names)} names of the stand-in compared with CuPy {cupy.__version__}")
    return len(found)


if __name__ == "__main__":
    if "--stand-in" in sys.argv:
        json.dump(interface(), sys.stdout)
    else:
        sys.exit(main())
