"""Variance, modes, other backends, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from support.stacks import PROBLEMS

import seqsolve
from seqsolve import likelihood_ratio as lr
from seqsolve.likelihood_ratio._columns import orthogonal_bits, sobol_words
from seqsolve.models import GCN, MLP, RNN, Stack, layers
from seqsolve_numba import NumbaBackend


def one_layer(n_units, n_data=200):
    """Return a layer of `n_units` with a squared loss, its input and target."""
    rng = np.random.default_rng(0)
    model = Stack((layers.Linear(rng.standard_normal((n_units, 8)), activation="tanh"),))
    return model, rng.standard_normal((n_data, 8)), rng.standard_normal((n_data, n_units))


def row_cosines(a, b):
    return (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))


def mean_cosine(noise, n_units):
    model, x, target = one_layer(n_units)
    estimate = lr.value_and_grad(model, lr.squared_error, noise, x, target, backend=NumbaBackend())
    exact = lr.backpropagate(model, lr.squared_error, x, target)
    return row_cosines(estimate.deltas[0], exact.deltas[0]).mean()


@pytest.mark.parametrize("kind", ["gaussian", "sign", "sobol"])
@pytest.mark.parametrize(("copies", "n_units"), [(8, 64), (64, 64), (256, 64), (64, 500)])
def test_the_cosine_follows_the_law(kind, copies, n_units):
    law = np.sqrt(copies / (copies + n_units))
    assert abs(mean_cosine(lr.Noise(1e-3, copies, kind), n_units) / law - 1) < 0.15


@pytest.mark.parametrize("copies", [64, 128])
def test_orthogonal_columns_find_the_gradient_with_as_many_copies_as_units(copies):
    """Every copy once, and the derivative of what is linear is exact."""
    noise = lr.Noise(1e-4, copies, "orthogonal", "clean")
    assert mean_cosine(noise, 60) > 1 - 1e-6
    assert mean_cosine(replace(noise, kind="sign"), 60) < 0.85


@pytest.mark.parametrize("copies", [4, 16, 64])
def test_leaving_one_out_beats_antithetic_pairs_at_equal_passes(copies):
    loo, antithetic, plain = (
        mean_cosine(lr.Noise(0.01, copies, baseline=b), 64) for b in ("loo", "antithetic", None)
    )
    assert loo > antithetic > plain


def test_copies_are_divided_as_one_likes():
    model, x, target = one_layer(5, 7)
    for noise in (lr.Noise(0.1, 12), lr.Noise(0.1, 12, baseline="antithetic", order="all")):
        first, *others = (
            lr.value_and_grad(model, lr.squared_error, noise, x, target, chunk=chunk)
            for chunk in (1, 5, None)
        )
        for other in others:
            np.testing.assert_allclose(other.deltas[0], first.deltas[0], rtol=1e-10)


def test_the_key_decides():
    model, x, target = one_layer(5, 7)

    def delta(key):
        noise = lr.Noise(0.1, 4, key=key)
        return lr.value_and_grad(model, lr.squared_error, noise, x, target).deltas[0]

    np.testing.assert_array_equal(delta(3), delta((3, 0)))
    drawn = [delta(k) for k in (3, 4, (3, 1), (4, 1))]
    assert all((a != b).all() for i, a in enumerate(drawn) for b in drawn[:i])


def test_layers_are_perturbed_with_noise_of_their_own():
    weight = np.eye(3)
    model = Stack([layers.Linear(weight), layers.Linear(weight)])
    x, target = np.ones((5, 3)), np.zeros((5, 3))
    noise = lr.Noise(1e-3, 4)
    first, second = lr.value_and_grad(model, lr.squared_error, noise, x, target).deltas
    assert np.abs(first - second).max() > 0.01


@pytest.mark.parametrize("name", ["linear", "lstm"])
def test_half_precision_changes_little(name):
    model, x = PROBLEMS[name](np.random.default_rng(0), 20)
    model = model.with_params(
        [{n: a.astype(np.float32) for n, a in p.items()} for p in model.params]
    )
    x = x if x.dtype.kind == "i" else x.astype(np.float32)
    target = np.zeros(model(x).shape, np.float32)
    exact = lr.backpropagate(model, lr.squared_error, x, target)
    estimates = [
        lr.value_and_grad(model, lr.squared_error, noise, x, target)
        for noise in (lr.layerwise(0.03, 256), lr.mixed(0.03, 256))
    ]
    found = [lr.cosine(e.grads, exact.grads) for e in estimates]
    assert found[0] != found[1]
    assert abs(found[0] - found[1]) < 0.02
    assert min(found) > 0.9
    for grads in estimates[1].grads:
        assert all(g.dtype == np.float32 for g in grads.values())


def test_relative_sigma():
    model, x, target = one_layer(5, 7)
    z = x @ model.layers[0].weight.T
    rms = float(np.sqrt((z * z).mean()))
    relative, absolute = (
        lr.value_and_grad(model, lr.squared_error, noise, x, target).deltas[0]
        for noise in (lr.Noise(0.1, 4, scale="rms"), lr.Noise(0.1 * rms, 4))
    )
    np.testing.assert_allclose(relative, absolute, rtol=1e-9)


def test_losses_that_jump_are_trained_on():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 2))
    labels = (x.sum(axis=1) > 0).astype(int)
    model = MLP.random((2, 16, 2), activation="threshold", rng=1)
    optimizer = lr.Adam(0.03)
    state = optimizer.init(model.params)
    noise = lr.Noise(0.3, 16, scale="rms")
    before = lr.zero_one(model(x), labels).mean()
    for i in range(60):
        estimate = lr.value_and_grad(
            model, lr.zero_one, noise.iteration(i), x, labels, backend=NumbaBackend()
        )
        params, state = optimizer.step(model.params, estimate.grads, state)
        model = model.with_params(params)
    assert lr.zero_one(model(x), labels).mean() < 0.06 < 0.3 < before


@pytest.mark.parametrize("at", ["output", "weight"])
@pytest.mark.parametrize("name", ["linear", "scale", "conv", "stacked rnn"])
def test_another_array_library(name, at):
    loopback = seqsolve.get_backend("loopback")
    model, x = PROBLEMS[name](np.random.default_rng(0), 3)
    target = np.zeros(model(x).shape)
    noise = lr.Noise(0.01, 4, at=at)
    for run in (
        lambda **where: lr.value_and_grad(model, lr.squared_error, noise, x, target, **where),
        lambda **where: lr.backpropagate(model, lr.squared_error, x, target, **where),
    ):
        here, there = run(), run(backend="loopback")
        for a, b in zip(here.grads, there.grads, strict=True):
            for key in a:
                np.testing.assert_allclose(loopback.to_numpy(b[key]), a[key], rtol=1e-9)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_tokens_on_another_array_library(cell):
    loopback = seqsolve.get_backend("loopback")
    model = RNN.random(7, 3, 2, 2, cell=cell, rng=0)
    tokens, labels = np.array([[0, 1], [6, -1]]), np.array([0, 1])
    noise = lr.Noise(0.01, 4, "orthogonal")
    here, there = (
        lr.value_and_grad(model, lr.cross_entropy, noise, tokens, labels, backend=b)
        for b in ("numpy", "loopback")
    )
    for a, b in zip(here.grads, there.grads, strict=True):
        for key in a:
            np.testing.assert_allclose(loopback.to_numpy(b[key]), a[key], rtol=1e-9)


def test_sobol_points_are_those_of_scipy():
    qmc = pytest.importorskip("scipy.stats").qmc
    points = qmc.Sobol(300, scramble=False, bits=32).random(64)
    words = sobol_words(range(64), range(300))
    np.testing.assert_array_equal(words / 2.0**32, points)
    np.testing.assert_array_equal(sobol_words(range(9, 20), range(7, 9)), words[9:20, 7:9])


def test_orthogonal_columns_are_orthogonal():
    for offset in (0, 12345):
        signs = 1 - 2.0 * orthogonal_bits(offset, range(64), range(64))
        np.testing.assert_array_equal(signs.T @ signs, 64 * np.eye(64))
        np.testing.assert_array_equal(signs.mean(axis=0) ** 2, np.full(64, 1 / 64))
        part = 1 - 2.0 * orthogonal_bits(offset, range(64, 96), range(60, 64))
        np.testing.assert_array_equal(part.T @ part, 32 * np.eye(4))


@pytest.mark.parametrize("copies", [2, 6, 8, 12, 32])
def test_means_of_orthogonal_columns(copies):
    squares = [
        (1 - 2.0 * orthogonal_bits(offset, range(copies), range(5))).mean(axis=0) ** 2
        for offset in range(64)
    ]
    np.testing.assert_allclose(np.mean(squares, axis=0), 1 / copies, rtol=1e-12)


def test_perturb_and_error():
    z = np.random.default_rng(0).standard_normal((6, 3))
    exact = 2 * z
    for noise in (
        lr.Noise(1e-3, 4096),
        lr.Noise(1e-3, 4096, baseline="antithetic", key=4),
        lr.Noise(1e-3, 4096, "orthogonal", "clean"),
    ):
        noisy = lr.perturb(z, noise, layer=2, step=1)
        losses = (noisy**2).sum(axis=-1)
        clean = (z**2).sum(axis=-1) if noise.baseline == "clean" else None
        delta = lr.error(losses, z, noise, clean=clean, layer=2, step=1)
        assert np.abs(delta - exact).max() < 0.2
        assert lr.cosine(lr.error(losses, z, noise, clean=clean, layer=1), exact) < 0.3


def test_flops_are_counted():
    model = MLP.random((4, 8, 3), rng=0)
    x, labels = np.ones((10, 4)), np.zeros(10, int)
    forward = 2 * 10 * (4 * 8 + 8 * 3)
    behind_first = 2 * 10 * 8 * 3
    for noise, expected in (
        (lr.layerwise(0.1, 6), forward + 6 * behind_first),
        (lr.full(0.1, 6), forward + 6 * behind_first),
        (lr.Noise(0.1, (4, 2), at="weight"), 5 * forward + 2 * behind_first),
    ):
        assert lr.value_and_grad(model, lr.cross_entropy, noise, x, labels).flops == expected
    assert lr.backpropagate(model, lr.cross_entropy, x, labels).flops == forward


def test_allocation_is_the_best_that_the_budget_buys():
    costs = [lr.LayerCost(0, 256, 4000), lr.LayerCost(1, 128, 900), lr.LayerCost(2, 10, 100)]

    def variance(copies):
        return sum(c.units / k for c, k in zip(costs, copies, strict=True))

    def price(copies):
        return sum(c.cost * k for c, k in zip(costs, copies, strict=True))

    budget = 1_000_000
    best = lr.allocate(costs, budget)
    assert 0.95 * budget < price(best) <= budget
    rng = np.random.default_rng(0)
    for _ in range(200):
        other = np.array(best) * rng.uniform(0.5, 2, 3)
        other *= budget / price(other)
        assert variance(best) < 1.02 * variance(other)
    assert lr.allocate(costs, 0) == (2, 2, 2)
    assert all(k % 2 == 0 for k in best)


def test_sites():
    graph = GCN.random((3, 4, 2), np.eye(5), rng=0)
    first, second = lr.sites(graph, np.ones((5, 3)))
    assert (first.units, second.units, second.cost) == (4, 2, 0)
    recurrent = RNN.random(9, 2, 3, 2, cell="lstm", rng=0)
    first, second = lr.sites(recurrent, np.zeros((6, 5), int))
    assert (first.layer, first.units, second.layer) == (1, 6 * 12, 3)
    assert first.cost == 2 * 6 * 5 * 12 * 3 + second.cost + 2 * 5 * 3 * 2


@pytest.mark.parametrize("optimizer", [lr.SGD(0.05, 0.9), lr.SGD(0.2, 0.0), lr.Adam(0.1)])
def test_optimizers_find_the_minimum(optimizer):
    params = ({"a": np.array([3.0, -2.0])}, {"b": np.array([[1.0]])})
    state = optimizer.init(params)
    for _ in range(300):
        grads = tuple({k: 2 * (v - 0.5) for k, v in p.items()} for p in params)
        before = [v.copy() for p in params for v in p.values()]
        given = [v for p in params for v in p.values()]
        params, state = optimizer.step(params, grads, state)
        assert all((a == b).all() for a, b in zip(before, given, strict=True))
    for p in params:
        for v in p.values():
            np.testing.assert_allclose(v, 0.5, atol=1e-3)


def test_adam_is_that_of_the_paper():
    g, p, m, s = np.array([0.3, -2.0]), np.array([1.0, 1.0]), 0.0, 0.0
    optimizer = lr.Adam(0.01)
    params, state = {"w": p}, optimizer.init({"w": p})
    for t in range(1, 4):
        params, state = optimizer.step(params, {"w": g * t}, state)
        m, s = 0.9 * m + 0.1 * g * t, 0.999 * s + 0.001 * (g * t) ** 2
        p = p - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(params["w"], p, rtol=1e-12)


def run(noise=None, loss=lr.squared_error, model=None, x=None, target=None, **named):
    rng = np.random.default_rng(0)
    model = MLP.random((3, 4, 2), rng=0) if model is None else model
    x = rng.standard_normal((5, 3)) if x is None else x
    target = np.zeros((5, 2)) if target is None else target
    noise = lr.Noise(0.1, 4) if noise is None else noise
    return lr.value_and_grad(model, loss, noise, x, target, **named)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lr.Noise(0, 4), "`sigma` must be more than 0; got 0."),
        (lambda: lr.Noise(-1.0, 4), "`sigma` must be finite and at least 0; got -1.0."),
        (lambda: lr.Noise(np.nan, 4), "`sigma` must be finite"),
        (lambda: lr.Noise((0.1, 0.0), 4), "`sigma[1]` must be more than 0; got 0.0."),
        (
            lambda: lr.Noise(0.1, 1),
            "`copies` must be at least 2 with `baseline` 'loo', which compares copies with each "
            "other; got 1.",
        ),
        (lambda: lr.Noise(0.1, 3, baseline="antithetic"), "`copies` must be even"),
        (lambda: lr.Noise(0.1, 6, "sobol"), "`copies` must be a power of two"),
        (lambda: lr.Noise(0.1, 2.5), "`copies` must be an integer; got 2.5 (float)."),
        (lambda: lr.Noise(0.1, 4, "normal"), "`kind` must be one of 'gaussian', 'sign'"),
        (lambda: lr.Noise(0.1, 4, baseline="none"), "`baseline` must be one of 'loo'"),
        (lambda: lr.Noise(0.1, 4, at="input"), "`at` must be one of 'output', 'weight'"),
        (lambda: lr.Noise(0.1, (4, 4), order="all"), "`copies` must be a number if `order` is"),
        (lambda: lr.Noise(0.1, 4, key=-1), "`key` must be at least 0; got -1."),
        (lambda: lr.Noise(0.1, 4, key=2**64), "`key` must be a seed below 2**64"),
        (lambda: lr.mixed(0.1, 4, baseline=None), "`baseline` must be named for mixed noise"),
        (lambda: run(noise=0.1), "`noise` must be a Noise; got float."),
        (
            lambda: run(noise=lr.Noise(0.1, (4, 4, 4))),
            "`copies` must be a number or have one for each of 2 layers with noise; got 3.",
        ),
        (
            lambda: run(loss=lambda output, target: ((output - target) ** 2).mean()),
            "`loss` must return one value for each datum: shape (1, 5) for an output of shape "
            "(1, 5, 2); got ().",
        ),
        (
            lambda: run(loss=lambda output, target: 3.0),
            "`loss` must return one value for each datum: shape (1, 5)",
        ),
        (
            lambda: run(loss=lambda output, target: [0.0] * 5),
            "of shape (1, 5, 2); got (0.0, 0.0, 0.0, 0.0, 0.0).",
        ),
        (lambda: run(loss=None), "`loss` must be callable; got None (NoneType)."),
        (lambda: run(x=np.ones((5, 4))), "`x` must have shape (*data, 3) at Linear"),
        (
            lambda: run(target=np.zeros((7, 2))),
            "`target` must have shape (1, 5, 2), or (5, 2) where the output's first axis counts "
            "copies; got (7, 2).",
        ),
        (
            lambda: run(loss=lr.cross_entropy, target=np.zeros(7, int)),
            "`target` must have shape (1, 5), or (5,) where",
        ),
        (lambda: run(loss=lr.zero_one, target=np.zeros((5, 1), int)), "got (5, 1)."),
        (lambda: run(loss=lr.cross_entropy, target=np.zeros((5, 1), int)), "got (5, 1)."),
        (
            lambda: run(x=np.ones((0, 3)), target=np.zeros((0, 2))),
            "`x` must hold a datum at least; the output has shape (0, 2).",
        ),
        (lambda: run(model=3), "`model` must have `layers`, `params` and `with_params`"),
        (lambda: run(x=np.ones((5, 3)) * 1j), "`model` must be real; got an output of complex128."),
        (lambda: run(chunk=0), "`chunk` must be at least 1; got 0."),
        (
            lambda: run(loss=lr.cross_entropy, target=np.full(5, 2)),
            "`target` must be labels from 0 to 1; got 2 to 2.",
        ),
        (
            lambda: run(loss=lr.cross_entropy, target=np.zeros(5)),
            "`target` must be integer labels; got an array of float64.",
        ),
        (
            lambda: run(lr.Noise(0.1, 4, scale="rms"), x=np.zeros((5, 3))),
            "`scale` must be 'absolute' where what noise is added to is zero",
        ),
        (
            lambda: run(model=Stack((layers.Flatten(),)), x=np.ones((5, 2))),
            "`model` must have a layer with noise; got none.",
        ),
        (
            lambda: run(
                lr.Noise(0.1, 4, at="weight"),
                lr.cross_entropy,
                RNN.random(5, 2, 2, 2, rng=0),
                np.zeros((3, 5), int),
                np.zeros(5, int),
            ),
            "`noise` must be at the output where a layer has none of its own, as layer 0",
        ),
        (
            lambda: lr.error(np.zeros((4, 3)), np.zeros((2, 3)), lr.Noise(0.1, 4)),
            "`losses` must have one value for each copy and datum, shape (4, 2); got (4, 3).",
        ),
        (
            lambda: lr.error(
                np.zeros((4, 2)), np.zeros((2, 3)), lr.Noise(0.1, 4, baseline="clean")
            ),
            "`clean` must be given with `baseline` 'clean'; got None.",
        ),
        (lambda: lr.perturb(np.zeros(3), lr.Noise(0.1, 4)), "`z` must have shape (n_data, *units)"),
        (
            lambda: lr.cosine([np.ones(3)], [np.ones(4)]),
            "`estimate` must have the arrays of `exact`",
        ),
        (lambda: lr.allocate([], 10), "`layers` must hold a layer at least; got none."),
        (lambda: lr.Adam(0.0), "`learning_rate` must be more than 0; got 0.0."),
        (
            lambda: lr.SGD(0.1).step({"w": np.ones(3)}, {"w": np.ones(2)}, {"w": np.ones(3)}),
            "`grads['w']` must have shape (3,), as its parameter; got (2,).",
        ),
        (
            lambda: sobol_words(range(4), range(30_000)),
            "`kind` 'sobol' has 21201 dimensions; the noise that is drawn together has 30000.",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        call()


def test_losses_that_are_not_finite_are_no_success():
    with pytest.raises(FloatingPointError, match="`loss` returned values that are not finite"):
        run(loss=lambda output, target: output.sum(axis=-1) * np.nan)


@pytest.mark.parametrize("gradients", [run, lr.backpropagate])
def test_targets_of_one_output_need_its_axis(gradients):
    """Broadcast, each output would be compared with the targets of all data."""
    model, x = MLP.random((3, 4, 1), rng=0), np.ones((5, 3))
    named = {"loss": lr.squared_error, "model": model, "x": x}
    assert gradients(**named, target=np.zeros((5, 1))).value > 0
    with pytest.raises(ValueError, match=r"`target` must have shape \(1, 5, 1\).*got \(5,\)"):
        gradients(**named, target=np.zeros(5))


def test_losses_take_one_target_with_or_without_copies():
    output, target = np.ones((2, 5, 3)), np.zeros((5, 3))
    for loss, right in ((lr.squared_error, target), (lr.zero_one, np.zeros(5, int))):
        copied = np.broadcast_to(right, (2, *right.shape))
        np.testing.assert_array_equal(loss(output, right), loss(output, copied))
        np.testing.assert_array_equal(loss(output, right)[0], loss(output[0], right))
