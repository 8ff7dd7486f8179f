"""What is particular to CuPy: devices, streams, memory, compilation, availability."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from support.emulation import EMULATION, has_cupy, marks
from support.processes import environment

import seqsolve
from seqsolve.backend import BackendUnavailableError

if not seqsolve.backend_status("cupy").available:
    pytest.skip(seqsolve.backend_status("cupy").reason, allow_module_level=True)

import cupy

from seqsolve_cupy import availability, compilation, memory, sources
from seqsolve_cupy.element.march import input_arguments

pytestmark = marks()

N_STEPS = 200


def f(y, x):
    return np.tanh(0.7 * y + x)


def jac(y, x):
    return 0.7 * (1 - f(y, x) ** 2)


X = np.sin(np.arange(2.0 * N_STEPS)).reshape(N_STEPS, 2)
Y = seqsolve.deer(f, jac, X, np.zeros(2)).y


@pytest.fixture
def backend():
    return seqsolve.get_backend("cupy")


@pytest.fixture
def second_device():
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there is one device")
    return cupy.cuda.Device(1)


def works(backend):
    """Check that the device is usable."""
    solution = seqsolve.deer(f, jac, cupy.asarray(X), cupy.zeros(2))
    return solution.success and np.allclose(cupy.asnumpy(solution.y), Y, atol=1e-11)


def test_arrays_choose_the_backend_and_keep_their_kind():
    solution = seqsolve.deer(f, jac, cupy.asarray(X), cupy.zeros(2))
    assert solution.backend == "cupy"
    assert isinstance(solution.y, cupy.ndarray)
    np.testing.assert_allclose(cupy.asnumpy(solution.y), Y, atol=1e-11)


@pytest.mark.parametrize("solver", ["scan", "cyclic_reduction", "sequential"])
def test_arrays_of_the_host_are_moved(solver):
    solution = seqsolve.deer(f, jac, X, np.zeros(2), backend="cupy", linear_solver=solver)
    assert isinstance(solution.y, cupy.ndarray)
    np.testing.assert_allclose(cupy.asnumpy(solution.y), Y, atol=1e-11)


def test_a_solver_runs_on_the_device_of_its_arrays(second_device):
    with second_device:
        x, y0 = cupy.asarray(X), cupy.zeros(2)
    before = cupy.cuda.Device().id
    assert before != second_device.id
    solution = seqsolve.deer(f, jac, x, y0)
    assert solution.y.device == second_device
    assert seqsolve.linear_recurrence(x, x).device == second_device
    assert seqsolve.sequential(f, x[:5], y0).y.device == second_device
    assert seqsolve.jacobi(lambda s, rows: s[rows] * 0 + 1, x[:5]).y.device == second_device
    with second_device:
        cotangent = cupy.ones_like(x)
    assert seqsolve.vjp(solution, cotangent).y0.device == second_device
    assert solution.error_bound().device == second_device
    assert cupy.cuda.Device().id == before
    with second_device:
        np.testing.assert_allclose(cupy.asnumpy(solution.y), Y, atol=1e-11)


def test_differential_equations_are_solved_beside_their_initial_state(second_device):
    def fun(t, y):
        return cupy.stack([y[1], -y[0]])

    with second_device:
        y0 = cupy.asarray([1.0, 0.0])
    solution = seqsolve.solve_ivp(fun, (0, 3), y0, method="Radau", rtol=1e-6)
    assert solution.y.device == second_device
    with second_device:
        cotangent = cupy.zeros_like(solution.y)
        cotangent[:, -1] = cupy.asarray([1.0, 0.0])
    y0_bar = seqsolve.ivp.vjp(solution, cotangent).y0
    with second_device:
        last, gradient = cupy.asnumpy(solution.y)[:, -1], cupy.asnumpy(y0_bar)
    np.testing.assert_allclose(last, [np.cos(3), -np.sin(3)], atol=1e-4)
    np.testing.assert_allclose(gradient, [np.cos(3), np.sin(3)], atol=1e-4)


def test_arrays_of_two_devices_are_refused(second_device, backend):
    with second_device:
        x = cupy.asarray(X)
    y0 = cupy.zeros(2)
    with pytest.raises(ValueError, match=r"must live on one device; got .*\(2,\) on device 0"):
        seqsolve.deer(f, jac, x, y0)
    A = cupy.zeros((3, 1, 2))
    with second_device:
        b = cupy.zeros((3, 1, 2))
    calls = [
        lambda: backend.linear_recurrence(
            A, b, None, reverse=False, transpose=False, method="auto", out=None
        ),
        lambda: backend.newton_update(A, b, A, method="auto"),
        lambda: backend.residual_test(A, b, 1e-3, cupy.zeros(2)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="must live on one device"):
            call()
    assert works(backend)


def test_kernels_run_on_the_current_stream(backend):
    A, b = cupy.full((50, 1, 2), 0.5), cupy.ones((50, 1, 2))
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with stream:
        y = backend.linear_recurrence(
            A, b, None, reverse=False, transpose=False, method="cyclic_reduction", out=None
        )
        host = backend.to_numpy(y)
    if hasattr(stream, "launches"):
        assert stream.launches == 1
    np.testing.assert_allclose(host[-1], 2.0, atol=1e-12)


@pytest.mark.parametrize("shape", [(0, 2, 3), (4, 0, 3)])
@pytest.mark.parametrize("method", ["auto", "scan", "cyclic_reduction", "sequential"])
def test_nothing_to_do(backend, shape, method):
    b = cupy.zeros(shape)
    for A in (cupy.zeros(shape), cupy.zeros((*shape, 3))):
        y = backend.linear_recurrence(
            A, b, None, reverse=True, transpose=True, method=method, out=None
        )
        assert y.shape == shape
        backend.newton_update(A, b, y, method=method)
    first, largest = backend.residual_test(b, b, 1e-3, cupy.zeros(3))
    assert first.tolist() == [shape[0]] * shape[1]
    assert largest.tolist() == [0.0] * shape[1]


def test_nan_is_no_success(backend):
    x = X.copy()
    x[50] = np.nan
    solution = seqsolve.deer(f, jac, cupy.asarray(x), cupy.zeros(2), on_failure="return")
    assert not solution.success
    assert solution.converged_steps == 50
    np.testing.assert_allclose(cupy.asnumpy(solution.y)[:50], Y[:50], atol=1e-11)
    assert works(backend)


@pytest.fixture
def little_memory():
    """Leave room for a few windows only."""
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()

    def leave(n_bytes):
        pool.set_limit(size=pool.used_bytes() + n_bytes)

    yield leave
    pool.set_limit(size=0)


def dense_jac(y, x):
    return jac(y, x)[..., None] * np.eye(2) if isinstance(y, np.ndarray) else _dense(jac(y, x))


def _dense(d):
    return d[..., None] * cupy.eye(2)


def test_the_default_window_shrinks_until_it_fits(backend, little_memory, monkeypatch):
    monkeypatch.setattr(memory, "MEMORY_SHARE", 50.0)  # an estimate far off
    n_steps = 20_000
    x = cupy.asarray(np.sin(np.arange(2.0 * n_steps)).reshape(n_steps, 2))
    expected = cupy.asnumpy(seqsolve.deer(f, dense_jac, x, cupy.zeros(2)).y)
    little_memory(2 * x.nbytes)
    solution = seqsolve.deer(f, dense_jac, x, cupy.zeros(2))
    assert solution.success
    assert len(solution.history) > 1
    np.testing.assert_allclose(cupy.asnumpy(solution.y), expected, atol=1e-10)


def test_a_window_that_is_too_large_is_an_error_with_advice(backend, little_memory):
    n_steps = 20_000
    x = cupy.asarray(np.sin(np.arange(2.0 * n_steps)).reshape(n_steps, 2))
    little_memory(2 * x.nbytes)
    with pytest.raises(MemoryError, match=r"Out of memory.*pass `window=(\d+)`") as caught:
        seqsolve.deer(f, dense_jac, x, cupy.zeros(2), window=n_steps)
    advice = int(str(caught.value).split("window=")[1].split("`")[0])
    del caught
    assert seqsolve.deer(f, dense_jac, x, cupy.zeros(2), window=advice).success
    cupy.get_default_memory_pool().set_limit(size=0)
    assert works(backend)


def test_the_default_window_follows_the_free_memory(backend, little_memory):
    sizes = {"n_steps": 10**9, "n_batch": 1, "n_state": 4, "n_jacobian": 16, "dtype": "float32"}
    window = backend.default_window(**sizes)
    assert 1 < window < 10**9
    little_memory(2**20)
    assert backend.default_window(**sizes) < window
    little_memory(1)
    assert backend.default_window(**sizes) == 1


def test_a_batch_that_fills_the_device_is_stepped_through(backend):
    sizes = {"n_steps": 1000, "n_state": 64, "n_jacobian": 64, "dtype": "float32"}
    assert backend.default_window(n_batch=1, **sizes) == 1000
    assert backend.default_window(n_batch=10**6, **sizes) == 1


def test_a_kernel_that_does_not_compile_is_named(backend):
    with pytest.raises(compilation.KernelCompilationError) as caught:
        compilation.kernel("cyclic_reduction", "seqsolve::cyclic_reduction<nobody, 2, false>")
    message = str(caught.value)
    assert message.startswith(
        "Kernel seqsolve::cyclic_reduction<nobody, 2, false> of cyclic_reduction.cu does not "
        "compile for device 0:\n"
    )
    assert "nobody" in message.split("\n", 1)[1]
    assert message.count("\n") <= 9
    assert works(backend)


def test_a_kernel_is_compiled_once_for_each_device():
    instance = "seqsolve::cyclic_reduction<float, 2, false>"
    assert compilation.kernel("cyclic_reduction", instance) is compilation.kernel(
        "cyclic_reduction", instance
    )


def test_sources_are_one_translation_unit():
    text = sources.load("cyclic_reduction")
    assert '#include "' not in text
    assert text.count("struct Widened {") == 1
    assert '#line 1 "scalar.cuh"' in text
    with pytest.raises(FileNotFoundError, match=r"nobody\.cu"):
        sources.load("nobody")


def test_it_says_what_it_runs_on(backend):
    details = backend.describe()
    assert details["cupy"] == cupy.__version__
    assert float(details["compute capability"]) >= 7.0
    assert details["device"]


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("cuda.runtime.getDeviceCount", lambda: 0, "There is no CUDA device"),
        ("__version__", "12.3.0", "CuPy must be 13.4 or later; 12.3.0 is installed"),
        (
            "cuda.Device",
            lambda: SimpleNamespace(compute_capability="61"),
            r"compute capability 7.0 or more; got 6.1",
        ),
    ],
)
def test_what_is_missing_or_too_old_is_the_reason(monkeypatch, attribute, value, message):
    monkeypatch.setattr(f"cupy.{attribute}", value)
    with pytest.raises(BackendUnavailableError, match=message):
        availability.require_device()


def test_a_driver_that_is_missing_is_the_reason(monkeypatch):
    class NoDriverError(RuntimeError):
        pass

    def fail():
        raise NoDriverError("cudaErrorInsufficientDriver: insufficient")

    monkeypatch.setattr("cupy.cuda.runtime.CUDARuntimeError", NoDriverError)
    monkeypatch.setattr("cupy.cuda.runtime.getDeviceCount", fail)
    with pytest.raises(BackendUnavailableError, match="can be used: cudaErrorInsufficientDriver"):
        availability.require_device()


def test_without_cupy_the_extras_are_named(tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('libcuda.so.1 is missing')")
    code = "import seqsolve; print(seqsolve.backend_status('cupy').reason)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "libcuda.so.1 is missing" in result.stdout
    assert "pip install 'seqsolve[cuda12]'" in result.stdout


def test_only_products_in_half_precision_need_cublas():
    code = """
import sys
import cupy
vars(cupy.cuda).pop("cublas", None)
sys.modules["cupy.cuda.cublas"] = sys.modules["cupy_backends.cuda.libs.cublas"] = None
import seqsolve
print(seqsolve.linear_recurrence(cupy.full((3, 1), 2.0), cupy.ones((3, 1))).get().ravel())
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(*([] if has_cupy() else [EMULATION])),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.split() == ["[1.", "3.", "7.]"], result.stderr


MISPLACED = {
    "its begin": lambda: cupy.zeros(11)[1:].view(np.complex128)[:, None],
    "its strides": lambda: cupy.zeros((5, 3))[:, :2].view(np.complex128),
}


@pytest.mark.parametrize("what", MISPLACED)
def test_elements_that_a_device_cannot_load_are_refused(what):
    A, b = MISPLACED[what](), cupy.zeros((5, 1), dtype=np.complex128)
    for method in ("scan", "cyclic_reduction"):
        with pytest.raises(ValueError, match=r"16-byte elements.*got one of shape \(5, "):
            seqsolve.linear_recurrence(A, b, method=method)
    with pytest.raises(ValueError, match=r"16-byte elements.*got one of shape \(5, "):
        input_arguments(A[:, None], 1)


def test_one_element_may_have_any_stride():
    A = cupy.zeros((1, 3))[:, :2].view(np.complex128)
    assert seqsolve.linear_recurrence(A, A).shape == (1, 1)
