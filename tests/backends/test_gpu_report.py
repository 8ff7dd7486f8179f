"""The report on a GPU runs to its end, believes no result, and says where there is no device."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from support.emulation import EMULATION, reason_not_to_emulate
from support.processes import environment

BENCHMARKS = Path(__file__).parents[2] / "asv_benchmarks"
needs_emulation = pytest.mark.skipif(
    bool(reason_not_to_emulate()), reason=reason_not_to_emulate() or "emulated"
)


def run(*arguments, path):
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / "gpu_report.py"), *arguments],
        env=environment(path, PYTHONSAFEPATH=""),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@needs_emulation
@pytest.mark.parametrize("sections", ["memory,parts,reduction", "element,noise", "tuning"])
def test_every_figure_is_measured_and_verified(tmp_path, sections):
    output = tmp_path / "report"
    result = run("--tiny", "--sections", sections, "--output", str(output), path=EMULATION)
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads(output.with_suffix(".json").read_text())
    assert "emulated" in report["machine"]["device"]
    figures = report["figures"]
    assert {figure["section"] for figure in figures} == set(sections.split(","))
    for figure in figures:
        assert figure["seconds"], figure
        assert figure["floor"] is None or figure["floor"] > 0
        assert figure["deviation"] is not None or figure["section"] == "parts"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md"]
    page = output.with_suffix(".md").read_text()
    assert page.startswith("# CuPy backend, tiny sizes: no figure here means anything")
    assert "not measured" in page
    if sections == "tuning":
        from gpu.tuning import CONSTANTS, RESIDUALS

        tuned = {figure["case"]["what"] for figure in figures}
        for name in [*(name for _, name, *_ in CONSTANTS), *(name for name, _ in RESIDUALS)]:
            assert any(what.endswith(name) for what in tuned)


@needs_emulation
def test_peers_compute_the_same(tmp_path):
    output = tmp_path / "report"
    result = run("--tiny", "--sections", "deer,linear", "--output", str(output), path=EMULATION)
    assert result.returncode == 0, result.stdout + result.stderr
    figures = json.loads(output.with_suffix(".json").read_text())["figures"]
    installed = {
        "jax.lax.scan, jitted": find_spec("jax"),
        "DEER by jax.lax.associative_scan": find_spec("jax"),
        "jax.lax.associative_scan, jitted": find_spec("jax"),
        "cuDNN GRU (torch)": find_spec("torch"),
    }
    for figure in figures:
        if installed.get(figure["variant"], True):
            assert figure["deviation"] is not None, figure
            assert figure["deviation"] <= 1, figure
        else:
            assert figure["seconds"] is None
            assert "ModuleNotFoundError" in figure["note"] or "not tried" in figure["note"]
    page = output.with_suffix(".md").read_text()
    assert "How many times longer than seqsolve.deer" in page


@needs_emulation
def test_without_time_everything_is_skipped(tmp_path):
    output = tmp_path / "report"
    arguments = ["--tiny", "--seconds", "0", "--sections", "memory,deer", "--output", str(output)]
    result = run(*arguments, path=EMULATION)
    assert result.returncode == 0, result.stderr
    figures = json.loads(output.with_suffix(".json").read_text())["figures"]
    assert figures
    assert all(figure["note"] == "skipped: no time left" for figure in figures)


@needs_emulation
def test_a_section_that_hangs_costs_no_other(tmp_path, monkeypatch):
    import gpu_report

    monkeypatch.setattr(gpu_report, "GRACE", 0.0)
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    content = gpu_report._run_section("memory", 0.1, True, tmp_path / "memory.json")
    (figure,) = content["figures"]
    assert figure.note == "its process was ended after 0 s"
    assert figure.variant == "section memory"


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("stopped", [False, True])
def test_a_section_that_is_ended_leaves_no_process(tmp_path, stopped):
    hanging = tmp_path / "python"
    hanging.write_text(f"#!/bin/sh\nsleep 100 &\necho $! > {tmp_path}/peer\nwait")
    hanging.chmod(0o755)
    code = f"""
import sys
from types import SimpleNamespace
from unittest import mock

import gpu_report

sys.executable, gpu_report.GRACE = {str(hanging)!r}, {60.0 if stopped else 1.0}
status = SimpleNamespace(available=True, details={{"device": "none"}})
with mock.patch.object(gpu_report.seqsolve, "backend_status", return_value=status):
    gpu_report.main(["--seconds", "0", "--sections", "memory", "--output", {str(tmp_path / "r")!r}])
"""
    report = subprocess.Popen(
        [sys.executable, "-c", code], env=environment(BENCHMARKS, PYTHONSAFEPATH="")
    )
    peer = tmp_path / "peer"
    wait_until(lambda: peer.exists() and peer.read_text().strip())
    if stopped:
        report.terminate()
    assert report.wait(30) == int(stopped)
    status = Path(f"/proc/{int(peer.read_text())}/status")
    wait_until(lambda: not status.exists() or "zombie" in status.read_text())


def wait_until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@needs_emulation
def test_a_kernel_that_does_nothing_is_noticed(monkeypatch):
    from gpu import kernels
    from gpu.document import as_markdown
    from gpu.figures import Session

    from seqsolve_cupy.backend import CupyBackend

    monkeypatch.setattr(kernels, "SHAPES", [kernels.Shape(50, 1, 2)])
    session = Session(60.0, tiny=True, section="memory")
    kernels.measure_primitives(session)
    assert all(figure.stands for figure in session.figures)
    monkeypatch.setattr(CupyBackend, "newton_update", lambda *_, **__: None)
    monkeypatch.setattr(CupyBackend, "linear_recurrence", lambda *_, out, **__: out)
    session = Session(60.0, tiny=True, section="memory")
    kernels.measure_primitives(session)
    assert [figure.stands for figure in session.figures] == [False, False, True]
    assert "**2 results are wrong" in as_markdown("title", {}, session.figures)


def test_what_fails_is_a_line():
    from gpu.figures import Session

    def fails(*_):
        raise MemoryError("too\nmuch")

    session = Session(60.0, section="memory")
    session.add({"n_steps": 1}, "kernel", fails)
    session.attempt({"n_steps": 2}, fails)
    session.add({"n_steps": 3}, "kernel", dict, expected=1000.0)
    notes = [figure.note for figure in session.figures]
    assert notes == ["MemoryError: too much"] * 2 + ["skipped: no time left"]
    assert not any(figure.stands for figure in session.figures)


def test_without_a_device_it_measures_nothing(tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('there is none')")
    result = run("--output", str(tmp_path / "report"), path=tmp_path)
    assert result.returncode == 1
    assert "Nothing was measured" in result.stderr
    assert "there is none" in result.stderr
    assert not (tmp_path / "report.json").exists()


def test_sections_have_names(tmp_path):
    result = run("--sections", "memory,nothing", path=tmp_path)
    assert result.returncode == 2
    assert "there is no section 'nothing': memory, deer" in result.stderr


def test_a_peer_that_fails_or_takes_too_long_is_one_line(tmp_path):
    from peers.worker import PeerError, Peers

    case = {"n_units": 1, "n_batch": 1, "n_steps": 5}
    with Peers(tiny=True) as peers:
        with pytest.raises(PeerError, match=r"No module named 'peers\.nobody'"):
            peers.measure("nobody", case, tmp_path / "y.npy", 60.0)
        peers._processes["nobody"].send_signal(signal.SIGSTOP)
        with pytest.raises(PeerError, match="took more than 0 s"):
            peers.measure("nobody", case, tmp_path / "y.npy", 0.1)
        with pytest.raises(PeerError, match="ModuleNotFoundError"):
            peers.measure("nobody", case, tmp_path / "y.npy", 60.0)


CASE = {"n_units": 1, "n_batch": 16, "n_steps": 10**6}


def figure(variant, seconds, deviation, n_steps=10**6):
    from gpu.figures import Figure

    case = {**CASE, "n_steps": n_steps}
    return Figure("deer", case, variant, seconds, 1e-3, deviation, "a | b")


@pytest.mark.parametrize("deviation", [1.5, math.inf, math.nan, None])
def test_no_ratio_is_formed_of_a_wrong_result(deviation):
    from gpu.document import as_markdown
    from gpu.targets import DEER, LOOP, RIVAL, ratio

    ours, wrong = figure(DEER, 0.01, 0.5), figure(RIVAL, 1.0, deviation)
    right = figure(RIVAL, 1.0, 0.5)
    assert ratio([ours, right], CASE, RIVAL) == pytest.approx(100)
    assert ratio([ours, wrong], CASE, RIVAL) is None
    assert ratio([figure(DEER, 0.01, deviation), right], CASE, RIVAL) is None
    assert ratio([ours, figure(LOOP, 0.3, 0.5, 300)], CASE, LOOP) == pytest.approx(1e5)
    page = as_markdown("title", {}, [ours, wrong])
    assert ("**wrong**" in page) == (deviation is not None)
    row = next(line for line in page.splitlines() if "n = 1, B = 16, every length" in line)
    assert row.endswith("not measured |")
    assert "| 100 times | met |" in as_markdown("title", {}, [ours, right])


def test_targets_are_met_or_not():
    from gpu.figures import Figure
    from gpu.targets import TARGETS

    case = {"n_steps": 2**24, "n_batch": 1, "n_state": 1, "matrices": "diagonal"}
    case["dtype"] = "float32"

    def row(*floors):
        variants = ("linear_recurrence", "newton_update")
        figures = [
            Figure("memory", case, variant, 1.0, floor, 0.1)
            for variant, floor in zip(variants, floors, strict=False)
        ]
        return TARGETS[0].row(figures)[2:]

    assert row(0.86, 0.9) == ["86 % of copy bandwidth", "met"]
    assert row(0.86, 0.84) == ["84 % of copy bandwidth", "**not met**"]
    assert row(0.86) == ["", "not measured"]


@needs_emulation
@pytest.mark.parametrize("dense", [False, True])
def test_what_verifies_results_finds_each_fault(dense):
    import cupy
    from gpu import kernels, verify

    import seqsolve

    shape = kernels.Shape(200, 2, 3, dense)
    A, b = kernels.system(shape, 0.9)
    y = seqsolve.linear_recurrence(A, b)
    old = 0.5 * b
    new = old.copy()
    backend = seqsolve.get_backend("cupy")
    backend.newton_update(A, b, new, method="auto")
    assert verify.recurrence(A, b, y) <= 1
    assert verify.newton_update(A, b, old, new) <= 1
    for place in ((0, 0, 0), (77, 1, 2), (199, 0, 1)):
        for fault in (1e-3, np.nan, np.inf):
            for check, right in ((verify.recurrence, y), (verify.newton_update, new)):
                wrong = right.copy()
                wrong[place] += fault
                given = (A, b) if check is verify.recurrence else (A, b, old)
                assert not check(*given, wrong) <= 1, (check, place, fault)
    fy = y.copy()
    fy[50, 1] += 1
    test = backend.residual_test(y, fy, 1e-3, cupy.zeros(3))
    assert verify.residual_test(y, fy, 1e-3, test) <= 1
    first, largest = test
    assert not verify.residual_test(y, fy, 1e-3, (first - 1, largest)) <= 1
    assert not verify.residual_test(y, fy, 1e-3, (first, largest * 1.01)) <= 1


@needs_emulation
def test_neighbours_of_a_plan_can_be_launched():
    from gpu.tuning import neighbours

    from seqsolve_cupy.plans import Tiles, Walk, Wide

    for plan in (Tiles(1, 128, reach=32), Walk(256), Wide(128, 264), Wide(128)):
        others = list(neighbours(plan))
        assert plan not in others
        assert len(others) == len(set(others)) > 2
        for other in others:
            assert 32 <= other.threads <= 1024
            if isinstance(other, Tiles):
                assert 32 % other.lanes == 0
                assert other.reach > 0
