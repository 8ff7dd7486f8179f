"""What only a GPU can show: the kernels for real, and lengths that are slow to emulate."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.processes import environment

import seqsolve
from seqsolve.models import GRU
from seqsolve_numba import NumbaBackend

pytestmark = pytest.mark.gpu

MILLION = 10**6
SUPPORT = Path(__file__).parents[1] / "support"
REPORT = Path(__file__).parents[2] / "asv_benchmarks" / "gpu_report.py"

#: Of the report, besides those of other libraries, which may be missing.
SECTIONS = ("memory", "parts", "reduction", "element", "noise", "tuning")


@pytest.mark.parametrize("program", ["kernel_grid.py", "cupy_interface.py"])
def test_programs_that_check_the_device(program):
    command = [sys.executable, str(SUPPORT / program)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("section", [*SECTIONS, "deer", "linear"])
def test_the_report_measures_every_figure(section, tmp_path):
    output = tmp_path / "report"
    command = [sys.executable, str(REPORT), "--tiny", "--sections", section]
    result = subprocess.run(
        [*command, "--output", str(output)],
        env=environment(PYTHONSAFEPATH=""),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for figure in json.loads(output.with_suffix(".json").read_text())["figures"]:
        assert figure["seconds"] or "PeerError" in figure["note"], figure


def system(n_state, dense):
    """Return a million steps that forget slowly."""
    rng = np.random.default_rng(0)
    b = rng.standard_normal((MILLION, 1, n_state), dtype=np.float32)
    if not dense:
        return np.full_like(b, 0.999), b
    A = rng.standard_normal((MILLION, 1, n_state, n_state), dtype=np.float32)
    return A * np.float32(0.7 / n_state**0.5), b


@pytest.mark.parametrize(("n_state", "dense"), [(1, False), (3, False), (2, True), (4, True)])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_million_steps_in_single_precision(n_state, dense, reverse):
    import cupy

    A, b = system(n_state, dense)
    wide = (A.astype(np.float64), b.astype(np.float64))
    exact = seqsolve.linear_recurrence(*wide, reverse=reverse, method="sequential")
    on_device = cupy.asarray(A), cupy.asarray(b)
    for method in ("scan", "cyclic_reduction"):
        y = cupy.asnumpy(seqsolve.linear_recurrence(*on_device, reverse=reverse, method=method))
        assert np.abs(y - exact).max() <= np.finfo(np.float32).eps * np.abs(exact).max()


@pytest.mark.parametrize("n_units", [1, 4, 16])
def test_deer_over_a_million_steps(n_units):
    import cupy

    cell = GRU.random(2, n_units, dtype="float32", rng=0)
    x = np.random.default_rng(0).standard_normal((MILLION, 2), dtype=np.float32)
    y0 = np.zeros(n_units, np.float32)
    wide = cell.with_params({name: np.asarray(p, np.float64) for name, p in cell.params.items()})
    x64, y64 = x.astype(np.float64), y0.astype(np.float64)
    exact = seqsolve.sequential(wide.element_step(), x64, y64, backend=NumbaBackend()).y
    on_device = cell.with_params({name: cupy.asarray(p) for name, p in cell.params.items()})
    solution = seqsolve.deer(on_device, None, cupy.asarray(x), cupy.asarray(y0))
    assert solution.success, solution.message
    assert np.abs(cupy.asnumpy(solution.y) - exact).max() <= 2e-5


def test_the_same_bits_on_every_run():
    import cupy

    A, b = map(cupy.asarray, system(1, False))
    runs = {cupy.asnumpy(seqsolve.linear_recurrence(A, b)).tobytes() for _ in range(20)}
    assert len(runs) == 1
