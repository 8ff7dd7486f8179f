"""Noise of the CuPy backend: the bits of the portable version. Emulated where there is no GPU."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from support.emulation import reason_not_to_emulate
from support.stacks import PROBLEMS

pytestmark = [pytest.mark.gpu] if reason_not_to_emulate() else []
cupy = pytest.importorskip("cupy", reason=reason_not_to_emulate() or "CuPy is not installed")

import seqsolve  # noqa: E402
from seqsolve import likelihood_ratio as lr  # noqa: E402
from seqsolve import random, training  # noqa: E402
from seqsolve.backend import HalfProducts  # noqa: E402
from seqsolve.models import GCN, MLP, Stack  # noqa: E402
from seqsolve.models.layers import graph  # noqa: E402
from seqsolve_cupy import layout, noise  # noqa: E402

TABLES = {"normal": (2**32, np.uint32), "sign": (2, np.uint8)}


def stream_of(kind, table_rows, n_copies, n_units, rng):
    """Return a stream on the host, and the same on the device."""
    table = None
    if table_rows:
        high, dtype = TABLES[kind]
        table = rng.integers(0, high, (n_copies, table_rows, n_units)).astype(dtype)
    host = random.NoiseStream((2**64 - 1, 5), 2**40, kind, table is not None, table)
    return host, host._replace(table=None if table is None else cupy.asarray(table))


def check(kind, dtype, n_copies, n_data, n_units, *, table_rows=0, z_copies=1, first=3):
    rng = np.random.default_rng(n_units)
    host, device = stream_of(kind, table_rows, n_copies, n_units, rng)
    copies = range(first, first + n_copies)
    z = rng.standard_normal((z_copies, n_data, n_units)).astype(dtype)
    noisy = noise.add_noise(cupy.asarray(z), -0.37, device, copies)
    np.testing.assert_array_equal(noisy.get(), random.add_noise(np, z, -0.37, host, copies))
    assert noisy.dtype == dtype
    w = rng.standard_normal((n_copies, n_data)).astype(dtype)
    expected = rng.standard_normal((n_data, n_units)).astype(dtype)
    out = cupy.asarray(expected)
    noise.weigh_noise(cupy.asarray(w), device, copies, out)
    random.weigh_noise(np, w, host, copies, expected)
    np.testing.assert_array_equal(out.get(), expected)


@pytest.mark.parametrize("kind", ["normal", "sign"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("table_rows", [0, 1, 3])
def test_same_bits(kind, dtype, table_rows):
    for n_copies, n_units in itertools.product((1, 2, 9, 17), (1, 7, 8, 9, 30, 300)):
        check(kind, dtype, n_copies, 3, n_units, table_rows=table_rows)
    check(kind, dtype, 5, 3, 70, z_copies=5)
    check(kind, dtype, 3, 3, 20, first=2**33)


def test_copies_are_divided_among_the_rows_of_the_grid(monkeypatch):
    """Many copies of few numbers, and more copies than a group generates at a time."""
    for busy in (1, 4, 1000):
        monkeypatch.setattr(layout, "n_multiprocessors", lambda busy=busy: busy)
        check("normal", "float32", 70, 1, 3)
        check("sign", "float32", 530, 1, 3, table_rows=1)


def test_every_exponent_and_both_tails():
    """The table is XORed to the bits: with the bits themselves beside it, any word can be had."""
    words = np.array([0, 1, 2**31 - 1, 2**31, 2**32 - 1], np.uint32)
    powers = 2 ** np.arange(1, 32, dtype=np.uint64)
    words = np.concatenate([words, powers.astype(np.uint32), ~powers.astype(np.uint32)])
    stream = random.NoiseStream((1, 2), 3, "normal", True, None)
    zero = (np.zeros(1, np.uint64),)
    own = []
    for block in range(-(-len(words) // 8)):
        counter = (np.array([block], np.uint64), *zero, *zero, np.array([3], np.uint64))
        for word in random.philox4x64(counter, stream.key):
            own += [int(word[0]) & 0xFFFFFFFF, int(word[0]) >> 32]
    table = np.array(own[: len(words)], np.uint32) ^ words
    device = stream._replace(table=cupy.asarray(table[None, None]))
    z = cupy.zeros((1, 1, len(words)), dtype="float32")
    got = noise.add_noise(z, 1.0, device, range(1)).get()[0, 0]
    np.testing.assert_array_equal(got, random.normal_from_words(words))


def test_strides():
    rng = np.random.default_rng(0)
    host, device = stream_of("normal", 0, 6, 5, rng)
    z = rng.standard_normal((5, 8, 2)).T[:1]
    turned = cupy.asarray(np.ascontiguousarray(z.T)).T
    noisy = noise.add_noise(turned, 0.5, device, range(6))
    np.testing.assert_array_equal(noisy.get(), random.add_noise(np, z, 0.5, host, range(6)))
    shared = cupy.broadcast_to(cupy.asarray(z[:, :1]), z.shape)
    expected = random.add_noise(np, np.broadcast_to(z[:, :1], z.shape), 0.5, host, range(6))
    np.testing.assert_array_equal(noise.add_noise(shared, 0.5, device, range(6)).get(), expected)
    w, out = rng.standard_normal((8, 6)), np.zeros((8, 5))
    on_device = cupy.zeros((5, 8), dtype="float64")
    noise.weigh_noise(cupy.asarray(w).T, device, range(6), on_device.T)
    random.weigh_noise(np, w.T, host, range(6), out)
    np.testing.assert_array_equal(on_device.get().T, out)


def test_no_numbers():
    stream = random.NoiseStream((1, 2), 3, "normal", False, None)
    assert noise.add_noise(cupy.zeros((1, 0, 4)), 1.0, stream, range(3)).shape == (3, 0, 4)
    out = cupy.ones((2, 3))
    noise.weigh_noise(cupy.zeros((0, 2)), stream, range(0), out)
    np.testing.assert_array_equal(out.get(), np.ones((2, 3)))


#: A device adds products in another order than the host.
ORDER_OF_SUMS = 0.0 if getattr(cupy, "is_emulated", False) else 1e-3


@pytest.mark.parametrize(
    ("name", "dtype", "kind", "baseline", "at"),
    [
        ("linear", "float32", "gaussian", "loo", "output"),
        ("linear", "float64", "sobol", "loo", "weight"),
        ("scale", "float64", "sign", "mean", "output"),
        ("conv", "float32", "sobol", "antithetic", "output"),
        ("conv", "float32", "orthogonal", "antithetic", "weight"),
        ("graph", "float64", "orthogonal", "clean", "output"),
        ("graph", "float64", "sign", "clean", "weight"),
        ("stacked rnn", "float32", "gaussian", None, "output"),
        ("stacked rnn", "float32", "gaussian", "mean", "weight"),
        ("rnn", "float32", "sign", "clean", "output"),
        ("lstm", "float64", "orthogonal", "loo", "output"),
        ("gru", "float32", "sobol", "loo", "output"),
    ],
)
@pytest.mark.parametrize("order", ["layer", "all"])
def test_gradients_are_those_of_numpy(name, dtype, kind, baseline, at, order):
    rng = np.random.default_rng(0)
    model, x = PROBLEMS[name](rng, 3)
    if name == "graph":
        dense = model.layers[0].adjacency.toarray()
        model = Stack([replace(layer, adjacency=dense) for layer in model.layers])
    model = model.with_params([{n: a.astype(dtype) for n, a in p.items()} for p in model.params])
    x = x if x.dtype.kind == "i" else x.astype(dtype)
    target = rng.standard_normal(model(x).shape).astype(dtype)
    what = lr.Noise(0.01, 4, kind, baseline, at, order, key=(3, 4))
    for run in (
        lambda backend: lr.value_and_grad(
            model, lr.squared_error, what, x, target, backend=backend
        ),
        lambda backend: lr.backpropagate(model, lr.squared_error, x, target, backend=backend),
    ):
        for a, b in zip(run("numpy").grads, run("cupy").grads, strict=True):
            for key in a:
                assert isinstance(b[key], cupy.ndarray)
                scale = ORDER_OF_SUMS * np.abs(a[key]).max()
                np.testing.assert_allclose(b[key].get(), a[key], rtol=0, atol=scale)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_half_precision_products(dtype):
    """Operands are rounded to half precision, sums and results are not."""
    rng = np.random.default_rng(0)
    backend = seqsolve.get_backend("cupy")
    assert isinstance(backend, HalfProducts)
    for m, k, n in ((1, 1, 1), (5, 3, 7), (4, 0, 2), (0, 3, 2), (64, 300, 33)):
        a, b = (rng.standard_normal(shape).astype(dtype) for shape in ((m, k), (k, n)))
        a *= 300
        expected = a.astype(np.float16).astype(np.float64) @ b.astype(np.float16).astype(np.float64)
        for matrix in (
            cupy.asarray(b),
            cupy.asarray(np.ascontiguousarray(b.T)).T,
            cupy.asarray(np.repeat(b, 2, axis=1))[:, ::2],
        ):
            got = backend.half_matmul(cupy.asarray(a), matrix)
            assert got.dtype == dtype
            assert got.shape == (m, n)
            error = np.abs(got.get() - expected).max(initial=0)
            assert error <= 1e-6 * 300 * max(1, k)


@pytest.mark.parametrize("name", ["linear", "conv", "lstm"])
def test_gradients_with_half_precision_products(name):
    rng = np.random.default_rng(0)
    model, x = PROBLEMS[name](rng, 3)
    model = model.with_params(
        [{n: a.astype("float32") for n, a in p.items()} for p in model.params]
    )
    x = x if x.dtype.kind == "i" else x.astype("float32")
    target = np.zeros(model(x).shape, "float32")
    found = [
        lr.value_and_grad(model, lr.squared_error, lr.mixed(0.03, 4), x, target, backend=backend)
        for backend in ("numpy", "cupy")
    ]
    for a, b in zip(*(estimate.grads for estimate in found), strict=True):
        for key in a:
            np.testing.assert_allclose(b[key].get(), a[key], rtol=0, atol=2e-3 * abs(a[key]).max())


def test_training_stays_on_the_device():
    rng = np.random.default_rng(0)
    model = MLP.random((3, 8, 2), dtype="float32", rng=0)
    x, labels = rng.standard_normal((20, 3)).astype("float32"), rng.integers(0, 2, 20)
    params = []
    for backend in ("numpy", "cupy"):
        home, trained, optimizer = seqsolve.get_backend(backend), model, lr.Adam(0.01)
        data = home.asarray(x), home.asarray(labels)
        trained = trained.with_params(
            [{k: home.asarray(v) for k, v in p.items()} for p in model.params]
        )
        state = optimizer.init(trained.params)
        for i in range(3):
            estimate = lr.value_and_grad(
                trained, lr.cross_entropy, lr.Noise(0.1, 4, key=(0, i)), *data
            )
            new, state = optimizer.step(trained.params, estimate.grads, state)
            trained = trained.with_params(new)
        params.append([home.to_numpy(a) for p in trained.params for a in p.values()])
    for a, b in zip(*params, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=ORDER_OF_SUMS)


def test_a_sparse_adjacency_of_scipy(monkeypatch):
    """It is made dense if it is small."""
    model = GCN.random((2, 3, 2), sparse.eye_array(4, format="csr"), rng=0)
    x, labels = np.ones((4, 2)), np.zeros(4, int)
    here, there = (
        lr.value_and_grad(model, lr.cross_entropy, lr.Noise(0.1, 4), x, labels, backend=backend)
        for backend in ("numpy", "cupy")
    )
    found = there.grads[0]["weight"].get()
    np.testing.assert_allclose(found, here.grads[0]["weight"], rtol=1e-12)
    monkeypatch.setattr(graph, "_MOST_DENSE", 3)
    with pytest.raises(TypeError, match=r"`adjacency` must be of cupy, .*got SciPy's .* 4 nodes"):
        lr.value_and_grad(model, lr.cross_entropy, lr.Noise(0.1, 4), x, labels, backend="cupy")


def test_a_training_run():
    task = training.digits_mlp()
    few = replace(task, train=training.Split(task.train.x[:96], task.train.labels[:96]))
    runs = [training.fit(few, "lr-m", epochs=1, backend=name) for name in ("numpy", "cupy")]
    assert abs(runs[0].epochs[0].loss - runs[1].epochs[0].loss) < 1e-2


def test_estimates_run_on_the_device_of_their_arrays():
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there is one device")
    model = MLP.random((3, 4, 2), rng=0)
    x, labels = np.ones((5, 3)), np.zeros(5, int)
    what = lr.mixed(0.1, 4)
    with cupy.cuda.Device(1):
        there = [{k: cupy.asarray(v) for k, v in p.items()} for p in model.params]
        data = cupy.asarray(x), cupy.asarray(labels)
    moved = model.with_params(there)
    for estimate in (
        lr.value_and_grad(moved, lr.cross_entropy, what, *data),
        lr.backpropagate(moved, lr.cross_entropy, *data),
    ):
        assert int(estimate.grads[0]["weight"].device) == 1
    assert int(lr.perturb(data[0], what).device) == 1
