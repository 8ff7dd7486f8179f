"""Compiles CUDA kernels for the host, once for each source: the results are kept on disk."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent

#: With this variable set, kernels run under the address and undefined-behaviour sanitizers. The
#: process must have been started with `sanitizer_environment`.
SANITIZE = "CUDA_HOST_SANITIZE"

_FLAGS = (
    "-std=c++17",
    "-O1",
    "-g1",
    "-fPIC",
    "-shared",
    "-w",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-U_FORTIFY_SOURCE",
)
_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


class CompileError(Exception):
    """The compiler refused the source; the text is its log."""


def compiler() -> str | None:
    """Return the path of the C++ compiler, None if there is none."""
    return shutil.which(os.environ.get("CXX", "g++"))


def sanitizer_environment() -> dict[str, str]:
    """Return the environment in which a Python process may load sanitized kernels."""
    library = subprocess.run(
        [_required_compiler(), "-print-file-name=libasan.so"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    # libstdc++ comes along because the sanitizer looks for its functions at the start.
    return {
        **os.environ,
        SANITIZE: "1",
        "LD_PRELOAD": f"{library} libstdc++.so.6",
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def is_sanitized() -> bool:
    """Whether kernels are compiled with the sanitizers."""
    return bool(os.environ.get(SANITIZE))


def expand_shared(source: str) -> str:
    """Turn declarations of shared memory into references to memory of the running block."""
    code = re.sub(r"//[^\n]*|/\*.*?\*/", _blank, source, flags=re.DOTALL)
    code = _DYNAMIC.sub(_dynamic, code)
    code = _STATIC.sub(_static, code)
    left = re.search(r"[^\n;{}]*__shared__[^\n]*", code)
    if left:
        raise CompileError(
            f"error: {left[0].strip()!r}: the emulation reads `__shared__ type name[size];`, one "
            f"variable in each declaration, without a value"
        )
    return code


_ALIGNMENT = r"(?:(?:alignas|__align__)\s*\((?P<alignment>[^()]*(?:\([^()]*\))?[^()]*)\)\s*)?"
_DYNAMIC = re.compile(
    rf"extern\s+__shared__\s+{_ALIGNMENT}(?P<type>[^;\[\]]+?)\s*\b(?P<name>\w+)\s*\[\s*\]\s*;"
)
_STATIC = re.compile(
    rf"__shared__\s+{_ALIGNMENT}(?P<type>[^;\[\]=,()]+(?:<[^;=]*?>)?)\s*\b(?P<name>\w+)\s*"
    r"(?P<dims>(?:\[[^;\[\]]*\]\s*)*);"
)


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _dynamic(match: re.Match[str]) -> str:
    kind, name = match["type"], match["name"]
    return _same_lines(
        match[0], f"{kind} *const {name} = static_cast<{kind} *>(cuda_host::dynamic_shared());"
    )


def _static(match: re.Match[str]) -> str:
    kind, name, dims = match["type"], match["name"], match["dims"]
    alias = f"{name}_shared_type"
    alignment = match["alignment"] or f"alignof({alias})"
    return _same_lines(
        match[0],
        f"typedef {kind} {alias}{dims}; static char {name}_shared_key; "
        f"{alias} &{name} = *static_cast<{alias} *>("
        f"cuda_host::shared(&{name}_shared_key, sizeof({alias}), {alignment}));",
    )


def _same_lines(old: str, new: str) -> str:
    return new.replace("\n", " ") + "\n" * old.count("\n")


def compile_kernels(
    source: str, expressions: tuple[str, ...], defines: tuple[str, ...]
) -> ctypes.PyDLL:
    """Return the library with `source` and a descriptor `cuda_host_kernel_i` per expression."""
    exports = "\n".join(
        f'extern "C" cuda_host::Kernel cuda_host_kernel_{i}() '
        f"{{ return cuda_host::describe({expression}); }}"
        for i, expression in enumerate(expressions)
    )
    unit = (
        f'#include "{HERE / "cuda_host.h"}"\n#line 1 "kernel.cu"\n{expand_shared(source)}\n'
        f'#line 1 "name_expressions"\n{exports}\n'
    )
    return ctypes.PyDLL(str(_build(unit, (*defines, str(_runtime_path())))))


@cache
def runtime() -> ctypes.PyDLL:
    """Return the library that runs grids."""
    return ctypes.PyDLL(str(_runtime_path()), mode=ctypes.RTLD_GLOBAL)


@cache
def _runtime_path() -> Path:
    return _build((HERE / "runtime.cpp").read_text(), (f"-I{HERE}", "-O2"))


def _build(unit: str, options: tuple[str, ...]) -> Path:
    flags = (*_FLAGS, *(_SANITIZERS if is_sanitized() else ()), *options)
    key = hashlib.sha256()
    for part in (unit, (HERE / "cuda_host.h").read_text(), _compiler_version(), *flags):
        key.update(part.encode() + b"\0")
    path = _directory() / f"{key.hexdigest()[:32]}.so"
    if path.exists():
        return path
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        built, text = Path(scratch) / "built.so", Path(scratch) / "unit.cpp"
        text.write_text(unit)
        command = [_required_compiler(), str(text), *flags, "-o", str(built)]
        outcome = subprocess.run(command, capture_output=True, text=True)
        if outcome.returncode:
            raise CompileError(outcome.stderr)
        built.replace(path)  # two processes may build the same
    return path


def _directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(base) / "seqsolve-cuda-host"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _required_compiler() -> str:
    found = compiler()
    if found is None:
        raise CompileError("there is no C++ compiler (g++) on the PATH")
    return found


@cache
def _compiler_version() -> str:
    return subprocess.run(
        [_required_compiler(), "--version"], check=True, capture_output=True, text=True
    ).stdout
