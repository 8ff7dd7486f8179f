"""Random numbers: NumPy's own generator is the reference for bits, SciPy for their distribution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats
from support.steps import fixed

from seqsolve.random import NoiseStream, add_noise, normal_from_words, philox4x64, weigh_noise

WORD = st.integers(0, 2**64 - 1)


@fixed
@given(counter=st.tuples(WORD, WORD, WORD, WORD), key=st.tuples(WORD, WORD))
def test_philox_has_the_bits_of_numpy(counter, key):
    arrays = tuple(np.array([c], np.uint64) for c in counter)
    words = [int(w[0]) for w in philox4x64(arrays, key)]
    number = sum(c << (64 * i) for i, c in enumerate(counter))
    before = (number - 1) % 2**256  # NumPy counts before it generates
    limbs = [before >> (64 * i) & (2**64 - 1) for i in range(4)]
    reference = np.random.Philox(key=np.array(key, np.uint64), counter=np.array(limbs, np.uint64))
    assert words == [int(w) for w in reference.random_raw(4)]


def test_units_read_the_words_in_order():
    """Units, copies, data and step are the counter; seed and layer the key."""
    stream = NoiseStream((11, 12), 5, "normal", False, None)
    eps = add_noise(np, np.zeros((1, 3, 20)), 1.0, stream, range(4, 6))
    for k, n, j in [(0, 0, 0), (1, 2, 7), (0, 1, 13), (1, 2, 19)]:
        counter = tuple(np.array([c], np.uint64) for c in (j // 8, 4 + k, n, 5))
        word = int(philox4x64(counter, (11, 12))[j % 8 // 2][0])
        half = word >> 32 if j % 2 else word & 0xFFFFFFFF
        assert eps[k, n, j] == normal_from_words(np.array([half], np.uint32))[0]


def test_signs_read_the_bits_in_order():
    stream = NoiseStream((11, 12), 5, "sign", False, None)
    eps = add_noise(np, np.zeros((1, 2, 300)), 1.0, stream, range(1))
    for n, j in [(0, 0), (1, 63), (0, 64), (1, 255), (1, 256), (0, 299)]:
        counter = tuple(np.array([c], np.uint64) for c in (j // 256, 0, n, 5))
        bit = int(philox4x64(counter, (11, 12))[j % 256 // 64][0]) >> (j % 64) & 1
        assert eps[0, n, j] == 2 * bit - 1


def test_normal_quantiles():
    rng = np.random.default_rng(0)
    ends = np.arange(2**16)
    words = np.concatenate([ends, 2**32 - 1 - ends, 2**31 - ends, rng.integers(0, 2**32, 10**5)])
    x = normal_from_words(words.astype(np.uint32))
    assert np.abs(x - special.ndtri((words + 0.5) / 2**32)).max() < 1e-6
    assert x.dtype == np.float32


def test_noise_is_normal_and_independent():
    stream = NoiseStream((1, 2), 0, "normal", False, None)
    eps = add_noise(np, np.zeros((1, 50, 40), np.float32), 1.0, stream, range(100))
    assert stats.kstest(eps.ravel(), "norm").pvalue > 1e-3
    flat = eps.reshape(-1, 40)
    correlation = np.corrcoef(flat.T) - np.eye(40)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(flat))
    assert abs(np.corrcoef(eps[:-1].ravel(), eps[1:].ravel())[0, 1]) < 5 / np.sqrt(eps.size)


@fixed
@given(
    kind=st.sampled_from(["normal", "sign"]),
    copies=st.integers(1, 40),
    cut=st.integers(0, 40),
    n_data=st.integers(1, 5),
    n_units=st.sampled_from([1, 7, 8, 9, 300]),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_any_part_can_be_generated_alone(kind, copies, cut, n_data, n_units, dtype):
    rng = np.random.default_rng(copies)
    stream = NoiseStream((3, 4), 1, kind, False, None)
    z = rng.standard_normal((1, n_data, n_units)).astype(dtype)
    cut = min(cut, copies)
    whole = add_noise(np, z, 0.1, stream, range(copies))
    parts = [add_noise(np, z, 0.1, stream, r) for r in (range(cut), range(cut, copies))]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    w = rng.standard_normal((copies, n_data)).astype(dtype)
    once, twice = np.zeros((2, n_data, n_units), dtype)
    weigh_noise(np, w, stream, range(copies), once)
    for r in (range(cut), range(cut, copies)):
        weigh_noise(np, w[r.start : r.stop], stream, r, twice)
    np.testing.assert_array_equal(once, twice)
    assert once.dtype == np.dtype(dtype)


def test_many_blocks_are_generated_in_pieces(monkeypatch):
    stream = NoiseStream((3, 4), 1, "normal", False, None)
    z = np.zeros((1, 5, 100))
    whole = add_noise(np, z, 1.0, stream, range(7))
    monkeypatch.setattr("seqsolve.random._BLOCKS_AT_ONCE", 4)
    np.testing.assert_array_equal(add_noise(np, z, 1.0, stream, range(7)), whole)


@pytest.mark.parametrize("kind", ["normal", "sign"])
def test_steps_layers_and_seeds_differ(kind):
    z = np.zeros((1, 2, 600))
    streams = [
        NoiseStream(key, step, kind, False, None)
        for key in [(0, 0), (1, 0), (0, 1)]
        for step in (0, 1)
    ]
    drawn = [add_noise(np, z, 1.0, s, range(1)).ravel() for s in streams]
    correlation = np.corrcoef(drawn) - np.eye(len(drawn))
    assert np.abs(correlation).max() < 5 / np.sqrt(1200)
