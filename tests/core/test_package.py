"""What importing the package does and does not do, and that its examples run."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import seqsolve

OPTIONAL = ("numba", "cupy", "matplotlib", "tqdm", "scipy", "pytest", "hypothesis")
SOURCES = Path(seqsolve.__file__).parent
MODULES = sorted(
    m.name
    for m in pkgutil.walk_packages(seqsolve.__path__, "seqsolve.")
    if m.name != "seqsolve.__main__"
)
FUNCTIONS = [name for name in seqsolve.__all__ if inspect.isfunction(getattr(seqsolve, name))]


def run_python(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return result.stdout


def test_importing_loads_nothing_optional():
    code = f"import sys, seqsolve; print(*[m for m in {OPTIONAL} if m in sys.modules])"
    assert run_python(code).split() == []


def test_importing_is_quick():
    code = (
        "import numpy, time; t = time.process_time(); import seqsolve; "
        "print(time.process_time() - t)"
    )
    assert min(float(run_python(code)) for _ in range(5)) < 0.3


def test_listing_backends_loads_no_compiler():
    code = "import sys, seqsolve; seqsolve.available_backends(); print('numba' in sys.modules)"
    assert run_python(code).strip() == "False"


def test_solving_on_numpy_arrays_loads_no_other_backend():
    code = (
        "import sys, numpy, seqsolve; "
        "seqsolve.deer(lambda y, x: 0.5 * y + x, '2-point', numpy.ones((9, 1)), [0.0]); "
        "print('cupy' in sys.modules)"
    )
    assert run_python(code).strip() == "False"


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda p: p.stem)
def test_the_core_imports_no_backend_and_no_compiler(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.split(".")[0])
    backends = {"seqsolve_numpy", "seqsolve_cupy", "seqsolve_numba", "backends"}
    assert not imported & (backends | {"numba", "cupy"})


def test_public_names_exist_and_are_sorted():
    assert sorted(seqsolve.__all__) == seqsolve.__all__
    assert all(hasattr(seqsolve, name) for name in seqsolve.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions_are_documented(name):
    function = getattr(seqsolve, name)
    doc = inspect.getdoc(function) or ""
    for section in ("Parameters", "Returns", "Examples"):
        if section == "Parameters" and not inspect.signature(function).parameters:
            continue
        assert f"{section}\n---" in doc, f"{name} lacks {section}"
    parameters = [p for p in inspect.signature(function).parameters if p != "options"]
    assert [p for p in parameters if p not in doc] == []


@pytest.mark.parametrize("name", ["seqsolve", *MODULES])
def test_examples_in_docstrings_run(name):
    results = doctest.testmod(
        importlib.import_module(name),
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS,
    )
    assert results.failed == 0
