"""The guide to backends is a program: its files make a backend that passes the suite."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.processes import environment

from seqsolve.backend import Backend
from seqsolve.testing import conformance_cases

GUIDE = Path(__file__).parents[2] / "backends" / "README.md"
FILE = re.compile(r"^`([\w./]+)`\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a directory with the guide's files, installed as a distribution."""
    root = tmp_path_factory.mktemp("guide")
    files = dict(FILE.findall(GUIDE.read_text(encoding="utf-8")))
    assert len(files) == 5
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    project = tomllib.loads(files["pyproject.toml"])["project"]
    name, version = project["name"], project["version"]
    info = root / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
            for group, points in project["entry-points"].items()
        ),
        encoding="utf-8",
    )
    return root


def run(site, *arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=site,
        env=environment(site),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_guides_backend_passes_the_conformance_suite(site):
    done = run(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_conformance.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(conformance_cases())} passed" in done.stdout


def test_the_guides_backend_is_found_by_its_name(site):
    code = """
import sys
import numpy as np, seqsolve
assert "seqsolve_chunked" not in sys.modules
status = seqsolve.backend_status("chunked")
assert status.available and status.distribution == "seqsolve-chunked 0.1.0", status
solution = seqsolve.deer(lambda y, x: np.tanh(0.5 * y + x), "cs", np.ones((100, 2)), np.zeros(2),
                         backend="chunked", linear_solver="chunked")
assert solution.success and solution.backend == "chunked", solution
"""
    done = run(site, "-W", "error", "-c", code)
    assert done.returncode == 0, done.stderr


def test_the_guide_tells_of_every_member():
    text = GUIDE.read_text(encoding="utf-8")
    members = set(Backend.__annotations__) | {
        name for name in vars(Backend) if not name.startswith("_")
    }
    table = set(re.findall(r"^\| `(\w+)", text, re.MULTILINE))
    assert members <= table
