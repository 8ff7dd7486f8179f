"""What is shipped, and with which versions of others it is checked."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import metadata
from pathlib import Path

import pytest
from support.check_distributions import complaints

ROOT = Path(__file__).parents[2]

TRACKED = [
    ".ci/run",
    "LICENSE",
    "backends/README.md",
    *(f"backends/seqsolve_{name}/py.typed" for name in ("cupy", "numba", "numpy")),
    "backends/seqsolve_cupy/kernels/scan.cu",
    "seqsolve/__init__.py",
    "seqsolve/py.typed",
    "tests/conftest.py",
]
INFO = "seqsolve-0.1.0.dist-info"
WHEEL = [
    *(f"seqsolve_{name}/py.typed" for name in ("cupy", "numba", "numpy")),
    "seqsolve_cupy/kernels/scan.cu",
    "seqsolve/__init__.py",
    "seqsolve/py.typed",
    *(f"{INFO}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")),
    f"{INFO}/licenses/LICENSE",
]
SOURCE = [f"seqsolve-0.1.0/{name}" for name in [*TRACKED[1:], "PKG-INFO"]]


def without(names: list[str], name: str) -> list[str]:
    return [n for n in names if n != name]


def test_complete_archives_pass():
    assert complaints(TRACKED, WHEEL, SOURCE) == []


@pytest.mark.parametrize(
    "lost",
    ["seqsolve_cupy/kernels/scan.cu", "seqsolve_cupy/py.typed", f"{INFO}/licenses/LICENSE"],
)
def test_what_the_wheel_lacks_is_named(lost):
    assert complaints(TRACKED, without(WHEEL, lost), SOURCE) == [f"the wheel lacks {lost}"]


def test_a_package_that_is_not_marked_as_typed_is_named():
    marker = "backends/seqsolve_cupy/py.typed"
    found = complaints(
        without(TRACKED, marker),
        without(WHEEL, "seqsolve_cupy/py.typed"),
        without(SOURCE, f"seqsolve-0.1.0/{marker}"),
    )
    assert found == ["the wheel lacks seqsolve_cupy/py.typed"]


def test_what_the_wheel_should_not_hold_is_named():
    found = complaints(TRACKED, [*WHEEL, "tests/conftest.py"], SOURCE)
    assert found == ["the wheel should not hold tests/conftest.py"]


@pytest.mark.parametrize("name", [".ci/run", "notes.txt"])
def test_what_the_source_archive_should_not_hold_is_named(name):
    found = complaints(TRACKED, WHEEL, [*SOURCE, f"seqsolve-0.1.0/{name}"])
    assert found == [f"the source archive should not hold {name}"]


def test_what_the_source_archive_lacks_is_named():
    found = complaints(TRACKED, WHEEL, without(SOURCE, "seqsolve-0.1.0/LICENSE"))
    assert found == ["the source archive lacks LICENSE"]


LINK = re.compile(r"\[([^]]*)\]\(([^)\s]+)\)")


def test_links_and_pictures_of_the_readme_lead_somewhere():
    targets = [target for _, target in LINK.findall((ROOT / "README.md").read_text("utf-8"))]
    local = [target for target in targets if not target.startswith("http")]
    assert len(local) > 5
    assert [target for target in local if not (ROOT / target.split("#")[0]).is_file()] == []


def test_the_page_of_a_package_index_holds_nothing_relative():
    """An index shows the text of README beside nothing else of the repository."""
    page = metadata("seqsolve").get_payload()
    assert page.startswith("# seqsolve")
    assert [link for link in LINK.findall(page) if not link[1].startswith("http")] == []
    readme = (ROOT / "README.md").read_text("utf-8")
    words = {text for text, target in LINK.findall(readme) if not target.endswith(".png")}
    assert [text for text in words if text not in page] == []


def bounds(*extras: str) -> dict[str, str]:
    """Return the lower bounds of what is needed to run, and by some extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = project["dependencies"] + [
        requirement for extra in extras for requirement in project["optional-dependencies"][extra]
    ]
    found = (re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", requirement) for requirement in needed)
    assert len(needed) > 10
    return {match[1]: match[2] for match in found if match}


def pins(name: str) -> dict[str, str]:
    """Return the versions that a file of constraints names; the last where there are several."""
    lines = (ROOT / ".ci" / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ;")[0].split("==") for line in lines if "==" in line)


needs_ci = pytest.mark.skipif(not (ROOT / ".ci").is_dir(), reason="source archives do not hold .ci")


@needs_ci
def test_the_lowest_versions_are_those_of_the_bounds():
    lowest = pins("lowest.txt")
    wrong = {
        name: bound
        for name, bound in bounds("test").items()
        if not f"{lowest.get(name)}.".startswith(f"{bound}.")
    }
    assert not wrong, f"renew .ci/lowest.txt: {wrong}"


@needs_ci
def test_everything_that_the_checks_install_has_its_version_written_down():
    missing = bounds("test", "lint", "docs", "bench").keys() - pins("constraints.txt").keys()
    assert not missing, f"renew .ci/constraints.txt: {missing}"
