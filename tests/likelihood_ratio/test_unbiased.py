"""Estimates against exact derivatives, within their statistical error.

Every problem has many equal data, or many equal graphs side by side, each with
noise of its own: so one call gives many independent estimates of each number.
A test fails if a mean is further from the exact value than chance takes it
once in a million numbers. With few copies each, and thousands in all, mistakes
in what estimates are divided by are large.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats
from support.stacks import PROBLEMS

from seqsolve import likelihood_ratio as lr
from seqsolve.likelihood_ratio import _credit
from seqsolve.likelihood_ratio._columns import sobol_shrinkage
from seqsolve.models import Stack

KINDS = ("gaussian", "sign", "sobol", "orthogonal")
BASELINES = ("loo", "mean", "antithetic", "clean", None)
SIGMA = 1e-3
COPIES = 4
DATA = 1024
MISTAKES = 1e-6


@lr.differentiable(lambda output, target: np.ones_like(output))
def total(output, target):
    """Return what the outputs' sum is more than the target's, and a little, as baselines need."""
    return (output - target).sum(axis=-1) + 1e-3


def make(name, n=DATA):
    model, x = PROBLEMS[name](np.random.default_rng(3), n)
    return model, x, model(x)


def expected_share(noise):
    """Return what is left of an estimate from which the mean of all copies was subtracted."""
    if noise.baseline != "mean":
        return 1.0
    return 1 - (sobol_shrinkage(noise.copies) if noise.kind == "sobol" else 1 / noise.copies)


def rows(name, deltas):
    """Return the deltas of all layers, one row for each datum or graph."""
    timed = ("rnn", "lstm", "gru", "stacked rnn")
    found = []
    for delta in deltas:
        if delta is not None:
            steps_first = name in timed and delta.ndim == 3
            found.append((delta.swapaxes(0, 1) if steps_first else delta).reshape(DATA, -1))
    return np.concatenate(found, axis=1)


def assert_unbiased(estimates, exact):
    """Compare the mean of independent rows with exact values."""
    bound = stats.t.ppf(1 - MISTAKES / 2, len(estimates) - 1)
    error = estimates.std(axis=0, ddof=1) / np.sqrt(len(estimates))
    allowed = bound * error + 1e-5 * np.abs(exact).max()  # sigma**2, and rounding
    away = np.abs(estimates.mean(axis=0) - exact)
    assert (away <= allowed).all(), f"off by {away.max()}, allowed {allowed[away.argmax()]}"


def check_deltas(name, noise):
    model, x, target = make(name)
    estimate = lr.value_and_grad(model, total, noise, x, target, backend="numba")
    exact = rows(name, lr.backpropagate(model, total, x, target).deltas)
    np.testing.assert_allclose(exact, exact[:1].repeat(DATA, axis=0), rtol=1e-9, atol=1e-18)
    assert_unbiased(rows(name, estimate.deltas), expected_share(noise) * exact[0])


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("order", ["layer", "all"])
@pytest.mark.parametrize(("kind", "baseline"), list(product(KINDS, BASELINES)))
def test_deltas(name, order, kind, baseline):
    check_deltas(name, lr.Noise(SIGMA, COPIES, kind, baseline, order=order, key=7))


@pytest.mark.parametrize("at", ["output", "weight"])
@pytest.mark.parametrize("order", ["layer", "all"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_gradients(name, order, at):
    model, x, target = make(name, 40)
    if at == "weight" and name in ("rnn", "lstm", "gru"):  # embeddings have no noise
        x = model.layers[0].weight[np.maximum(x, 0)]
        model = Stack(model.layers[1:])
        target = model(x)
    exact = flat(lr.backpropagate(model, total, x, target).grads)
    estimates = [
        flat(lr.value_and_grad(model, total, noise, x, target, backend="numba").grads)
        for noise in (lr.Noise(SIGMA, 8, at=at, order=order, key=(5, i)) for i in range(40))
    ]
    assert_unbiased(np.array(estimates), exact)


def flat(grads):
    return np.concatenate([g.ravel() for layer in grads for g in layer.values()])


@pytest.mark.parametrize("at", ["output", "weight"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("baseline", BASELINES)
def test_gradients_of_every_kind(kind, baseline, at):
    model, x, target = make("linear", 40)
    exact = flat(lr.backpropagate(model, total, x, target).grads)
    noises = [lr.Noise(SIGMA, COPIES, kind, baseline, at=at, key=(5, i)) for i in range(60)]
    estimates = [
        flat(lr.value_and_grad(model, total, noise, x, target, backend="numba").grads)
        for noise in noises
    ]
    assert_unbiased(np.array(estimates), expected_share(noises[0]) * exact)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda w, losses: w * (COPIES - 1) / COPIES,
        lambda w, losses: w * 1.25,
        lambda w, losses: -w,
        lambda w, losses: np.roll(w, 1, axis=0),
        lambda w, losses: np.roll(w, 1, axis=1) + 0.3 * w.mean(),
        lambda w, losses: 0 * w,
    ],
)
def test_a_planted_bias_is_found(wrong, monkeypatch):
    right = _credit.weights
    monkeypatch.setattr(
        _credit,
        "weights",
        lambda noise, losses, clean, sigma: wrong(right(noise, losses, clean, sigma), losses),
    )
    with pytest.raises(AssertionError, match="off by"):
        check_deltas("linear", lr.Noise(SIGMA, COPIES, key=7))


def test_reaching_too_few_losses_is_found(monkeypatch):
    monkeypatch.setattr(_credit, "reaches", lambda layers, shapes: [None] * len(layers))
    with pytest.raises(AssertionError, match="off by"):
        check_deltas("graph", lr.Noise(SIGMA, COPIES, key=7))
