"""Noise by hand: `perturb` and `error`."""

from __future__ import annotations

import re

import numpy as np
import pytest

from seqsolve import likelihood_ratio as lr

Z = np.random.default_rng(0).standard_normal((4, 2, 3))
SLOPE = np.random.default_rng(1).standard_normal((2, 3))


def losses(noisy):
    return (noisy * SLOPE).sum(axis=(-1, -2))


@pytest.mark.parametrize("scale", ["absolute", "rms"])
@pytest.mark.parametrize("baseline", ["clean", "antithetic"])
def test_orthogonal_noise_finds_the_derivative_of_what_is_linear(baseline, scale):
    copies = 8 if baseline == "clean" else 16
    noise = lr.Noise(0.5, copies, "orthogonal", baseline, scale=scale)
    noisy = lr.perturb(Z, noise, layer=3, step=2)
    assert noisy.shape == (copies, *Z.shape)
    sigma = 0.5 * (1.0 if scale == "absolute" else float(np.sqrt((Z**2).mean())))
    np.testing.assert_allclose(abs(noisy - Z), sigma, rtol=1e-12)
    delta = lr.error(losses(noisy), Z, noise, clean=losses(Z), layer=3, step=2)
    np.testing.assert_allclose(delta, np.broadcast_to(SLOPE, Z.shape), rtol=1e-12)


def test_antithetic_copies_mirror_each_other():
    noisy = lr.perturb(Z, lr.Noise(0.1, 6, baseline="antithetic"))
    np.testing.assert_allclose(noisy[:3] + noisy[3:], 2 * Z + 0 * noisy[:3], rtol=1e-12)


def test_places_have_noise_of_their_own():
    noise = lr.Noise(0.1, 4)
    places = [{}, {"layer": 1}, {"step": 1}, {"layer": 1, "step": 1}, {"layer": 16}]
    drawn = [lr.perturb(Z, noise, **place) for place in places]
    assert all((a != b).all() for i, a in enumerate(drawn) for b in drawn[:i])


def test_every_layer_has_copies_and_a_scale_of_its_own():
    noise = lr.Noise((0.1, 1.0), (4, 8), "sign")
    for layer, (sigma, copies) in enumerate(((0.1, 4), (1.0, 8))):
        noisy = lr.perturb(Z, noise, layer=layer)
        assert len(noisy) == copies
        np.testing.assert_allclose(abs(noisy - Z), sigma, rtol=1e-12)
    with pytest.raises(ValueError, match="have one for each of 3 layers with noise; got 2"):
        lr.perturb(Z, noise, layer=2)


def test_integers_become_float64_and_float32_stays():
    noise = lr.Noise(0.1, 4)
    assert lr.perturb(np.ones((2, 3), int), noise).dtype == np.float64
    z = np.ones((2, 3), np.float32)
    noisy = lr.perturb(z, noise)
    assert noisy.dtype == np.float32
    assert lr.error(noisy.sum(axis=-1).astype(float), z, noise).dtype == np.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: lr.error(
                np.ones((4, 4)), Z, lr.Noise(0.1, 4, baseline="clean"), clean=np.ones((1, 4))
            ),
            "`clean` must have shape (4,); got (1, 4).",
        ),
        (lambda: lr.perturb(Z, 0.1), "`noise` must be a Noise; got float."),
        (lambda: lr.perturb(Z + 1j, lr.Noise(0.1, 4)), "`z` must be real; got complex128."),
        (lambda: lr.perturb(Z, lr.Noise(0.1, 4), layer=-1), "`layer` must be at least 0; got -1."),
        (lambda: lr.perturb(Z, lr.Noise(0.1, 4), step=-1), "`step` must be at least 0; got -1."),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        call()
