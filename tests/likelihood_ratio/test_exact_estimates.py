"""Estimates without chance: with as many orthogonal columns as numbers are perturbed."""

from __future__ import annotations

import numpy as np
import pytest
from support.stacks import PROBLEMS

from seqsolve import likelihood_ratio as lr
from seqsolve.likelihood_ratio import _estimator
from seqsolve.models import Stack, layers

EMBEDDED = ("rnn", "lstm", "gru")
COPIES = 256


def assert_exact(model, x, noise, **options):
    """Compare every gradient and delta with back-propagation's."""
    target = np.random.default_rng(2).standard_normal(model(x).shape)
    found = lr.value_and_grad(model, lr.squared_error, noise, x, target, **options)
    exact = lr.backpropagate(model, lr.squared_error, x, target)
    assert found.value == pytest.approx(exact.value, rel=1e-12)
    for a, b in zip(found.grads, exact.grads, strict=True):
        assert set(a) == set(b)
        for name in b:
            np.testing.assert_allclose(a[name], b[name], rtol=0, atol=1e-4 * abs(b[name]).max())
    if noise.at == "output":
        for a, b in zip(found.deltas, exact.deltas, strict=True):
            assert (a is None) == (b is None)
            if b is not None:
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * abs(b).max())


@pytest.mark.parametrize("at", ["output", "weight"])
@pytest.mark.parametrize("order", ["layer", "all"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_every_layer(name, order, at):
    model, x = PROBLEMS[name](np.random.default_rng(1), 2)
    if at == "weight" and name in EMBEDDED:
        x = model.layers[0].weight[np.maximum(x, 0)]
        model = Stack(model.layers[1:])
    noise = lr.Noise(1e-6, COPIES, "orthogonal", "antithetic", at, order)
    assert_exact(model, x, noise)


@pytest.mark.parametrize("n_steps", [1, 2, 3])
@pytest.mark.parametrize("order", ["layer", "all"])
def test_data_that_share_a_loss(order, n_steps):
    """Steps that are pooled are perturbed together, and need columns of their own."""
    rng = np.random.default_rng(3)
    model = Stack(
        (
            layers.Linear(rng.standard_normal((4, 3)), activation="tanh"),
            layers.Pool("mean"),
            layers.Linear(rng.standard_normal((2, 4))),
        )
    )
    noise = lr.Noise(1e-6, 32, "orthogonal", "antithetic", order=order)
    assert_exact(model, rng.standard_normal((n_steps, 5, 3)), noise)


@pytest.mark.parametrize("order", ["layer", "all"])
def test_as_many_draws_as_columns_are_needed(order):
    """What the tests above find exact is not so with half as many."""
    model, x = PROBLEMS["linear"](np.random.default_rng(1), 2)
    assert_exact(model, x, lr.Noise(1e-6, 16, "orthogonal", "antithetic", order=order))
    with pytest.raises(AssertionError):
        assert_exact(model, x, lr.Noise(1e-6, 4, "orthogonal", "antithetic", order=order))


@pytest.mark.parametrize(("at", "most"), [("output", 6), ("weight", 2)])
def test_how_many_copies_are_evaluated_together(at, most, monkeypatch):
    """As many as hold so many numbers in the layer that has most of them."""
    monkeypatch.setattr(_estimator, "_VALUES_AT_ONCE", 130)
    rng = np.random.default_rng(4)
    model = Stack(
        (
            layers.Linear(rng.standard_normal((2, 3))),
            layers.Linear(rng.standard_normal((4, 2))),
            layers.Linear(rng.standard_normal((3, 4))),
        )
    )
    seen = set()

    def loss(output, target):
        seen.add(output.shape[0])
        return lr.squared_error(output, target)

    noise = lr.Noise(0.1, 15, at=at, order="all")
    lr.value_and_grad(model, loss, noise, rng.standard_normal((5, 3)), np.zeros((5, 3)))
    assert seen == {1, most, 15 % most or most}


@pytest.mark.parametrize(("order", "calls"), [("all", 2), ("layer", 4)])
def test_how_often_the_loss_is_evaluated(order, calls):
    """Without noise, and then for all layers together, or for each of the three."""
    model = Stack([layers.Linear(np.eye(2))] * 3)
    seen = []

    def loss(output, target):
        seen.append(output.shape[0])
        return lr.squared_error(output, target)

    lr.value_and_grad(model, loss, lr.Noise(0.1, 4, order=order), np.ones((5, 2)), np.ones((5, 2)))
    assert seen == [1] + [4] * (calls - 1)
