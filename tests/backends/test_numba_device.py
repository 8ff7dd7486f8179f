"""Which device the Numba backend runs on, and what it says of it."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

import seqsolve
from seqsolve.models import MultiHeadGRU
from seqsolve.random import NoiseStream, add_noise, weigh_noise
from seqsolve_numba import NumbaBackend, device


def run(code, **variables):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")


TOLD = """
import seqsolve, sys
backend = seqsolve.get_backend("numba")
print(type(backend).__name__)
print("numba" in sys.modules)
print(backend.describe()["cuda"])
"""


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        (
            {"NUMBA_ENABLE_CUDASIM": "1"},
            ["CudaBackend", "False", "simulated by Numba"],
        ),
        (
            {"NUMBA_DISABLE_CUDA": "1"},
            ["NumbaBackend", "False", "not used: NUMBA_DISABLE_CUDA is set"],
        ),
        (
            {"NUMBA_CUDA_DRIVER": "/nowhere/libcuda.so"},
            ["NumbaBackend", "False", "not used: no CUDA driver was found"],
        ),
    ],
    ids=str,
)
def test_the_environment_decides(variable, told):
    assert run(TOLD, **variable)[:3] == told


def test_a_backend_of_threads_may_be_passed():
    backend = NumbaBackend()
    assert backend.describe()["cuda"] == "not used: not asked for"
    solution = seqsolve.sequential(lambda y, x: 0.5 * y, None, [1.0], n_steps=3, backend=backend)
    assert solution.y[:, 0].tolist() == [0.5, 0.25, 0.125]


@pytest.mark.parametrize("error", [ImportError, AttributeError])
def test_cuda_support_that_does_not_fit_the_other_libraries_is_not_used(monkeypatch, error):
    def import_module(name):
        raise error(f"{name}: module 'numpy' has no attribute 'row_stack'")

    assert "cannot be imported" not in device._why_not_with_a_driver()
    monkeypatch.setattr(device, "import_module", import_module)
    reason = device._why_not_with_a_driver()
    assert reason.startswith("Numba's CUDA support cannot be imported: numba.cuda.cudaimpl: ")


def cuda_backend():
    if device.why_not():
        pytest.skip(device.why_not())
    from seqsolve_numba import CudaBackend

    return CudaBackend()


@pytest.mark.gpu
@pytest.mark.parametrize("n_batch", [1, 300])
def test_a_device_computes_what_threads_compute(n_batch):
    backend = cuda_backend()
    cell = MultiHeadGRU.random(3, 4, n_heads=2, dtype="float32", rng=0).element_step()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000, n_batch, 3)).astype("float32")
    y0 = np.zeros((n_batch, 4), "float32")
    exact = seqsolve.sequential(cell, x, y0, backend=NumbaBackend()).y
    h = seqsolve.triangular_map(cell, x, y0, backend=backend)
    guess = np.zeros(h.shape, "float32")
    for solution in (
        seqsolve.sequential(cell, x, y0, backend=backend),
        seqsolve.deer(cell, None, x, y0, backend=backend, window=500),
        seqsolve.jacobi(h, guess),
        seqsolve.gs_jacobi(h, guess, block_size=300),
        seqsolve.jacobi_gs(h, guess, block_size=8),
    ):
        assert solution.success
        assert type(solution.y).__module__.startswith("cupy")
        np.testing.assert_allclose(backend.to_numpy(solution.y), exact, 0, 5e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["normal", "sign"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_noise_has_the_same_bits_on_a_device(kind, dtype):
    backend = cuda_backend()
    stream = NoiseStream((2**64 - 1, 5), 7, kind, False, None)
    rng = np.random.default_rng(1)
    z, weights = rng.standard_normal((1, 5, 1025)), rng.standard_normal((6, 5))
    z, weights, copies = z.astype(dtype), weights.astype(dtype), range(3, 9)
    noisy = backend.add_noise(backend.asarray(z), 0.37, stream, copies)
    expected = add_noise(np, z, 0.37, stream, copies)
    np.testing.assert_array_equal(backend.to_numpy(noisy), expected)
    got, expected = backend.xp.ones((5, 1025), dtype=dtype), np.ones((5, 1025), dtype)
    backend.weigh_noise(backend.asarray(weights), stream, copies, got)
    weigh_noise(np, weights, stream, copies, expected)
    np.testing.assert_array_equal(backend.to_numpy(got), expected)


@pytest.mark.gpu
def test_small_grids_are_launched_without_a_warning():
    backend = cuda_backend()
    cell = MultiHeadGRU.random(1, 2, dtype="float32", rng=0).element_step()
    x = backend.xp.ones((50, 1, 1), dtype="float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y0 = backend.xp.zeros((1, 2), dtype="float32")
        assert seqsolve.deer(cell, None, x, y0, backend=backend).success


@pytest.mark.gpu
def test_arrays_are_shared_with_the_device():
    backend = cuda_backend()
    y = backend.xp.zeros((5, 2, 1))
    y[0] = 8
    backend.march(seqsolve.element_step(halve, n_state=1), None, y)
    assert backend.to_numpy(y[:, 1, 0]).tolist() == [8, 4, 2, 1, 0.5]


def halve(y_prev, x, params, y_out):
    y_out[0] = 0.5 * y_prev[0]
