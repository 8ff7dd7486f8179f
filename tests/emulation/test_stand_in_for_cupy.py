"""The stand-in for CuPy is as strict as arrays on a device are."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest
from support.emulation import EMULATION, reason_not_to_emulate

if reason_not_to_emulate():
    pytest.skip(reason_not_to_emulate(), allow_module_level=True)

import cuda_host
import cupy

X = np.arange(12.0).reshape(3, 4)

ADD_ONE = r"""
extern "C" __global__ void add_one(float *x, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] += 1;
}
extern "C" __global__ void no_bounds(float *x) { x[threadIdx.x] += 1; }
"""


@pytest.fixture
def pool():
    pool = cupy.get_default_memory_pool()
    gc.collect()
    yield pool
    pool.set_limit(0)


@pytest.fixture(scope="module")
def module():
    return cupy.RawModule(code=ADD_ONE, options=("-std=c++17",))


def test_it_is_no_cupy():
    assert cupy.is_emulated
    assert EMULATION in list(map(type(EMULATION), sys.path))
    assert type(cupy.zeros(1)).__module__ == "cupy"


@pytest.mark.parametrize(
    "mix",
    [
        lambda a: a + X,
        lambda a: X + a,
        lambda a: a @ X.T,
        lambda a: np.add(X, a),
        lambda a: np.add(a, 1, out=X.copy()),
        lambda a: a.__setitem__(slice(None), X),
        lambda a: a.__iadd__(X),
        lambda a: a[np.array([0, 1])],
        lambda a: cupy.concatenate([a, X]),
        lambda a: np.where(X > 0, a, a),
        lambda a: np.asarray(a),
        lambda a: np.linalg.eig(a),
        lambda a: cupy.max(a, initial=0.0),
    ],
)
def test_host_and_device_do_not_mix(mix):
    with pytest.raises(TypeError):
        mix(cupy.asarray(X))


def test_functions_of_numpy_stay_on_the_device():
    a = cupy.asarray(X)
    for b in (
        np.tanh(a),
        np.concatenate([a, a]),
        a.max(),
        a[0, 0],
        np.float64(2) * a,
        a.T,
        ~(a > 1),
    ):
        assert isinstance(b, cupy.ndarray)
    np.testing.assert_array_equal(np.linalg.norm(a, axis=0).get(), np.linalg.norm(X, axis=0))
    assert cupy.asnumpy(np.einsum("ij,kj->ik", a, a)).tolist() == (X @ X.T).tolist()
    with pytest.raises(AttributeError):
        _ = cupy.nosuchfunction


def test_views_share_memory_and_copies_do_not():
    a = cupy.asarray(X)
    a[1:, ::2][...] = -1
    a[:, [0, 3]] += 100
    a += 1
    expected = X.copy()
    expected[1:, ::2] = -1
    expected[:, [0, 3]] += 100
    np.testing.assert_array_equal(a.get(), expected + 1)
    assert a[1].data.ptr - a.data.ptr == 32
    assert a[:, ::2].strides == (32, 16)
    b = a.copy()
    b[...] = 0
    assert a.get().any()


def test_new_memory_is_not_zero():
    assert np.isnan(cupy.empty(5).get()).all()
    assert (cupy.empty(5, dtype="int32").get() == -1).all()
    assert cupy.empty((0, 3)).data.ptr == 0
    assert cupy.empty(()).shape == ()


def test_new_arrays_keep_the_order_of_axes():
    a = cupy.asarray(X).T
    assert cupy.empty_like(a).strides == a.strides == (8, 32)
    assert cupy.empty_like(a, order="C").strides == (24, 8)
    assert (a + 1).strides == (8, 32)
    assert a.copy().flags.c_contiguous


def test_arithmetic_warns_of_nothing():
    a = cupy.asarray([0.0, 1e308])
    assert np.isnan(a[0] / 0)
    assert np.isinf(a[1] * 10)
    assert np.isnan(np.sqrt(-a)[1])


def test_scalars_convert():
    a = cupy.asarray(X)
    assert float(a[1, 1]) == 5
    assert int(a.argmax()) == 11
    assert bool((a >= 0).all())
    assert a.sum().item() == 66


def test_devices_do_not_mix(module):
    with cupy.cuda.Device(1) as device:
        there = cupy.ones(3, dtype="float32")
        assert there.device == device
    here = cupy.ones(3, dtype="float32")
    assert cupy.cuda.Device().id == here.device.id == 0
    for mix in (
        lambda: here + there,
        lambda: there + 1,
        lambda: np.tanh(there),
        lambda: there.sum(),
    ):
        with pytest.raises(ValueError, match="array device = 1 while current = 0"):
            mix()
    assert there[::2].device == device
    assert (cupy.asarray(there) + here).device.id == 0
    with pytest.raises(cuda_host.KernelFault, match=r"runs on device 0 .* an array of device 1"):
        module.get_function("add_one")((1,), (32,), (there, np.int32(3)))
    kernel = module.get_function("add_one")
    with device, pytest.raises(cupy.cuda.driver.CUDADriverError, match="INVALID_HANDLE"):
        kernel((1,), (32,), (there, np.int32(3)))
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="invalid device ordinal"):
        cupy.cuda.Device(2)


def test_the_pool_counts_and_is_limited(pool):
    before = pool.used_bytes()
    a = cupy.zeros(1000)
    view = a[10:20]
    assert pool.used_bytes() == before + 8192
    del a
    assert pool.used_bytes() == before + 8192
    del view
    gc.collect()
    assert pool.used_bytes() == before
    pool.set_limit(before + 10000)
    with pytest.raises(cupy.cuda.memory.OutOfMemoryError, match="allocating 16,384 bytes"):
        cupy.zeros(2000)
    with cupy.cuda.Device(1):
        cupy.zeros(2000)
    cupy.zeros(1000)
    pool.set_limit(0)
    free, total = cupy.cuda.Device().mem_info
    with pytest.raises(MemoryError):
        cupy.empty(total // 8 + 1)
    assert free == total - pool.used_bytes()


def test_kernels_run_on_the_current_stream(module):
    kernel = module.get_function("add_one")
    a = cupy.zeros(100, dtype="float32")
    with cupy.cuda.Stream(non_blocking=True) as stream:
        assert cupy.cuda.get_current_stream() is stream
        kernel((4,), (32,), (a, np.int32(100)))
    assert stream.launches == 1
    assert cupy.cuda.get_current_stream() is cupy.cuda.Stream.null
    assert (a == 1).all()


@pytest.mark.parametrize("size", [31, 33, 64])
def test_writing_beside_an_array_is_found(module, size):
    kernel = module.get_function("no_bounds")
    a = cupy.zeros(size, dtype="float32")
    kernel((1,), (size,), (a,))
    with pytest.raises(cuda_host.KernelFault, match=f"no_bounds wrote behind .* of {4 * size} b"):
        kernel((1,), (size + 1,), (a,))
    with pytest.raises(cuda_host.KernelFault, match="wrote before"):
        _write_before(kernel, a)


def _write_before(kernel, a):
    class Before(cupy.ndarray):
        """The array, handed over as if it began earlier."""

        @property
        def data(self):
            return super().data._replace(ptr=super().data.ptr - 4)

    kernel((1,), (1,), (Before._of(a._a, a._memory),))


@pytest.mark.parametrize("argument", [X, [1, 2], "x", object()])
def test_arguments_of_the_host_are_refused(module, argument):
    with pytest.raises(TypeError, match="Unsupported type"):
        module.get_function("no_bounds")((1,), (1,), (argument,))


def test_launches_that_fail_leave_the_device_usable(module):
    kernel = module.get_function("add_one")
    a = cupy.zeros(10, dtype="float32")
    for grid, block, shared in (((0,), (32,), 0), ((1,), (2048,), 0), ((1,), (32,), 50000)):
        with pytest.raises(cupy.cuda.driver.CUDADriverError, match="INVALID_VALUE"):
            kernel(grid, block, (a, np.int32(10)), shared_mem=shared)
    with pytest.raises(cupy.cuda.driver.CUDADriverError, match="INVALID_VALUE"):
        kernel.max_dynamic_shared_size_bytes = 232449
    with pytest.raises(cupy.cuda.driver.CUDADriverError, match="INVALID_VALUE"):
        kernel.preferred_shared_memory_carveout = 101
    kernel.preferred_shared_memory_carveout = 100
    kernel.max_dynamic_shared_size_bytes = 65536
    kernel((1,), (32,), (a, np.int32(10)), shared_mem=50000)
    assert (a == 1).all()


def test_source_that_does_not_compile():
    module = cupy.RawModule(code="__global__ void k() { nonsense }", name_expressions=("k",))
    with pytest.raises(cupy.cuda.compiler.CompileException, match="nonsense") as caught:
        module.get_function("k")
    assert "kernel.cu:1" in str(caught.value)
    with pytest.raises(cupy.cuda.driver.CUDADriverError, match="named symbol not found"):
        cupy.RawModule(code=ADD_ONE).get_function("k")


def test_it_is_compared_with_cupy_name_by_name():
    from support import cupy_interface

    names = cupy_interface.interface()
    assert {"asarray", "cuda.Stream.synchronize", "linalg.solve", "ndarray.T"} <= set(names)
    assert cupy_interface.mismatches(names) == []
    planted = {"cuda.nothing": None, "asarray": ["a", "nothing"]}
    missing, unknown = cupy_interface.mismatches(planted)
    assert "takes no argument named nothing" in missing
    assert unknown == "cupy.cuda.nothing does not exist"
