"""Exact gradients of every layer, against complex steps; what layers refuse."""

from __future__ import annotations

import re

import numpy as np
import pytest
from support.stacks import PROBLEMS

from seqsolve import likelihood_ratio as lr
from seqsolve.models import GCN, MLP, RNN, Stack, layers
from seqsolve.models.layers.activation import ACTIVATIONS


def complex_step(model, loss, x, target, i, name, direction):
    """Return the derivative of the mean loss along a direction in one parameter."""
    params = [dict(p) for p in model.params]
    params[i][name] = params[i][name] + 1e-30j * direction
    return loss(model.with_params(params)(x), target).mean().imag / 1e-30


@pytest.mark.parametrize("name", PROBLEMS)
def test_exact_gradients(name):
    rng = np.random.default_rng(1)
    model, x = PROBLEMS[name](rng, 3)
    target = rng.standard_normal(model(x).shape)
    exact = lr.backpropagate(model, lr.squared_error, x, target)
    for i, grads in enumerate(exact.grads):
        assert set(grads) == set(model.params[i])
        for key, gradient in grads.items():
            direction = rng.standard_normal(gradient.shape)
            step = complex_step(model, lr.squared_error, x, target, i, key, direction)
            np.testing.assert_allclose((gradient * direction).sum(), step, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "sigmoid"])
def test_derivatives_of_activations(activation):
    function = ACTIVATIONS[activation]
    z = np.random.default_rng(0).standard_normal(20)
    step = function(z + 1e-30j).imag / 1e-30
    np.testing.assert_allclose(function.pull(z, function(z), np.ones(20)), step, rtol=1e-14)


@pytest.mark.parametrize("loss", [lr.cross_entropy, lr.masked(lr.cross_entropy)])
def test_gradient_of_cross_entropy(loss):
    rng = np.random.default_rng(0)
    output, labels = rng.standard_normal((1, 5, 4)), rng.integers(0, 4, 5)
    target = labels if loss is lr.cross_entropy else (labels, rng.random(5))
    direction = rng.standard_normal(output.shape)
    step = 1e-6 * direction
    slope = (loss(output + step, target) - loss(output - step, target)).sum() / 2e-6
    np.testing.assert_allclose((loss.gradient(output, target) * direction).sum(), slope, rtol=1e-8)


def test_padding_changes_nothing():
    model, tokens = PROBLEMS["lstm"](np.random.default_rng(0), 2)
    longer = np.concatenate([tokens, np.full((4, 2), -1)])
    np.testing.assert_allclose(model(longer), model(tokens[:3]), rtol=1e-14)


def test_convolution_is_the_sum_that_it_says():
    rng = np.random.default_rng(0)
    weight, x = rng.standard_normal((2, 3, 2, 4)), rng.standard_normal((1, 6, 5, 4))
    z = Stack((layers.Conv2d(weight),))(x)
    assert z.shape == (1, 4, 4, 2)
    by_hand = (weight[1] * x[0, 2:5, 3:5]).sum()
    np.testing.assert_allclose(z[0, 2, 3, 1], by_hand, rtol=1e-13)


def test_sparse_and_dense_adjacencies_agree():
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(0)
    dense = (rng.random((7, 7)) < 0.3) / 3.0
    labels, x = rng.integers(0, 2, 7), rng.standard_normal((7, 3))
    noise = lr.Noise(0.01, 8)
    models = [GCN.random((3, 4, 4, 2), a, rng=0) for a in (dense, sparse.csr_array(dense))]
    for run in (
        lambda m: lr.backpropagate(m, lr.cross_entropy, x, labels),
        lambda m: lr.value_and_grad(m, lr.cross_entropy, noise, x, labels),
    ):
        first, second = (run(m) for m in models)
        for a, b in zip(first.grads, second.grads, strict=True):
            np.testing.assert_allclose(a["weight"], b["weight"], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: layers.Linear(np.ones(3)),
            "`weight` must be an array with 2 axes; got shape (3,).",
        ),
        (
            lambda: layers.Linear(np.ones((2, 3)), np.ones(3)),
            "`bias` must have shape (2,); got (3,).",
        ),
        (
            lambda: layers.Linear(np.ones((2, 3)), activation="softplus"),
            "`activation` must be an Activation or one of 'identity'",
        ),
        (
            lambda: layers.GraphConv(np.ones((2, 3)), None, np.ones((3, 4))),
            "`adjacency` must be a square matrix; got shape (3, 4).",
        ),
        (
            lambda: layers.Recurrent(np.ones((4, 3)), np.ones((4, 2))),
            "`weight_hh` must have shape (2, 2); got (4, 2).",
        ),
        (lambda: layers.Pool("max"), "`kind` must be one of 'mean', 'last'; got 'max'."),
        (lambda: layers.Conv2d(np.ones((1, 2, 2, 1)), stride=0), "`stride` must be at least 1"),
        (lambda: MLP.random((3,)), "`sizes` must name input and output at least; got (3,)."),
        (lambda: Stack(()), "`layers` must hold a layer at least; got none."),
        (
            lambda: MLP.random((3, 2), rng=0)(np.ones((4, 5))),
            "`x` must have shape (*data, 3) at Linear(weight=(2, 3), bias=(2,), "
            "activation='identity'); got (4, 5).",
        ),
        (
            lambda: RNN.random(5, 2, 2, 2, rng=0)(np.array([[7]])),
            "`x` must be tokens below 5; got 7.",
        ),
        (
            lambda: MLP.random((3, 2), rng=0).with_params([{"weight": np.ones((3, 3))}]),
            "`params['weight']` must have shape (2, 3); got (3, 3).",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        call()


def test_what_has_no_derivative_says_so():
    x, labels = np.ones((2, 3)), np.zeros(2, int)
    model = MLP.random((3, 4, 2), activation="threshold", rng=0)
    with pytest.raises(TypeError, match="`activation` 'threshold' has no derivative"):
        lr.backpropagate(model, lr.cross_entropy, x, labels)
    with pytest.raises(TypeError, match="`loss` must have a method `gradient"):
        lr.backpropagate(model, lr.zero_one, x, labels)


def test_a_network_takes_lists():
    model = MLP.random((2, 3, 2), rng=0)
    x = [[0.5, 1.0], [2.0, 3.0], [4.0, 5.0]]
    np.testing.assert_array_equal(model(x), model(np.array(x)))
    with pytest.raises(TypeError, match="`x` must be an array of numbers; got <U1 values"):
        model(np.array([["a", "b"]]))


@pytest.mark.parametrize("dtype", [int, bool, complex, "U3"])
def test_random_weights_are_real_numbers_and_not_rounded(dtype):
    for make in (
        lambda: MLP.random((3, 2), dtype=dtype),
        lambda: RNN.random(5, 3, 2, 2, dtype=dtype),
        lambda: GCN.random((3, 2), np.eye(4), dtype=dtype),
    ):
        with pytest.raises(TypeError, match="`dtype` must be a real floating-point dtype"):
            make()
