"""The report on a GPU runs to its end, and says so where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.emulation import EMULATION, reason_not_to_emulate

REPORT = Path(__file__).parents[2] / "asv_benchmarks" / "gpu_report.py"


def run(*arguments, path):
    return subprocess.run(
        [sys.executable, str(REPORT), *arguments],
        env={**os.environ, "PYTHONPATH": str(path), "PYTHONSAFEPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(bool(reason_not_to_emulate()), reason=reason_not_to_emulate())
@pytest.mark.parametrize("seconds", [60, 0])
def test_it_writes_every_section_and_ends_in_time(tmp_path, seconds):
    output = tmp_path / "report"
    result = run("--tiny", "--seconds", str(seconds), "--output", str(output), path=EMULATION)
    assert result.returncode == 0, result.stderr
    report = json.loads(output.with_suffix(".json").read_text())
    assert "emulated" in report["machine"]["device"]
    assert report["copy_bandwidth_bytes_per_second"] > 0
    figures = report["figures"]
    sections = {figure["section"] for figure in figures}
    assert len(sections) == 4
    page = output.with_suffix(".md").read_text()
    assert page.startswith("# CuPy backend, tiny sizes: no figure here means anything")
    assert all(f"## {section}" in page for section in sections)
    if seconds:
        assert all(figure["seconds"] > 0 for figure in figures), [
            figure["note"] for figure in figures if not figure["seconds"]
        ]
        assert any("converged" in figure["note"] for figure in figures)
    else:
        assert all(figure["note"] == "skipped: no time left" for figure in figures)


def test_without_a_device_it_measures_nothing(tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('there is none')")
    result = run("--output", str(tmp_path / "report"), path=tmp_path)
    assert result.returncode == 1
    assert "Nothing was measured" in result.stderr
    assert "there is none" in result.stderr
    assert not (tmp_path / "report.json").exists()
