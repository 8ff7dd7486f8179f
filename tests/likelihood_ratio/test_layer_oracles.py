"""Layers against the sums and loops that define them, and what they refuse."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import seqsolve
from seqsolve import likelihood_ratio as lr
from seqsolve.likelihood_ratio.layer import CLEAN
from seqsolve.models import GCN, MLP, RNN, Stack, layers
from seqsolve.models.layers.activation import ACTIVATIONS


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def states(cell, weight_ih, weight_hh, bias, xs):
    """Return the states of one sequence, as the equations of each cell have them."""
    n = weight_hh.shape[1]
    h = c = np.zeros(n)
    for x in xs:
        u, v = weight_ih @ x + bias, weight_hh @ h
        if cell == "rnn":
            h = np.tanh(u + v)
        elif cell == "lstm":
            i, f, g, o = (u + v).reshape(4, n)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        else:
            (r, s, candidate), (v_r, v_s, v_n) = u.reshape(3, n), v.reshape(3, n)
            r, s = sigmoid(r + v_r), sigmoid(s + v_s)
            h = s * h + (1 - s) * np.tanh(candidate + r * v_n)
        yield h


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("pool", ["mean", "last"])
def test_classifiers_of_texts_of_different_lengths(pool, cell):
    model = RNN.random(9, 3, 4, 2, cell=cell, pool=pool, rng=0)
    embedding, recurrent, _, linear = model.params
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 9, n) for n in (5, 1, 3)]
    tokens = np.full((5, 3), -1)
    expected = []
    for k, text in enumerate(texts):
        tokens[: len(text), k] = text
        h = np.array(list(states(cell, **recurrent, xs=embedding["weight"][text])))
        pooled = h.mean(axis=0) if pool == "mean" else h[-1]
        expected.append(linear["weight"] @ pooled + linear["bias"])
    np.testing.assert_allclose(model(tokens), expected, rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(2, 6), st.integers(2, 6)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    bias=st.booleans(),
)
def test_convolutions(size, kernel, stride, padding, bias):
    """The sum that defines it; and its way back is the transpose."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *size, 2))
    weight, offset = rng.standard_normal((3, *kernel, 2)), rng.standard_normal(3)
    layer = layers.Conv2d(weight, offset if bias else None, stride=stride, padding=padding)
    rows, columns = ((s + 2 * padding - k) // stride + 1 for s, k in zip(size, kernel, strict=True))
    if rows < 1 or columns < 1:
        with pytest.raises(ValueError, match="must be as large as the kernel"):
            Stack((layer,))(x)
        return
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    expected = np.empty((2, rows, columns, 3))
    for i, j in np.ndindex(rows, columns):
        patch = padded[:, stride * i :, stride * j :][:, : kernel[0], : kernel[1]]
        expected[:, i, j] = np.einsum("nhwc,ohwc->no", patch, weight) + bias * offset
    h, tape = layer.record(x[None], CLEAN)
    np.testing.assert_allclose(h[0], expected, rtol=1e-10, atol=1e-12)
    assert layer.site(x.shape).shape == expected.shape
    g = rng.standard_normal(expected.shape)
    dx = rng.standard_normal(x.shape)
    change = Stack((layer,))(x + dx) - expected
    np.testing.assert_allclose((layer.pull(tape, g) * dx).sum(), (g * change).sum(), rtol=1e-9)


@pytest.mark.parametrize(("name", "value"), [("relu", 0.0), ("threshold", 0.0), ("sigmoid", 0.5)])
def test_activations_at_zero(name, value):
    """A rectifier's derivative there is that of its flat part."""
    activation, zero = ACTIVATIONS[name], np.zeros(2)
    np.testing.assert_array_equal(activation(zero), [value, value])
    if name == "relu":
        np.testing.assert_array_equal(activation.pull(zero, zero, np.ones(2)), zero)


def test_scaling_of_features_with_several_axes():
    rng = np.random.default_rng(0)
    weight, bias, x = (rng.standard_normal(s) for s in ((2, 3), (2, 3), (5, 4, 2, 3)))
    np.testing.assert_allclose(
        Stack((layers.Scale(weight, bias, "tanh"),))(x), np.tanh(weight * x + bias), rtol=1e-14
    )


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("sizes", [(3, 4, 2), (2, 4, 4)])
def test_graphs_on_another_array_library(make, sizes):
    """A sparse adjacency of SciPy becomes a dense one there; estimates are the same."""
    loopback = seqsolve.get_backend("loopback")
    rng = np.random.default_rng(0)
    adjacency = make((rng.random((6, 6)) < 0.4) / 2.0)
    x, labels = rng.standard_normal((6, sizes[0])), rng.integers(0, 2, 6)
    model = GCN.random(sizes, adjacency, rng=0)
    noise = lr.Noise(0.01, 4)
    here = lr.value_and_grad(model, lr.cross_entropy, noise, x, labels)
    there = lr.value_and_grad(model, lr.cross_entropy, noise, x, labels, backend="loopback")
    for a, b in zip(here.grads, there.grads, strict=True):
        np.testing.assert_allclose(loopback.to_numpy(b["weight"]), a["weight"], rtol=1e-9)


def test_large_graphs_are_not_made_dense():
    weight = seqsolve.get_backend("loopback").asarray(np.ones((1, 1)))
    with pytest.raises(TypeError, match="for more than 8192 nodes"):
        layers.GraphConv(weight, adjacency=sparse.eye_array(8193, format="csr"))


def test_the_backend_is_that_of_the_parameters():
    loopback = seqsolve.get_backend("loopback")
    model = MLP.random((3, 2), rng=0)
    moved = model.with_params(
        [{name: loopback.asarray(a) for name, a in p.items()} for p in model.params]
    )
    x, target = np.ones((4, 3)), np.zeros((4, 2))
    here = lr.backpropagate(model, lr.squared_error, x, target)
    for found in (
        lr.backpropagate(moved, lr.squared_error, x, target),
        lr.value_and_grad(
            moved, lr.squared_error, lr.Noise(1e-6, 16, "orthogonal", "antithetic"), x, target
        ),
    ):
        assert type(found.output) is type(loopback.asarray(x))
        np.testing.assert_allclose(
            loopback.to_numpy(found.grads[0]["weight"]), here.grads[0]["weight"], rtol=1e-5
        )


def test_layers_without_parameters_come_first():
    model = Stack((layers.Flatten(), layers.Flatten(), layers.Linear(np.ones((2, 6)))))
    x, target = np.random.default_rng(0).standard_normal((5, 2, 3)), np.zeros((5, 2))
    exact = lr.backpropagate(model, lr.squared_error, x, target)
    assert exact.deltas[:2] == (None, None)
    assert exact.grads[:2] == ({}, {})
    delta = model(x) / 5
    np.testing.assert_allclose(exact.deltas[2], delta, rtol=1e-14)
    np.testing.assert_allclose(exact.grads[2]["weight"], delta.T @ x.reshape(5, 6), rtol=1e-12)


def test_the_cosine_with_nothing_is_not_a_number():
    assert np.isnan(lr.cosine(np.zeros(3), np.ones(3)))
    assert lr.cosine(-np.ones(3), np.ones(3)) == pytest.approx(-1)


def test_random_weights_have_the_variance_that_is_said():
    def variances(model):
        found = [p["weight"].var() for p in model.params if "weight" in p]
        return np.array(found)

    mlp = MLP.random((400, 300, 200), rng=0)
    np.testing.assert_allclose(variances(mlp), [2 / 400, 1 / 300], rtol=0.05)
    mlp = MLP.random((400, 300, 200), activation="tanh", rng=0)
    np.testing.assert_allclose(variances(mlp), [1 / 400, 1 / 300], rtol=0.05)
    gcn = GCN.random((400, 300, 200), np.eye(2), rng=0)
    np.testing.assert_allclose(variances(gcn), [2 / 700, 2 / 500], rtol=0.05)
    embedding, recurrent, _, linear = RNN.random(300, 200, 150, 100, cell="lstm", rng=0).params
    assert embedding["weight"].var() == pytest.approx(1, rel=0.05)
    assert recurrent["weight_ih"].var() == pytest.approx(1 / 200, rel=0.05)
    assert recurrent["weight_hh"].var() == pytest.approx(1 / 150, rel=0.05)
    assert linear["weight"].var() == pytest.approx(1 / 150, rel=0.05)
    np.testing.assert_array_equal(recurrent["bias"], np.repeat([0.0, 1, 0, 0], 150))
    for cell in ("rnn", "gru"):
        assert not RNN.random(3, 2, 4, 2, cell=cell, rng=0).params[1]["bias"].any()
    single = MLP.random((3, 2), dtype="float32", rng=0)
    assert {a.dtype.name for p in single.params for a in p.values()} == {"float32"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MLP.random((3, 2), rng=0)(np.ones(3)), "`x` must have shape (*data, 3) at Linear"),
        (lambda: MLP.random((3, 0)), "`sizes[1]` must be at least 1; got 0."),
        (lambda: layers.Linear([[1.0]]), "`weight` must be an array with 2 axes; got [[1.0]]."),
        (
            lambda: layers.Scale(np.float64(1.0)),
            "`weight` must be an array with an axis at least; got np.float64(1.0).",
        ),
        (
            lambda: Stack((layers.Scale(np.ones(3)),))(np.ones(3)),
            "`x` must have shape (*data, 3) at Scale",
        ),
        (
            lambda: Stack((layers.Scale(np.ones((2, 3))),))(np.ones((4, 3, 2))),
            "`x` must have shape (*data, 2, 3) at Scale",
        ),
        (
            lambda: layers.Conv2d(np.ones((1, 2, 2, 1)), padding=-1),
            "`padding` at least 0; got 1 and -1.",
        ),
        (
            lambda: Stack((layers.Conv2d(np.ones((1, 2, 2, 3))),))(np.ones((5, 4, 4, 2))),
            "`x` must have shape (n_data, height, width, 3) at Conv2d",
        ),
        (
            lambda: GCN.random((3, 2), np.eye(4), rng=0)(np.ones((5, 3))),
            "`x` must have shape (4, 3) at GraphConv",
        ),
        (
            lambda: layers.Recurrent(np.ones((2, 3)), np.ones((2, 2)), cell="elman"),
            "`cell` must be one of 'rnn', 'lstm', 'gru'; got 'elman'.",
        ),
        (
            lambda: layers.Recurrent(np.ones((3, 3)), np.ones((2, 2))),
            "`weight_ih` must have shape (2, 3); got (3, 3).",
        ),
        (
            lambda: Stack((layers.Recurrent(np.ones((2, 3)), np.eye(2)),))(np.zeros((0, 4, 3))),
            "with a step at least; got (0, 4, 3).",
        ),
        (
            lambda: Stack((layers.Pool(),))(np.ones((4, 3))),
            "`x` must have shape (n_steps, n_data, n_features) at Pool; got (4, 3).",
        ),
        (
            lambda: RNN.random(5, 2, 2, 2, rng=0)(np.ones((3, 4))),
            "`x` must be integer tokens of shape (n_steps, n_data); got float64 values",
        ),
        (
            lambda: RNN.random(5, 2, 2, 2, rng=0)(np.ones(3, int)),
            "tokens of shape (n_steps, n_data); got int64 values of shape (3,).",
        ),
        (
            lambda: layers.Embedding(np.ones((2, 2)), trainable=1),
            "`trainable` must be True or False; got 1.",
        ),
        (
            lambda: lr.backpropagate(
                Stack((layers.Linear(np.eye(2)), layers.Embedding(np.ones((3, 2))))),
                lr.squared_error, np.ones((2, 2)), np.zeros((2, 2, 2)),
            ),
            "`x` must be integer tokens",
        ),
        (lambda: Stack((layers.Flatten(), 3)), "`layers[1]` must be a layer; got int."),
        (
            lambda: MLP.random((3, 2), rng=0).with_params([{}, {}]),
            "`params` must have those of 1 layers; got 2.",
        ),
        (
            lambda: MLP.random((3, 2), rng=0).with_params([{"w": np.ones(2)}]),
            "`params` must be named weight, bias; got w.",
        ),
        (lambda: lr.Noise((), 4), "`sigma` must be a number or have one for each layer; got ()."),
        (lambda: lr.Noise(0.1, 4, key=(1, 2, 3)), "`key` must be a seed, or seed and iteration"),
        (lambda: lr.Noise(0.1, 4, key=(0, 2**48)), "an iteration below 2**48"),
        (lambda: lr.Noise(0.1, 4, key=(0, -1)), "`key` must be at least 0; got -1."),
    ],
)  # fmt: skip
def test_what_is_refused(call, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        call()


def test_names_of_layers_tell_shapes_and_settings():
    layer = layers.Conv2d(np.ones((1, 2, 2, 3)), None, "relu", stride=2)
    assert repr(layer) == "Conv2d(weight=(1, 2, 2, 3), activation='relu', stride=2, padding=0)"
    kept = layer.with_params({})
    assert kept.weight is layer.weight
