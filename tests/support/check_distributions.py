"""Whether the archives in a folder hold what they should: ``check_distributions.py dist``.

The wheel holds the packages' files and nothing else, the source archive all that is under version
control, but for what only this repository's own checks use.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "seqsolve/",
    "backends/seqsolve_cupy/",
    "backends/seqsolve_numba/",
    "backends/seqsolve_numpy/",
)
ONLY_HERE = (".ci/",)
OF_THE_WHEEL = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def differences(kind: str, found: Iterable[str], expected: Iterable[str]) -> list[str]:
    found, expected = set(found), set(expected)
    return [
        *(f"the {kind} lacks {name}" for name in sorted(expected - found)),
        *(f"the {kind} should not hold {name}" for name in sorted(found - expected)),
    ]


def complaints(tracked: list[str], wheel: list[str], source: list[str]) -> list[str]:
    """Return what is wrong with the names of the files in the two archives."""
    info = {name.partition("/")[0] for name in wheel if ".dist-info/" in name}
    packaged = [name.removeprefix("backends/") for name in tracked if name.startswith(PACKAGES)]
    described = [f"{folder}/{name}" for folder in info for name in OF_THE_WHEEL]
    typed = [f"{package}py.typed".removeprefix("backends/") for package in PACKAGES]
    archived = [name for name in tracked if not name.startswith(ONLY_HERE)]
    inner = [name.partition("/")[2] for name in source]
    return [
        *differences("wheel", wheel, {*packaged, *described, *typed}),
        *differences("source archive", inner, {*archived, "PKG-INFO"}),
    ]


def only(folder: Path, pattern: str) -> Path:
    paths = list(folder.glob(pattern))
    if len(paths) != 1:
        raise SystemExit(f"{folder} must hold one {pattern}; it holds {len(paths)}.")
    return paths[0]


def main(folder: Path) -> int:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(only(folder, "*.whl")) as wheel:
        in_wheel = [name for name in wheel.namelist() if not name.endswith("/")]
    with tarfile.open(only(folder, "*.tar.gz")) as source:
        in_source = [member.name for member in source if not member.isdir()]
    wrong = complaints(listed.stdout.splitlines(), in_wheel, in_source)
    print(
        *wrong or [f"{len(in_wheel)} files in the wheel, {len(in_source)} in the archive"], sep="\n"
    )
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
