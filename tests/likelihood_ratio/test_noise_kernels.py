"""Compiled noise: the same bits as the portable version, on CPU threads and as CUDA kernels."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes import environment
from support.steps import fixed

import seqsolve
from seqsolve.random import NoiseKernels, NoiseStream, add_noise, weigh_noise
from seqsolve_numba import NumbaBackend


def make_stream(kind, has_table, n_copies, n_data, n_units, rng):
    table = None
    if has_table:
        high, dtype = {"normal": (2**32, np.uint32), "sign": (2, np.uint8)}[kind]
        rows = n_data if rng.random() < 0.5 else 1
        table = rng.integers(0, high, (n_copies, rows, n_units)).astype(dtype)
    return NoiseStream((2**64 - 1, 5), 7, kind, has_table, table)


@fixed
@given(
    kind=st.sampled_from(["normal", "sign"]),
    has_table=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    n_copies=st.integers(1, 7),
    n_data=st.integers(1, 4),
    n_units=st.sampled_from([1, 2, 7, 8, 9, 64, 255, 257, 1023, 1024, 1025, 2500]),
    one=st.booleans(),
)
def test_cpu_kernels_have_the_same_bits(kind, has_table, dtype, n_copies, n_data, n_units, one):
    backend = NumbaBackend()
    rng = np.random.default_rng(n_units)
    stream = make_stream(kind, has_table, n_copies, n_data, n_units, rng)
    copies = range(3, 3 + n_copies)
    z = rng.standard_normal((1 if one else n_copies, n_data, n_units)).astype(dtype)
    noisy = backend.add_noise(z, 0.37, stream, copies)
    np.testing.assert_array_equal(noisy, add_noise(np, z, 0.37, stream, copies))
    assert noisy.dtype == dtype
    w = rng.standard_normal((n_copies, n_data)).astype(dtype)
    compiled, portable = np.ones((2, n_data, n_units), dtype)
    backend.weigh_noise(w, stream, copies, compiled)
    weigh_noise(np, w, stream, copies, portable)
    np.testing.assert_array_equal(compiled, portable)


def test_the_numba_backend_has_kernels_and_the_numpy_backend_none():
    assert isinstance(NumbaBackend(), NoiseKernels)
    assert not isinstance(seqsolve.get_backend("numpy"), NoiseKernels)


def test_threads_and_strides_change_nothing(monkeypatch):
    backend = NumbaBackend()
    stream = NoiseStream((1, 2), 3, "normal", False, None)
    z = np.random.default_rng(0).standard_normal((300, 40)).T[None, ::-1, ::2]
    w = np.random.default_rng(1).standard_normal((40, 16)).T
    z.flags.writeable = w.flags.writeable = False
    results = []
    for threads in ("1", "2"):
        monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
        out = np.zeros((40, 150))
        backend.weigh_noise(w, stream, range(16), out)
        results.append((backend.add_noise(z, 0.1, stream, range(16)), out))
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(results[0][0], add_noise(np, z, 0.1, stream, range(16)))


def test_kernels_run_in_many_threads_of_python_at_once():
    backend = NumbaBackend()
    z = np.zeros((1, 8, 5000), np.float32)

    def draw(seed):
        return backend.add_noise(z, 1.0, NoiseStream((seed, 0), 0, "normal", False, None), range(9))

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(draw, range(8)))
    for seed, noisy in enumerate(together):
        np.testing.assert_array_equal(noisy, draw(seed))


def test_no_numbers():
    backend = NumbaBackend()
    stream = NoiseStream((1, 2), 3, "normal", False, None)
    assert backend.add_noise(np.zeros((1, 0, 4)), 1.0, stream, range(3)).shape == (3, 0, 4)
    out = np.ones((2, 3))
    backend.weigh_noise(np.zeros((0, 2)), stream, range(0), out)
    np.testing.assert_array_equal(out, np.ones((2, 3)))


SIMULATION = """
import numpy as np
from seqsolve import get_backend, likelihood_ratio as lr
from seqsolve.portable import PortableBackend
from seqsolve_numba import NumbaBackend, noise_cuda
from support.stacks import PROBLEMS

class Simulated(PortableBackend):
    launches = 0
    def add_noise(self, z, sigma, stream, copies):
        self.launches += 1
        out = np.empty((len(copies), *z.shape[1:]), z.dtype)
        noise_cuda.add_noise(np, z, sigma, stream, copies, out, threads=3)
        return out
    def weigh_noise(self, weights, stream, copies, out):
        self.launches += 1
        noise_cuda.weigh_noise(np, weights, stream, copies, out, threads=3)

simulated = Simulated("simulated", np)
for dtype, kind, name in [
    ("float32", "gaussian", "linear"),
    ("float64", "gaussian", "rnn"),
    ("float32", "sign", "graph"),
    ("float64", "orthogonal", "linear"),
    ("float32", "sobol", "linear"),
]:
    rng = np.random.default_rng(0)
    model, x = PROBLEMS[name](rng, 2)
    model = model.with_params([{n: a.astype(dtype) for n, a in p.items()} for p in model.params])
    x = x if x.dtype.kind == "i" else x.astype(dtype)
    target = rng.standard_normal(model(x).shape).astype(dtype)
    noise = lr.Noise(0.01, 2, kind=kind, key=(3, 4))
    first, *others = (
        lr.value_and_grad(model, lr.squared_error, noise, x, target, backend=b).grads
        for b in (get_backend("numpy"), NumbaBackend(), get_backend("numba"), simulated)
    )
    for other in others:
        for a, b in zip(first, other, strict=True):
            for parameter in a:
                assert a[parameter].dtype == dtype and a[parameter].any()
                np.testing.assert_array_equal(a[parameter], b[parameter])
assert simulated.launches > 10
"""


def run_python(code, *folders, **variables):
    env = environment(*folders, **variables)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert result.returncode == 0, result.stderr


def test_gradients_have_the_same_bits_on_numpy_on_cpu_threads_and_in_the_cuda_simulator(request):
    tests = str(request.config.rootpath / "tests")
    run_python(SIMULATION, tests, NUMBA_ENABLE_CUDASIM="1")


COMPILATION = """
import re
from types import SimpleNamespace
import numpy as np
import numba.cuda.dispatcher
from numba import cuda
from seqsolve_numba import noise_cuda

capability = tuple(map(int, "{capability}".split()))
# Device functions ask the current device for its capability; there is none.
numba.cuda.dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
for dtype, kind, has_table in [("float32", "normal", True), ("float64", "sign", False)]:
    for name, signature in noise_cuda.signatures(dtype, kind).items():
        kernel = getattr(noise_cuda, name)(np.dtype(dtype), kind, has_table, noise_cuda.THREADS)
        ptx, _ = cuda.compile_ptx(kernel, signature, cc=capability)
        assert "sm_%d%d" % capability in ptx
        found = set(re.findall(r"\\b(fma|mad|sqrt|div|mul|add|sub)[.]([.a-z]*)f(32|64)", ptx))
        assert found and all(rounding == "rn." for _, rounding, _ in found), found
        assert not any(operation in ("fma", "mad") for operation, _, _ in found), found
"""


@pytest.mark.parametrize("capability", ["8 0", "9 0"])
def test_cuda_kernels_compile_and_fuse_nothing(capability):
    pytest.importorskip("numba_cuda", reason="numba-cuda compiles the kernels")
    pytest.importorskip("cuda.bindings.nvrtc", reason="NVRTC compiles the kernels")
    run_python(COMPILATION.format(capability=capability))
