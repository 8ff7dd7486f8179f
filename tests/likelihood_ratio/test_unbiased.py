"""Estimates against exact derivatives, within their statistical error: the full product.

Every layer type, kind, baseline, order and place is estimated in thousands of copies: many
equal data, or equal graphs side by side, each with noise of its own, in many calls, each with a
key of its own. Calls are the independent samples.

A test fails if a mean is further from the exact value than chance takes it once in a million
numbers. With few copies each, mistakes in what estimates are divided by are large. That biases
are found is tested as well: they are planted in every class of combinations.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
from scipy import stats
from support.stacks import PROBLEMS

from seqsolve import likelihood_ratio as lr
from seqsolve.likelihood_ratio import _columns, _credit, _perturbation
from seqsolve.likelihood_ratio._columns import sobol_shrinkage
from seqsolve.models import Stack
from seqsolve_numba import NumbaBackend

KINDS = ("gaussian", "sign", "sobol", "orthogonal")
BASELINES = ("loo", "mean", "antithetic", "clean", None)
ORDERS = ("layer", "all")
PLACES = ("output", "weight")
EMBEDDED = ("rnn", "lstm", "gru")

#: Seeds of random models in which no parameter's gradient is lost in the noise of the others.
SEEDS = {
    "linear": 32,
    "scale": 229,
    "conv": 40,
    "graph": 31,
    "rnn": 6,
    "lstm": 58,
    "gru": 26,
    "stacked rnn": 12,
}
SIGMA = 1e-3
COPIES = 4
DATA = 192
CALLS = 32
MISTAKES = 1e-6

#: Standard errors of a bias that is found, whatever chance adds: it allows 6.0 itself.
FOUND = 10

combinations = pytest.mark.parametrize(
    ("kind", "baseline", "order", "at"), list(product(KINDS, BASELINES, ORDERS, PLACES))
)


@lr.differentiable(lambda output, target: np.ones_like(output))
def total(output, target):
    """Return what the outputs' sum is more than the target's, and a little, as baselines need."""
    return (output - target).sum(axis=-1) + 1e-3


@cache
def problem(name, at="output"):
    """Return a model, input, target and exact estimate; parameters of embeddings have no noise."""
    model, x = PROBLEMS[name](np.random.default_rng(SEEDS[name]), DATA)
    if at == "weight" and name in EMBEDDED:
        x = model.layers[0].weight[np.maximum(x, 0)]
        model = Stack(model.layers[1:])
    target = model(x)
    return model, x, target, lr.backpropagate(model, total, x, target)


def estimates(name, noise):
    """Return estimates of independent calls."""
    model, x, target, _ = problem(name, noise.at)
    return [
        lr.value_and_grad(model, total, noise.iteration(i), x, target, backend=NumbaBackend())
        for i in range(CALLS)
    ]


def expected_share(noise):
    """Return what is left of an estimate from which the mean of all copies was subtracted."""
    if noise.baseline != "mean":
        return 1.0
    return 1 - (sobol_shrinkage(noise.copies) if noise.kind == "sobol" else 1 / noise.copies)


def rows(name, deltas):
    """Return the deltas of all layers, one row for each datum or graph; steps come first."""
    timed = (*EMBEDDED, "stacked rnn")
    found = []
    for delta in deltas:
        if delta is not None:
            steps_first = name in timed and delta.ndim == 3
            found.append((delta.swapaxes(0, 1) if steps_first else delta).reshape(DATA, -1))
    return np.concatenate(found, axis=1)


def standard_errors(samples):
    """Return the standard error of each column's mean."""
    return samples.std(axis=0, ddof=1) / np.sqrt(len(samples))


def with_the_whole(samples, exact):
    """Return one column more: the part along the exact vector, which is known best."""
    norm = np.sqrt(exact @ exact)
    along = samples @ exact[:, None] / norm
    return np.concatenate([samples, along], axis=1), np.append(exact, norm)


def assert_unbiased(samples, exact, what):
    """Compare the mean of independent rows with exact values; a missing one would be found."""
    samples, exact = with_the_whole(samples, exact)
    bound = stats.t.ppf(1 - MISTAKES / 2, len(samples) - 1)
    errors = standard_errors(samples)
    assert FOUND * errors[-1] <= exact[-1], f"{what} is lost in noise"
    allowed = bound * errors + 1e-5 * np.abs(exact).max()  # sigma**2, and rounding
    away = np.abs(samples.mean(axis=0) - exact)
    i = (away - allowed).argmax()
    assert away[i] <= allowed[i], f"{what}[{i}] is off by {away[i]}, allowed {allowed[i]}"


def parameters(exact):
    """Yield layer and name of every parameter, and its exact gradient."""
    for i, grads in enumerate(exact.grads):
        for key, gradient in grads.items():
            yield i, key, gradient.ravel()


def gradients(found, i, key):
    """Return a parameter's gradients, a row for each estimate."""
    return np.array([estimate.grads[i][key].ravel() for estimate in found])


def check(name, noise, found):
    """Compare every parameter's gradient of every layer, and all deltas."""
    exact, share = problem(name, noise.at)[3], expected_share(noise)
    for i, key, gradient in parameters(exact):
        assert_unbiased(gradients(found, i, key), share * gradient, f"layer {i} {key}")
    if noise.at == "output":
        samples = np.array([rows(name, estimate.deltas).mean(axis=0) for estimate in found])
        assert_unbiased(samples, share * rows(name, exact.deltas)[0], "delta")


@pytest.mark.parametrize("name", PROBLEMS)
def test_data_are_equal_and_every_parameter_has_a_gradient(name):
    for at in PLACES:
        model, _, _, exact = problem(name, at)
        deltas = rows(name, exact.deltas)
        np.testing.assert_allclose(deltas, deltas[:1].repeat(DATA, axis=0), rtol=1e-9, atol=1e-18)
        assert [set(grads) for grads in exact.grads] == [set(p) for p in model.params]
        assert all(g.any() for grads in exact.grads for g in grads.values())


@pytest.mark.parametrize("name", PROBLEMS)
@combinations
def test_unbiased(name, kind, baseline, order, at):
    noise = lr.Noise(SIGMA, COPIES, kind, baseline, at, order, key=7)
    check(name, noise, estimates(name, noise))


@pytest.mark.parametrize(("kind", "baseline"), list(product(KINDS, BASELINES)))
def test_noise_by_hand(kind, baseline):
    rng = np.random.default_rng(0)
    z, slope = rng.standard_normal((1, 5)).repeat(DATA, axis=0), rng.standard_normal(5)
    noise = lr.Noise(SIGMA, COPIES, kind, baseline, key=7)
    samples = []
    for i in range(CALLS):
        losses = (lr.perturb(z, noise.iteration(i), layer=2) - z) @ slope + 1e-3
        clean = np.full(DATA, 1e-3) if baseline == "clean" else None
        found = lr.error(losses, z, noise.iteration(i), clean=clean, layer=2)
        samples.append(found.mean(axis=0))
    assert_unbiased(np.array(samples), expected_share(noise) * slope, "error")


@combinations
def test_estimates_with_a_planted_bias_are_refused(kind, baseline, order, at, monkeypatch):
    """In what the losses weigh, of the size of `FOUND` standard errors."""
    noise = lr.Noise(SIGMA, COPIES, kind, baseline, at, order, key=7)
    _, key, gradient = next(parameters(problem("linear", at)[3]))
    samples, exact = with_the_whole(gradients(estimates("linear", noise), 0, key), gradient)
    bias = 1 + FOUND * standard_errors(samples)[-1] / exact[-1]
    assert bias < 1.6
    plant(monkeypatch, lambda w: bias * w)
    with pytest.raises(AssertionError, match="is off by"):
        check("linear", noise, estimates("linear", noise))


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize(("order", "at"), list(product(ORDERS, PLACES)))
def test_a_bias_of_any_one_parameter_is_found(name, order, at):
    noise = lr.Noise(SIGMA, COPIES, at=at, order=order, key=7)
    found, exact = estimates(name, noise), problem(name, at)[3]
    for i, key, _ in parameters(exact):
        biased = []
        for estimate in found:
            grads = [dict(g) for g in estimate.grads]
            grads[i][key] = grads[i][key] + exact.grads[i][key]
            biased.append(replace(estimate, grads=tuple(grads)))
        with pytest.raises(AssertionError, match=rf"layer {i} {key}.* is off by"):
            check(name, noise, biased)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ORDERS)
def test_data_have_noise_of_their_own(kind, order):
    """The mean over data has their variance over their number, within chance."""
    noise = lr.Noise(SIGMA, COPIES, kind, order=order, key=7)
    deltas = np.array([rows("linear", e.deltas) for e in estimates("linear", noise)])
    ratio = deltas.mean(axis=1).var(axis=0, ddof=1) * DATA / deltas.var(axis=(0, 1))
    low, high = stats.chi2.ppf([MISTAKES / 2, 1 - MISTAKES / 2], CALLS - 1) / (CALLS - 1)
    assert ((ratio > low) & (ratio < high)).all()


def plant(monkeypatch, wrong):
    """Let the losses' weights in the estimates be wrong ones."""
    right = _credit.weights
    monkeypatch.setattr(_credit, "weights", lambda *args: wrong(right(*args)))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda w: w * (COPIES - 1) / COPIES,
        lambda w: -w,
        lambda w: np.roll(w, 1, axis=0),
        lambda w: np.roll(w, 1, axis=1) + 0.3 * w.mean(),
        lambda w: 0 * w,
    ],
)
@pytest.mark.parametrize("at", PLACES)
def test_wrong_weights_are_found(wrong, at, monkeypatch):
    plant(monkeypatch, wrong)
    noise = lr.Noise(SIGMA, COPIES, at=at, key=7)
    with pytest.raises(AssertionError, match=r"is off by|is lost"):
        check("linear", noise, estimates("linear", noise))


def test_reaching_too_few_losses_is_found(monkeypatch):
    monkeypatch.setattr(_credit, "reaches", lambda layers, shapes: [None] * len(layers))
    noise = lr.Noise(SIGMA, COPIES, key=7)
    with pytest.raises(AssertionError, match="is off by"):
        check("graph", noise, estimates("graph", noise))


@pytest.mark.parametrize("copies", [6, 8, 16])
def test_orthogonal_columns_of_other_numbers_of_copies(copies):
    noise = lr.Noise(SIGMA, copies, "orthogonal", key=7)
    check("linear", noise, estimates("linear", noise))


@pytest.mark.parametrize("at", PLACES)
def test_orthogonal_columns_without_the_rows_signs_are_found(at, monkeypatch):
    monkeypatch.setattr(_columns, "_EVEN_BITS", np.uint64(0))
    monkeypatch.setattr(_perturbation, "_offset", lambda noise: 0)
    noise = lr.Noise(SIGMA, COPIES, "orthogonal", at=at, key=7)
    with pytest.raises(AssertionError, match="is off by"):
        check("linear", noise, estimates("linear", noise))


@pytest.mark.parametrize("at", PLACES)
def test_quasi_random_points_taken_for_independent_ones_are_found(at, monkeypatch):
    monkeypatch.setattr(_credit, "sobol_shrinkage", lambda copies: 1 / copies)
    noise = lr.Noise(SIGMA, COPIES, "sobol", at=at, key=7)
    with pytest.raises(AssertionError, match="is off by"):
        check("linear", noise, estimates("linear", noise))


@pytest.mark.parametrize("name", EMBEDDED)
@pytest.mark.parametrize(("kind", "baseline", "order"), list(product(KINDS, BASELINES, ORDERS)))
def test_parameters_of_embeddings_have_no_noise(name, kind, baseline, order):
    model, x, target, _ = problem(name)
    noise = lr.Noise(SIGMA, COPIES, kind, baseline, "weight", order)
    with pytest.raises(ValueError, match="`noise` must be at the output where a layer has none"):
        lr.value_and_grad(model, total, noise, x, target)


@pytest.mark.parametrize(("kind", "baseline"), list(product(KINDS, BASELINES)))
def test_numbers_of_copies_that_are_not_defined_are_refused(kind, baseline):
    for copies in range(1, 18):
        draws = copies / 2 if baseline == "antithetic" else copies
        defined = copies > 1 or baseline not in ("loo", "mean")
        defined &= draws == int(draws)
        defined &= kind != "sobol" or draws in (1, 2, 4, 8, 16)
        if defined:
            assert lr.Noise(SIGMA, copies, kind, baseline).copies == copies
        else:
            with pytest.raises(ValueError, match=r"`copies` must be .*; got"):
                lr.Noise(SIGMA, copies, kind, baseline)
