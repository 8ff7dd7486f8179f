"""The Numba backend's kernels compile for devices that are not here."""

from __future__ import annotations

import functools
import re
from types import SimpleNamespace

import numpy as np
import pytest

import seqsolve
from seqsolve import BlockDiagonal, ElementStepError, element_step
from seqsolve.backend import FusedSteps, JacobiSweeps
from seqsolve.models import MultiHeadGRU
from seqsolve.random import NoiseStream

#: Shared memory that a kernel may declare on every device.
LIMIT = 48 * 1024


@functools.cache
def why_not():
    """Return what keeps Numba from compiling for a device here, or an empty text."""
    try:
        from numba import cuda, types

        cuda.compile_ptx(lambda a: None, types.void(types.float32[:]), cc=(9, 0))
    except Exception as error:
        return f"Numba cannot compile for CUDA here: {error}"
    return ""


@pytest.fixture(autouse=True)
def _able_to_compile():
    if why_not():
        pytest.skip(why_not())


@pytest.fixture
def backend(monkeypatch):
    """Return the CUDA backend on NumPy arrays: its kernels are compiled, not launched."""
    from seqsolve_numba import gpu
    from seqsolve_numba.gpu import backend as module

    monkeypatch.setattr(module, "_namespace", lambda: np)
    return gpu.CudaBackend()


@pytest.fixture
def compiler():
    from support.ptx import compiling

    with compiling() as compiler:
        yield compiler


def step(y_prev, x, params, y_out):
    w, gain = params
    for i in range(len(y_prev)):
        total = x[i]
        for j in range(len(y_prev)):
            total += w[i, j] * y_prev[j]
        y_out[i] = gain * np.tanh(0.5 * total)


def jac(y_prev, x, params, jac_out):
    w, gain = params
    for i in range(len(y_prev)):
        total = x[i]
        for j in range(len(y_prev)):
            total += w[i, j] * y_prev[j]
        for j in range(len(y_prev)):
            jac_out[i, j] = 0.5 * gain * (1.0 - np.tanh(0.5 * total) ** 2) * w[i, j]


def make_cell(dtype, n=2):
    params = {"w": np.eye(n, dtype=dtype), "gain": np.array(0.5, dtype)}
    return element_step(step, jac, n_state=n, params=params)


def declared_shared_memory(ptx):
    return sum(int(size) for size in re.findall(r"\.shared .*\[(\d+)\]", ptx))


def test_steps_compile_for_both_architectures(backend, compiler):
    x, y = np.zeros((40, 3, 2), "float32"), np.zeros((41, 3, 2), "float32")
    cell = make_cell("float32")
    options = {"rtol": 1e-6, "atol": np.zeros(2), "maxiter": 9, "window": 9}
    backend.march(cell, x, y)
    backend.sweep_windows(cell, x, y, block_size=3, **options)
    backend.newton_windows(cell, x, y, guessed=True, scale=1.0, **options)
    # a few long sequences: many blocks share each
    x, y = np.zeros((4000, 3, 2), "float32"), np.zeros((4001, 3, 2), "float32")
    options["window"] = 4000
    backend.sweep_windows(cell, x, y, block_size=3, **options)
    backend.newton_windows(cell, x, y, guessed=True, scale=1.0, **options)
    one_block = {"march", "sweeps", "newton"}
    many_blocks = {"judge", "sweep", "scan", "update_all", "compose_all"}
    assert set(compiler.compiled) == {
        (name, architecture)
        for name in one_block | many_blocks
        for architecture in ((8, 0), (9, 0))
    }
    for ptx in compiler.compiled.values():
        assert declared_shared_memory(ptx) <= LIMIT
        # single precision stays single: constants take the precision of the state
    assert ".f64" not in compiler.compiled["march", (9, 0)].replace("cvt.f64", "")


def test_linear_primitives_compile(backend, compiler):
    b = np.zeros((4000, 3, 2), "float32")
    A = np.zeros((4000, 3, 2, 2), "float32")
    backend.newton_update(A, b + 0, b, method="auto")
    backend.residual_test(b, b + 0, 1e-6, np.ones(2))
    b = b.astype("complex128")
    backend.linear_recurrence(
        b, b, b[0], reverse=True, transpose=True, method="auto", out=np.empty_like(b)
    )
    assert {n for n, _ in compiler.compiled} == {"chunks", "solve", "_residual"}


def test_cells_with_heads_and_wide_states_compile(backend, compiler):
    cell = MultiHeadGRU.random(2, 4, n_heads=2, dtype="float32", rng=0).element_step()
    assert cell.jac_structure == BlockDiagonal(2)
    x, y = np.zeros((20, 2, 2), "float32"), np.zeros((21, 2, 4), "float32")
    options = {"rtol": 1e-6, "maxiter": 9, "window": 9}
    backend.newton_windows(cell, x, y, guessed=True, scale=1.0, atol=np.zeros(4), **options)
    wide = np.zeros((21, 1, 200), "float64")
    cell = make_cell("float64", 200)
    backend.sweep_windows(cell, wide[1:], wide, block_size=1, atol=np.zeros(200), **options)
    assert {name for name, _ in compiler.compiled} == {"newton", "sweeps"}
    assert all(declared_shared_memory(ptx) <= LIMIT for ptx in compiler.compiled.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_keep_what_decides_whether_a_step_is_fused(backend, compiler, dtype):
    from seqsolve_numba.gpu.newton import local_bytes

    n = 30
    compiler.architectures = ((9, 0),)
    x, y = np.zeros((20, 200, n), dtype), np.zeros((21, 200, n), dtype)
    options = {"rtol": 1e-6, "atol": np.zeros(n), "maxiter": 9, "window": 9}
    backend.newton_windows(make_cell(dtype, n), x, y, guessed=True, scale=1.0, **options)
    (ptx,) = compiler.compiled.values()
    (kept,) = (int(size) for size in re.findall(r"__local_depot\d+\[(\d+)\]", ptx))
    limit = local_bytes(n, n, np.dtype(dtype).itemsize)
    assert 0.95 * limit <= kept <= limit


def test_steps_without_input_or_with_one_number_compile(backend, compiler):
    def alone(y_prev, x, params, y_out):
        y_out[0] = 0.5 * y_prev[0]

    def driven(y_prev, x, params, y_out):
        y_out[0] = 0.5 * y_prev[0] + x

    y = np.zeros((10, 2, 1))
    backend.march(element_step(alone, n_state=1), None, y)
    backend.march(element_step(driven, n_state=1), np.zeros((9, 1)), y)
    assert list(compiler.compiled) == [("march", (8, 0)), ("march", (9, 0))]


def allocates(y_prev, x, params, y_out):
    copy = np.zeros(2)
    y_out[0] = y_out[1] = copy[0]


def looks_up(y_prev, x, params, y_out):
    y_out[0] = y_out[1] = NAMES["a"] + y_prev[0]


NAMES = {"a": 1.0}


@pytest.mark.parametrize(
    ("function", "line"),
    [(allocates, r"copy = np.zeros\(2\)"), (looks_up, r"NAMES\[.a.\]")],
)
def test_a_step_that_does_not_compile_shows_its_line(backend, compiler, function, line):
    cell = element_step(function, n_state=2)
    with pytest.raises(ElementStepError, match=line) as caught:
        backend.march(cell, None, np.zeros((9, 1, 2)))
    caught.match(r"test_numba_ptx.py, line \d+")
    assert len(str(caught.value)) < 700


class OnDevice(np.ndarray):
    """An array that a kernel takes without a copy."""


@pytest.mark.parametrize("kind", ["normal", "sign"])
def test_noise_is_launched_with_arrays_of_the_device_alone(kind, monkeypatch):
    """Arrays of the host are copied there and back, and the host waits for both."""
    from seqsolve_numba import noise_cuda
    from seqsolve_numba.gpu import launch

    launched = []
    monkeypatch.setattr(launch, "run", lambda kernel, grid, n, *taken: launched.append(taken))
    xp = SimpleNamespace(
        asarray=lambda a: a.view(OnDevice),
        zeros=lambda *a, **options: np.zeros(*a, **options).view(OnDevice),
    )
    stream = NoiseStream((1, 2), 3, kind, False, None)
    z = xp.zeros((1, 2, 5))
    noise_cuda.add_noise(xp, z, 0.1, stream, range(4), xp.zeros((4, 2, 5)))
    noise_cuda.weigh_noise(xp, xp.zeros((4, 2)), stream, range(4), z[0])
    assert len(launched) == 2
    arrays = [a for taken in launched for a in taken if getattr(a, "shape", ())]
    assert len(arrays) == 8
    assert all(isinstance(a, OnDevice) for a in arrays)


def test_the_protocols(backend):
    assert isinstance(backend, seqsolve.backend.Backend)
    assert isinstance(backend, FusedSteps)
    assert isinstance(backend, JacobiSweeps)


def test_small_grids_are_launched_without_a_warning():
    from seqsolve_numba.gpu import launch

    compiled = launch.kernel(lambda a: None)
    with pytest.warns(Warning, match="Grid size 3"):
        _ = compiled[3, 32]
    assert launch._launcher(compiled, 2, 32, 0).griddim == (2, 1, 1)
