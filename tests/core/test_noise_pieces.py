"""Noise has the bits that its documentation says, in however many pieces it is made."""

from __future__ import annotations

import numpy as np
import pytest

from seqsolve import random
from seqsolve.random import NoiseStream, add_noise, normal_from_words, weigh_noise

KEY, STEP, N_DATA, COPIES = (12345, 2**63 + 7), 2**40 + 3, 3, range(2, 7)


def words(copy, datum, n_blocks):
    """Return the 32-bit words of the first blocks, from NumPy's own generator."""
    found = []
    for block in range(n_blocks):
        number = block + (copy << 64) + (datum << 128) + (STEP << 192)
        before = (number - 1) % 2**256  # it counts before it generates
        counter = [before >> (64 * i) & (2**64 - 1) for i in range(4)]
        generator = np.random.Philox(
            key=np.array(KEY, np.uint64), counter=np.array(counter, np.uint64)
        )
        found.append(generator.random_raw(4))
    return np.concatenate(found).astype("<u8").view("<u4")


def noise(kind, shared, table, n_units):
    """Return the noise of all copies, unit by unit."""
    eps = np.empty((len(COPIES), N_DATA, n_units))
    for k, copy in enumerate(COPIES):
        for datum in range(N_DATA):
            own = words(
                0 if shared else copy, datum, -(-n_units // (8 if kind == "normal" else 256))
            )
            mask = None if table is None else table[k, datum % table.shape[1]]
            if kind == "normal":
                bits = own[:n_units] if mask is None else own[:n_units] ^ mask
                eps[k, datum] = normal_from_words(bits)
            else:
                bits = [int(own[i // 32]) >> (i % 32) & 1 for i in range(n_units)]
                bits = np.array(bits) if mask is None else np.array(bits) ^ mask
                eps[k, datum] = 2.0 * bits - 1
    return eps


@pytest.mark.parametrize("at_once", [1, 2, 5, 2**13])
@pytest.mark.parametrize(("kind", "n_units"), [("normal", 21), ("normal", 1), ("sign", 600)])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("tables", [None, 1, N_DATA])
def test_noise_is_the_same_in_any_pieces(monkeypatch, at_once, kind, n_units, shared, tables):
    monkeypatch.setattr(random, "_BLOCKS_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    table = None
    if tables is not None:
        shape = (len(COPIES), tables, n_units)
        table = rng.integers(0, 2**32 if kind == "normal" else 2, shape)
        table = table.astype("uint32" if kind == "normal" else "uint8")
    stream = NoiseStream(KEY, STEP, kind, shared, table)
    eps = noise(kind, shared, table, n_units)

    for dtype in ("float32", "float64"):
        sigma = np.dtype(dtype).type(0.3)
        for n_own in (1, len(COPIES)):
            z = rng.standard_normal((n_own, N_DATA, n_units)).astype(dtype)
            moved = add_noise(np, z, 0.3, stream, COPIES)
            assert moved.dtype == dtype
            np.testing.assert_array_equal(moved, z + sigma * eps.astype(dtype))

        weights = rng.standard_normal((len(COPIES), N_DATA)).astype(dtype)
        out = rng.standard_normal((N_DATA, n_units)).astype(dtype)
        expected = out.copy()
        for k in range(len(COPIES)):
            expected = expected + weights[k][:, None] * eps[k].astype(dtype)
        weigh_noise(np, weights, stream, COPIES, out)
        np.testing.assert_array_equal(out, expected)


def test_pieces_are_small(monkeypatch):
    sizes = []
    generate = random.philox4x64

    def counted(counter, key):
        sizes.append(np.broadcast(*counter).size)
        return generate(counter, key)

    monkeypatch.setattr(random, "philox4x64", counted)
    monkeypatch.setattr(random, "_BLOCKS_AT_ONCE", 64)
    stream = NoiseStream(KEY, STEP, "normal", False, None)
    for n_copies, n_data, n_units in [(100, 1, 8), (1, 300, 8), (3, 7, 1000), (2, 40, 80)]:
        sizes.clear()
        add_noise(np, np.zeros((1, n_data, n_units)), 1.0, stream, range(n_copies))
        blocks = n_copies * n_data * -(-n_units // 8)
        assert sum(sizes) == blocks
        assert max(sizes) <= 64
        assert len(sizes) <= 4 * blocks / 64
