"""Without any one of its barriers, Newton's kernel of element steps fails."""

from __future__ import annotations

import re

import numpy as np
import pytest
from support.emulation import reason_not_to_emulate

if reason_not_to_emulate():
    pytest.skip(reason_not_to_emulate(), allow_module_level=True)

import cuda_host
from support import kernel_grid

from seqsolve_cupy import compilation, sources
from seqsolve_cupy.element import newton

BARRIER = re.compile(r"__syncthreads\(\);")
KERNEL = "element_newton"


def without(text, i):
    """Return a source without one of its barriers."""
    barrier = list(BARRIER.finditer(text))[i]
    return text[: barrier.start()] + ";" + text[barrier.end() :]


def run_in_many_orders(monkeypatch):
    for seed in range(8):
        plan = newton.Plan(*((1, 64), (4, 64))[seed % 2])
        monkeypatch.setattr(newton, "plan", lambda *_, plan=plan: plan)
        with cuda_host.schedule(seed=seed, resident=1 + seed, shuffle=bool(seed % 4 > 1)):
            kernel_grid.run_element_newton(np.dtype("float32"), 4)


@pytest.mark.parametrize("i", range(len(BARRIER.findall(sources.load(KERNEL, "//")))))
def test_a_barrier_that_is_taken_out_is_missed(i, monkeypatch):
    real = sources.load

    def load(name, step=""):
        return without(real(name, step), i) if name == KERNEL else real(name, step)

    monkeypatch.setattr(sources, "load", load)
    compilation._compile_step.cache_clear()
    try:
        with pytest.raises(AssertionError):
            run_in_many_orders(monkeypatch)
    finally:
        compilation._compile_step.cache_clear()


def test_with_all_of_them_it_passes(monkeypatch):
    run_in_many_orders(monkeypatch)
