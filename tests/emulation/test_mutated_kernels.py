"""Without any one barrier or wait, a kernel fails: the emulation sees what they are for."""

from __future__ import annotations

import re

import pytest
from support.emulation import reason_not_to_emulate

if reason_not_to_emulate():
    pytest.skip(reason_not_to_emulate(), allow_module_level=True)

import cuda_host
from support import kernel_grid

from seqsolve_cupy import compilation, sources
from seqsolve_cupy.plans import Tiles, Wide

BARRIER = re.compile(r"__sync(threads|warp)\([^)]*\);|(?<!:)\bwait_for_copies\(\);")


def scans(kind):
    def run():
        for case in kernel_grid.SCANS:
            if isinstance(case[0], kind):
                kernel_grid.run_scans(*case)

    return run


def cyclic_reductions():
    for case in kernel_grid.CYCLIC:
        kernel_grid.run_cyclic_reduction(*case)


def noise():
    kernel_grid.run_noise("normal", "float32")
    kernel_grid.run_noise("sign", "float64")


RUNS = {
    "linear_recurrence": scans(Tiles),
    "linear_recurrence_wide": scans(Wide),
    "cyclic_reduction": cyclic_reductions,
    "noise": noise,
}


BARRIERS = [
    pytest.param(name, i, id=f"{name}-{i}")
    for name in sorted(RUNS)
    for i in range(len(BARRIER.findall(sources.load(name))))
]


def run_in_many_orders(run):
    for seed in range(8):
        with cuda_host.schedule(seed=seed, resident=1 + seed, shuffle=bool(seed % 2)):
            run()


@pytest.mark.parametrize(("name", "i"), BARRIERS)
def test_a_barrier_that_is_taken_out_is_missed(name, i, monkeypatch):
    whole = sources.load(name)
    barrier = list(BARRIER.finditer(whole))[i]
    lacking = whole[: barrier.start()] + ";" + whole[barrier.end() :]
    real = sources.load

    def load(asked, *of_step):
        return lacking if asked == name else real(asked, *of_step)

    monkeypatch.setattr(sources, "load", load)
    compilation._compile.cache_clear()
    try:
        with pytest.raises(AssertionError):
            run_in_many_orders(RUNS[name])
    finally:
        compilation._compile.cache_clear()


def test_with_all_barriers_the_same_runs_pass():
    for run in RUNS.values():
        run_in_many_orders(run)
