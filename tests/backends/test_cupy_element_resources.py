"""Kernels of element steps compile for GPUs that are not there, within their registers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.emulation import reason_not_to_emulate

if reason_not_to_emulate():
    pytest.skip(reason_not_to_emulate(), allow_module_level=True)

import cupy
from support import kernel_resources

from seqsolve import element_step
from seqsolve.models import GRU
from seqsolve_cupy.element.program import Program

try:
    kernel_resources.compiler_version()
except Exception as error:  # NVRTC is looked for when first used
    pytest.skip(f"NVRTC cannot be loaded: {error}", allow_module_level=True)

#: Registers, and bytes of shared memory, of a multiprocessor (sm_80 has the less of the latter).
REGISTERS, SHARED = 65536, 164 << 10


def gru(n, dtype):
    return GRU.random(n_inputs=3, n_units=n, rng=0, dtype=dtype).element_step(), (3,)


def logistic_map(dtype):
    def step(y_prev, x, params, y_out):
        y_out[0] = params[0] * y_prev[0] * (1.0 - y_prev[0])

    def jac(y_prev, x, params, jac_out):
        jac_out[0] = params[0] * (1.0 - 2.0 * y_prev[0])

    params = {"rate": np.array(3.5, dtype)}
    return element_step(step, jac, n_state=1, params=params, jac_structure="diagonal"), None


def long_short_term_memory(dtype):
    """One unit: a hidden state and a cell."""

    def gates(y_prev, x, params):
        W, U, b = params
        i, f, o, g = b[0], b[1], b[2], b[3]
        for j in range(len(x)):
            i += W[0, j] * x[j]
            f += W[1, j] * x[j]
            o += W[2, j] * x[j]
            g += W[3, j] * x[j]
        h = y_prev[0]
        return (
            logistic(i + U[0] * h),
            logistic(f + U[1] * h),
            logistic(o + U[2] * h),
            math.tanh(g + U[3] * h),
        )

    def logistic(a):
        return 1.0 / (1.0 + math.exp(-a))

    def step(y_prev, x, params, y_out):
        i, f, o, g = gates(y_prev, x, params)
        c = f * y_prev[1] + i * g
        y_out[0] = o * math.tanh(c)
        y_out[1] = c

    def jac(y_prev, x, params, jac_out):
        i, f, o, g = gates(y_prev, x, params)
        U = params[1]
        t = math.tanh(f * y_prev[1] + i * g)
        by_h = f * (1.0 - f) * U[1] * y_prev[1]
        by_h += i * (1.0 - i) * U[0] * g + i * (1.0 - g * g) * U[3]
        jac_out[0, 0] = o * (1.0 - o) * U[2] * t + o * (1.0 - t * t) * by_h
        jac_out[0, 1] = o * (1.0 - t * t) * f
        jac_out[1, 0] = by_h
        jac_out[1, 1] = f

    rng = np.random.default_rng(0)
    params = {"W": rng.random((4, 3)), "U": rng.random(4), "b": rng.random(4)}
    params = {name: p.astype(dtype) for name, p in params.items()}
    return element_step(step, jac, n_state=2, params=params), (3,)


#: Step, dtype, adjacent sequences of a block, architecture; registers of a thread and bytes
#: spilled by Newton's kernel, at most. The largest cells take all registers, and a little more.
NEWTON = {
    "logistic map": (logistic_map, "float64", 1, "sm_80", 104, 0),
    "logistic map, lanes": (logistic_map, "float32", 8, "sm_90", 88, 0),
    "GRU of 1": (lambda dtype: gru(1, dtype), "float32", 8, "sm_80", 96, 0),
    "GRU of 2": (lambda dtype: gru(2, dtype), "float32", 1, "sm_90", 128, 0),
    "GRU of 2, float64": (lambda dtype: gru(2, dtype), "float64", 4, "sm_80", 200, 0),
    "GRU of 3, float64": (lambda dtype: gru(3, dtype), "float64", 1, "sm_80", 255, 32),
    "GRU of 3, float64, lanes": (lambda dtype: gru(3, dtype), "float64", 4, "sm_90", 255, 64),
    "GRU of 4": (lambda dtype: gru(4, dtype), "float32", 2, "sm_90", 255, 0),
    "LSTM": (long_short_term_memory, "float32", 4, "sm_90", 128, 0),
}


def program_of(make, dtype):
    step, item = make(dtype)
    x = None if item is None else cupy.zeros((1, 1, *item), dtype=dtype)
    return Program(step, x, np.dtype(dtype))


def compiled(program, source, expression, architecture):
    found = kernel_resources.compile_instances(source, [expression], architecture, program.text)
    return found[expression]


@pytest.mark.parametrize("name", NEWTON)
def test_newton_stays_within_registers(name):
    make, dtype, lanes, architecture, registers, spilled = NEWTON[name]
    instance = f"seqsolve::element_newton<{lanes}, 128>"
    found = compiled(program_of(make, dtype), "element_newton", instance, architecture)
    assert found.registers <= registers, found
    assert found.spilled <= spilled, found
    assert found.registers * 2 * 128 <= REGISTERS
    assert 2 * found.shared <= SHARED


@pytest.mark.parametrize("architecture", kernel_resources.ARCHITECTURES)
def test_a_small_cell_steps_and_is_evaluated_in_registers(architecture):
    program = program_of(lambda dtype: gru(4, dtype), "float32")
    for source, instance in (
        ("element_march", "seqsolve::element_march<32>"),
        ("element_march", "seqsolve::element_march<128>"),
        ("element_sweep", "seqsolve::element_sweep<128>"),
        ("element_evaluate", "seqsolve::element_evaluate<true, 128>"),
        ("element_evaluate", "seqsolve::element_evaluate<false, 128>"),
    ):
        found = compiled(program, source, instance, architecture)
        assert found.stack == found.spilled == 0, (instance, found)
        assert found.registers <= 168, (instance, found)


def test_what_is_not_of_a_step_compiles_without_one():
    names = ["begin", "settle", "settle_sweep", "repeat"]
    for scalar in ("float", "double"):
        instances = [f"seqsolve::element_{name}<{scalar}, 128>" for name in names]
        found = kernel_resources.compile_instances("element_windows", instances, "sm_90")
        assert all(f.spilled <= 32 and f.registers <= 96 for f in found.values()), found


def test_states_beyond_registers_lie_in_local_memory_and_nothing_else_does():
    program = program_of(lambda dtype: gru(64, dtype), "float32")
    for source, instance, states in (
        ("element_march", "seqsolve::element_march<32>", 2),
        ("element_evaluate", "seqsolve::element_evaluate<true, 128>", 1),
    ):
        found = compiled(program, source, instance, "sm_90")
        assert found.stack <= states * 64 * 4, (instance, found)
        assert found.spilled == 0, (instance, found)
