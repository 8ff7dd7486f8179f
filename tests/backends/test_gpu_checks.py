"""What is to be done on a machine with a GPU loses nothing where a part of it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support import gpu_tests
from support.processes import environment

CHECK = Path(__file__).parents[1] / "support" / "check_on_gpu"

TESTS = """
import time
import pytest

@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["a", "b", "c"])
def test_passes(kind):
    pass

def test_needs_no_gpu():
    raise AssertionError

@pytest.mark.gpu
def test_fails():
    assert 1 == 2

@pytest.mark.gpu
def test_hangs():
    time.sleep(100)

@pytest.mark.gpu
def test_is_not_reached():
    pass
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu: needs a device")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu_tests, "TESTS", 3)
    monkeypatch.setattr(gpu_tests, "LIMIT", 15.0)
    return tmp_path


def test_tests_that_hang_or_fail_cost_no_others(folder, capfd):
    assert gpu_tests.main(folder, 90.0, ".") == 1
    told = capfd.readouterr().out
    assert "6 tests" in told
    assert "tests-00.log: " in told
    assert "3 passed" in told
    assert "FAILED test_some.py::test_fails - assert 1 == 2" in told
    assert "in or behind test_some.py::test_hangs" in told
    assert "assert 1 == 2" in (folder / "tests-01.log").read_text()


def test_without_time_tests_are_named(folder, capfd):
    assert gpu_tests.main(folder, 0.0, ".") == 1
    assert "no time left for 3 tests from test_some.py::test_passes[a] on" in capfd.readouterr().out


def test_a_file_that_cannot_be_imported_costs_no_others(folder, capfd):
    (folder / "test_some.py").write_text(TESTS.partition("def test_needs")[0])
    assert gpu_tests.main(folder, 90.0, ".") == 0
    (folder / "test_other.py").write_text("import a_module_that_is_missing")
    assert gpu_tests.main(folder, 90.0, ".") == 1
    told = capfd.readouterr().out
    assert told.count("3 passed") == 2
    assert "not all tests were found" in told
    assert "a_module_that_is_missing" in (folder / "tests-collected.log").read_text()


def test_steps_have_names(tmp_path):
    result = subprocess.run(
        [str(CHECK), "tests", "nothing"],
        env=environment(LOGS=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("there is no step 'nothing': tests report rivals")
    assert not list(tmp_path.iterdir())


def test_steps_keep_their_logs_whatever_fails(tmp_path):
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$2" = seqsolve ] && exit 3\nexec {sys.executable} -c "print(1)"'
    )
    python.chmod(0o755)
    result = subprocess.run(
        [str(CHECK), "tests", "report", "rivals", "tuning"],
        env=environment(LOGS=str(tmp_path), PYTHON=str(python)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    logs = {path.stem: path.read_text() for path in tmp_path.glob("*.log")}
    assert set(logs) == {"tests", "report", "rivals", "tuning"}
    assert "===== exit status 3" in logs["tests"]
    assert all("\n1\n" in log for log in logs.values())
