"""Without any one of its barriers, Newton's kernel of element steps gives other iterates."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from support.emulation import reason_not_to_emulate

if reason_not_to_emulate():
    pytest.skip(reason_not_to_emulate(), allow_module_level=True)

import cuda_host
import cupy

import seqsolve
from seqsolve_cupy import compilation, sources
from seqsolve_cupy.element import newton
from seqsolve_cupy.element.program import Program
from seqsolve_cupy.plans import Tiles

#: Those of the kernel itself. Without the first, a thread takes a random place in the array.
KERNEL, BARRIERS = "element_newton", range(1, 3)


def step(y_prev, x, params, y_out):
    y_out[0] = y_prev[0] + 0.01 * math.sin(y_prev[0]) + x[0]


def jac(y_prev, x, params, jac_out):
    jac_out[0] = 1.0 + 0.01 * math.cos(y_prev[0])


def second_iterate(plan, monkeypatch, **schedule):
    """Return what two iterations make of a guess: errors of the first are not yet corrected."""
    monkeypatch.setattr(newton, "plan", lambda *_: plan)
    cell = seqsolve.element_step(step, jac, n_state=1, jac_structure="diagonal")
    x = cupy.asarray(np.random.default_rng(0).uniform(-0.1, 0.1, (1300, 4, 1)), "float32")
    y = cupy.zeros((1301, 4, 1), dtype="float32")
    with cuda_host.schedule(**schedule):
        newton.newton_windows(
            Program(cell, x, y.dtype),
            x,
            {},
            y,
            guessed=False,
            rtol=0.0,
            atol=cupy.full(1, 1e-6),
            maxiter=2,
            scale=1.0,
            window=1300,
        )
    return y.get().tobytes()


def differs(monkeypatch, expected):
    for seed in range(8):
        plan = PLANS[seed % 2]
        try:
            if second_iterate(plan, monkeypatch, seed=seed, resident=1 + seed) != expected[plan]:
                return True
        except AssertionError:
            return True
    return False


#: Where lanes are as many as a warp has threads, little else keeps warps together.
PLANS = (Tiles(32, 64, reach=3), Tiles(4, 64, reach=2))


@pytest.fixture(scope="module")
def expected():
    with pytest.MonkeyPatch.context() as patch:
        return {plan: second_iterate(plan, patch, resident=1) for plan in PLANS}


@pytest.mark.parametrize("i", BARRIERS)
def test_a_barrier_that_is_taken_out_is_missed(i, monkeypatch, expected):
    real = sources.load

    def load(name, step=""):
        text = real(name, step)
        if name != KERNEL:
            return text
        own = text.index("element_newton(")
        barrier = list(re.compile(r"__syncthreads\(\);").finditer(text, own))[i]
        return text[: barrier.start()] + ";" + text[barrier.end() :]

    monkeypatch.setattr(sources, "load", load)
    compilation._compile_step.cache_clear()
    try:
        assert differs(monkeypatch, expected)
    finally:
        compilation._compile_step.cache_clear()


def test_all_orders_agree_with_all_of_them(monkeypatch, expected):
    assert not differs(monkeypatch, expected)
