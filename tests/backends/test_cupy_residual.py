"""The CuPy backend's test of the residual. Emulated where there is no GPU."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from support.emulation import marks, reason_not_to_emulate

from seqsolve.portable import PortableBackend

pytestmark = marks()
cupy = pytest.importorskip("cupy", reason=reason_not_to_emulate() or "CuPy is not installed")

from seqsolve_cupy import layout, residual  # noqa: E402

PORTABLE = PortableBackend("numpy", np)


def check(y, f, rtol=1e-3, atol=1e-4, arranged=None):
    atol = np.broadcast_to(np.asarray(atol, np.float64), y.shape[2:])
    arranged = arranged or cupy.asarray
    first, largest = residual.residual_test(
        arranged(y), arranged(f), rtol, cupy.asarray(atol.copy())
    )
    with np.errstate(all="ignore"):
        expected = PORTABLE.residual_test(y, f, rtol, atol)
    assert first.dtype == np.intp
    assert largest.dtype == np.float64
    np.testing.assert_array_equal(first, expected[0])
    np.testing.assert_allclose(largest, expected[1], rtol=3e-7 if y.itemsize < 16 else 1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_first_failure_and_largest_residual(dtype):
    rng = np.random.default_rng(1)
    for n_steps, n_batch, n_state in ((1, 1, 1), (2000, 1, 1), (300, 2, 3), (70, 9, 8)):
        y = rng.normal(size=(n_steps, n_batch, n_state)).astype(dtype)
        f = y.copy()
        check(y, f)
        for sequence in range(0, n_batch, 2):
            step, state = rng.integers(n_steps), rng.integers(n_state)
            f[step, sequence, state] += 1
            f[step:, sequence, state] += 0.5
        check(y, f)


def test_any_strides():
    rng = np.random.default_rng(2)
    y = rng.normal(size=(90, 3, 4))
    f = y + 1e-5 * rng.normal(size=y.shape)
    f[40, 1, 2] += 1

    def by_sequence(a):
        return cupy.asarray(np.ascontiguousarray(a.transpose(1, 2, 0))).transpose(2, 0, 1)

    check(y, f, arranged=by_sequence)
    check(y, f, arranged=lambda a: cupy.asarray(np.ascontiguousarray(a[::-1]))[::-1])
    check(y, f, atol=[1e-5, 1e-4, 0, 1e-6])


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_what_is_not_finite_fails(dtype):
    y = np.ones((50, 3, 2), dtype)
    for bad_y, bad_f in itertools.product([1, np.nan, np.inf, -np.inf], repeat=2):
        f = y.copy()
        y[20, 1, 1], f[20, 1, 1] = bad_y, bad_f
        check(y, f)
        y[20, 1, 1] = 1


def test_magnitudes_of_complex_numbers_at_the_ends_of_their_range():
    y = np.zeros((4, 1, 1), np.complex128)
    f = y.copy()
    f[:, 0, 0] = [3e-310 + 4e-310j, 3e-200 + 4e-200j, 3e200 - 4e200j, 3e307 + 4e307j]
    for count in range(1, 5):
        first, largest = residual.residual_test(
            cupy.asarray(y[:count]), cupy.asarray(f[:count]), 0.0, cupy.zeros(1)
        )
        np.testing.assert_allclose(largest, np.abs(f[count - 1, 0]), rtol=1e-12)
        np.testing.assert_array_equal(first, [0])


def test_equality_passes_without_tolerance():
    y = np.random.default_rng(3).normal(size=(64, 2, 2)).astype(np.float32)
    check(y, y.copy(), rtol=0.0, atol=0.0)


@pytest.mark.parametrize("shape", [(0, 2, 3), (4, 0, 3), (0, 0, 1)])
def test_nothing_to_test(shape):
    y = np.zeros(shape, np.float32)
    check(y, y)


def test_many_blocks_share_a_sequence(monkeypatch):
    """The blocks' findings meet in atomic maxima."""
    monkeypatch.setattr(residual, "_AHEAD", 1)
    assert layout.n_multiprocessors() > 1
    y = np.zeros((3000, 1, 1), np.float32)
    f = y.copy()
    f[[2999, 1700, 300], 0, 0] = [1, 3, 2]
    check(y, f)
