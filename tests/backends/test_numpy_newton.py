"""The NumPy backend's Newton update and residual test, against the transcribed contract."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kernel_oracles import (
    BACKEND,
    DTYPES,
    PORTABLE,
    assert_within,
    inputs,
    lay_out,
    newton_oracle,
    problems,
    properties,
    random,
    random_matrices,
    residual_oracle,
    results,
    seeds,
)

# --- the Newton update ------------------------------------------------------------------------


def _spoil(rng, a, kind):
    if kind == "nothing" or a.size == 0:
        return
    limit = float(np.finfo(a.dtype).max) ** 0.5
    values = {"not finite": (np.nan, np.inf, -np.inf), "huge": (1e8 * limit, -1e4 * limit)}[kind]
    spots = rng.integers(0, a.size, size=1 + a.size // 20)
    a.flat[spots] = rng.choice(values, size=len(spots))


@properties
@given(
    problem=problems("float32", "complex128"),
    seed=seeds,
    layouts=st.tuples(inputs, inputs, results),
    spoiled=st.tuples(*[st.sampled_from(("nothing", "not finite", "huge"))] * 3),
)
def test_newton_update(problem, seed, layouts, spoiled):
    rng = np.random.default_rng(seed)
    dtype, shape = problem["dtype"], (problem["n_steps"], problem["n_batch"], problem["n_state"])
    A = random_matrices(rng, **problem)
    fy, y = random(rng, shape, dtype), random(rng, shape, dtype)
    for a, kind in zip((A, fy, y), spoiled, strict=True):
        _spoil(rng, a, kind)
    A, fy, y = (lay_out(a, layout) for a, layout in zip((A, fy, y), layouts, strict=True))
    A_before, fy_before = A.copy(), fy.copy()
    expected, bound, clear = newton_oracle(A, fy, y)

    BACKEND.newton_update(A, fy, y, method="auto")

    assert_within(y, expected, bound, clear)
    np.testing.assert_array_equal(A, A_before)
    np.testing.assert_array_equal(fy, fy_before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("method", ["auto", "scan", "cyclic_reduction", "sequential"])
def test_newton_update_agrees_with_the_portable_one(method, dense, dtype):
    rng = np.random.default_rng(6)
    A = random_matrices(rng, 11, 1, 2, dense, dtype)
    fy, y = random(rng, (11, 1, 2), dtype), random(rng, (11, 1, 2), dtype)
    expected = y.copy()
    PORTABLE.newton_update(A, fy, expected, method="sequential")
    BACKEND.newton_update(A, fy, y, method=method)
    assert_within(y, expected, 1e3 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("n_batch", [1, 3])
@pytest.mark.parametrize(("dense", "n_state"), [(False, 2), (False, 17), (True, 2), (True, 17)])
def test_newton_update_repairs_single_entries(dense, n_state, n_batch):
    shape = (5, n_batch, n_state)
    A = np.zeros((*shape, n_state) if dense else shape, np.float32)
    fy, y = np.full(shape, 2, np.float32), np.full(shape, 7, np.float32)
    fy[1, 0, 0] = np.nan
    fy[2, 0, 1] = -np.inf
    fy[3, 0, 0] = 1e30
    BACKEND.newton_update(A, fy, y, method="auto")
    expected = np.full(shape, 2, np.float32)
    expected[1, 0, 0] = expected[2, 0, 1] = 7
    expected[3, 0, 0] = 1e30
    np.testing.assert_array_equal(y, expected)


def test_newton_update_takes_the_increment_from_the_repaired_value():
    A = np.array([0, np.inf, 1, 1], np.float32).reshape(4, 1, 1)
    fy = np.array([3, 5, 1, 1], np.float32).reshape(4, 1, 1)
    y = np.array([2, 1, 0, 0], np.float32).reshape(4, 1, 1)
    BACKEND.newton_update(A, fy, y, method="auto")
    # 3; inf -> 5, increment 5 - 1; 1 + (5 - 1); 1 + (5 - 0)
    np.testing.assert_array_equal(y[:, 0, 0], [3, 5, 5, 6])


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_newton_update_where_the_image_shares_memory(shift, dense):
    rng = np.random.default_rng(7)
    buffer = random(rng, (12, 1, 2), "float32")
    y, fy = buffer[1:11], buffer[1 + shift : 11 + shift]
    A = random_matrices(rng, 10, 1, 2, dense, "float32")
    expected, bound, _ = newton_oracle(A, fy, y)
    BACKEND.newton_update(A, fy, y, method="auto")
    assert_within(y, expected, bound)


def test_newton_update_where_the_jacobian_shares_memory():
    rng = np.random.default_rng(8)
    buffer = random(rng, (11, 1, 2), "float32")
    y, A, fy = buffer[1:], buffer[:-1], buffer[:-1] ** 2 / 2
    expected, bound, _ = newton_oracle(A, fy, y)
    BACKEND.newton_update(A, fy, y, method="auto")
    assert_within(y, expected, bound)


# --- the residual test ------------------------------------------------------------------------


@properties
@given(
    shape=st.tuples(
        st.sampled_from((0, 1, 2, 5, 600)), st.sampled_from((0, 1, 3)), st.sampled_from((1, 2, 7))
    ),
    dtype=st.sampled_from(DTYPES),
    seed=seeds,
    layouts=st.tuples(inputs, inputs),
    spoiled=st.sampled_from(("nothing", "not finite", "huge")),
    share=st.sampled_from((0.0, 0.001, 0.3)),
    rtol=st.sampled_from((0.0, 1e-2)),
)
def test_residual_test(shape, dtype, seed, layouts, spoiled, share, rtol):
    rng = np.random.default_rng(seed)
    y = random(rng, shape, dtype)
    fy = y + (rng.random(shape) < share) * random(rng, shape, dtype)
    _spoil(rng, fy, spoiled)
    atol = rng.choice((1e-3, 1e-2, 0.1), size=shape[2])
    y, fy = lay_out(y, layouts[0]), lay_out(fy, layouts[1])

    first, largest = BACKEND.residual_test(y, fy, rtol, atol)

    expected_first, expected_largest = residual_oracle(y, fy, rtol, atol)
    np.testing.assert_array_equal(first, expected_first)
    np.testing.assert_allclose(largest, expected_largest, rtol=1e-5)
    assert (first.dtype, largest.dtype) == (np.intp, np.float64)
    if y.size:
        with np.errstate(all="ignore"):
            portable_first, portable_largest = PORTABLE.residual_test(y, fy, rtol, atol)
        np.testing.assert_array_equal(first, portable_first)
        np.testing.assert_allclose(largest, portable_largest, rtol=1e-5)


@pytest.mark.parametrize("shape", [(3, 700, 7), (3, 1, 3000), (2000, 1, 1), (1025, 2, 1)])
@pytest.mark.parametrize("failing", [False, True])
def test_residual_test_finds_a_single_entry(shape, failing):
    rng = np.random.default_rng(9)
    y = random(rng, shape, "float32")
    for _ in range(20):
        fy = y.copy()
        t, k, i = (rng.integers(s) for s in shape)
        fy[t, k, i] += 2.0 if failing else 0.5
        first, largest = BACKEND.residual_test(y, fy, 0.0, np.ones(shape[2]))
        expected = np.full(shape[1], shape[0])
        if failing:
            expected[k] = t
        np.testing.assert_array_equal(first, expected)
        assert largest[k] == pytest.approx(2.0 if failing else 0.5, rel=1e-5)
        assert np.count_nonzero(largest) == 1


def test_residual_test_uses_the_tolerance_of_each_entry():
    y = np.zeros((700, 1, 3))
    fy = y + np.array([0.5, 0.05, 0.005])
    assert BACKEND.residual_test(y, fy, 0.0, np.array([1, 0.1, 0.01]))[0] == [700]
    assert BACKEND.residual_test(y, fy, 0.0, np.array([1, 0.01, 0.01]))[0] == [0]


@pytest.mark.parametrize("shape", [(2, 700, 7), (2, 1, 3001), (900, 2, 5)])
def test_residual_test_uses_the_tolerance_of_each_entry_of_wide_states(shape):
    rng = np.random.default_rng(10)
    atol = rng.uniform(0.1, 1, shape[2])
    y = random(rng, shape, "float32")
    fy = y + 0.99 * atol.astype("f4")
    assert (BACKEND.residual_test(y, fy, 0.0, atol)[0] == shape[0]).all()
    for _ in range(5):
        t, k, i = (rng.integers(s) for s in shape)
        beyond = fy.copy()
        beyond[t, k, i] = y[t, k, i] + 1.01 * atol[i]
        expected = np.full(shape[1], shape[0])
        expected[k] = t
        np.testing.assert_array_equal(BACKEND.residual_test(y, beyond, 0.0, atol)[0], expected)


def test_zero_tolerance_passes_exact_zeros_only():
    y = np.ones((4, 1, 1), np.complex64)
    fy = y.copy()
    assert BACKEND.residual_test(y, fy, 0.0, np.zeros(1))[0] == [4]
    fy[2] = np.nan
    first, largest = BACKEND.residual_test(y, fy, 0.0, np.zeros(1))
    assert (first[0], largest[0]) == (2, np.inf)


def test_large_complex_residuals_do_not_overflow():
    y = np.zeros((1, 1, 1), np.complex64)
    _, largest = BACKEND.residual_test(y, y + np.complex64(3e30 + 4e30j), 0.0, np.zeros(1))
    assert largest[0] == pytest.approx(5e30)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_infinite_iterate_never_passes(dtype):
    y, fy = np.zeros((300, 1, 2), dtype), np.zeros((300, 1, 2), dtype)
    y[217, 0, 1] = np.inf
    first, largest = BACKEND.residual_test(y, fy, 0.1, np.full(2, 0.1, np.finfo(dtype).dtype))
    assert first[0] == 217
    assert largest[0] == np.inf
