"""The NumPy backend's compiled primitives, against a direct transcription of the contract."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import seqsolve_numpy
from seqsolve.backend import Backend
from seqsolve.portable import PortableBackend
from seqsolve_numpy import host, window

BACKEND = seqsolve_numpy.make_backend()
PORTABLE = PortableBackend("portable", np)

DTYPES = ("float32", "float64", "complex64", "complex128")

properties = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# --- arrays in awkward layouts -------------------------------------------------------------


def _every_second(a, axis):
    buffer = np.full([2 * s if i == axis else s for i, s in enumerate(a.shape)], np.nan, a.dtype)
    view = buffer[tuple(slice(None, None, 2) if i == axis else slice(None) for i in range(a.ndim))]
    view[...] = a
    return view


def _with_axis_order(a, order):
    return np.ascontiguousarray(a.transpose(order)).transpose(np.argsort(order))


def _read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def _misaligned(a):
    buffer = np.empty(a.nbytes + 1, np.uint8)[1:]
    view = buffer.view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


LAYOUTS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "time reversed": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "state reversed": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "every second step": lambda a: _every_second(a, 0),
    "every second sequence": lambda a: _every_second(a, 1),
    "every second entry": lambda a: _every_second(a, a.ndim - 1),
    "sequence by sequence": lambda a: _with_axis_order(a, (1, 0, *range(2, a.ndim))),
    "last axis first": lambda a: _with_axis_order(a, (a.ndim - 1, *range(a.ndim - 1))),
    "last axes swapped": lambda a: _with_axis_order(
        a, (*range(a.ndim - 2), a.ndim - 1, a.ndim - 2)
    ),
    "misaligned": _misaligned,
    "read-only": _read_only,
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
}

# These change the values, so they are for inputs only, before the oracle sees them.
BROADCASTS = {
    "constant in time": lambda a: np.broadcast_to(a[:1], a.shape),
    "constant in the state": lambda a: np.broadcast_to(a[..., :1], a.shape),
    "constant": lambda a: np.broadcast_to(a[:1, :1, ..., :1], a.shape),
}

inputs = st.sampled_from(sorted(LAYOUTS | BROADCASTS))
results = st.sampled_from(sorted(set(LAYOUTS) - {"read-only"}))


def lay_out(a, layout):
    if layout in LAYOUTS or a.size == 0:
        return LAYOUTS.get(layout, np.asarray)(a)
    return BROADCASTS[layout](a)


def random(rng, shape, dtype):
    a = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        a = a + 1j * rng.standard_normal(shape)
    return a.astype(dtype)


def random_matrices(rng, n_steps, n_batch, n_state, dense, dtype):
    if not dense:
        return random(rng, (n_steps, n_batch, n_state), dtype)
    return random(rng, (n_steps, n_batch, n_state, n_state), dtype) / max(1, n_state) ** 0.5


def problems(*dtypes):
    """Sizes and dtypes. Every kernel takes time to compile, so there are few of either."""
    return st.fixed_dictionaries(
        {
            "n_steps": st.sampled_from((0, 1, 2, 7, 40)),
            "n_batch": st.sampled_from((0, 1, 2)),
            "n_state": st.sampled_from((0, 1, 2, 17)),
            "dense": st.booleans(),
            "dtype": st.sampled_from(dtypes),
        }
    )


seeds = st.integers(0, 2**32 - 1)


# --- the contract, transcribed, in extended precision, with a bound on rounding ---------------


def _product(A, v):
    return (A @ v[..., None])[..., 0] if A.ndim > v.ndim else A * v


def _unit(dtype, n_state):
    return 8 * (n_state + 2) * float(np.finfo(dtype).eps)


def recurrence_oracle(A, b, y0, *, reverse, transpose):
    """Return the solution and what a plain loop in the dtype of `b` may be off."""
    unit = _unit(b.dtype, b.shape[-1])
    A, b = A.astype(np.clongdouble), b.astype(np.clongdouble)
    if transpose and A.ndim == 4:
        A = A.swapaxes(-1, -2)
    y, bound = b.copy(), np.zeros(b.shape)
    steps = range(len(b))[::-1] if reverse else range(len(b))
    previous = None if y0 is None else y0.astype(np.clongdouble)
    error = np.zeros(b.shape[1:])
    for t in steps:
        if previous is not None:
            y[t] += _product(A[t], previous)
            error = _product(abs(A[t]), error + unit * abs(previous)) + unit * abs(b[t])
            bound[t] = error
        previous = y[t]
    return y, bound


def newton_oracle(A, fy, y):
    """Return the new iterate, a bound on rounding, and where the test for repair is clear."""
    unit = _unit(y.dtype, y.shape[-1])
    limit = np.longdouble(np.finfo(y.dtype).max) ** 0.5
    A, fy, y = (a.astype(np.clongdouble) for a in (A, fy, y))
    new, bound, clear = y.copy(), np.zeros(y.shape), np.ones(y.shape[:2], bool)
    with np.errstate(all="ignore"):
        for t in range(len(y)):
            v, error = fy[t], np.zeros(y.shape[1:])
            if t > 0:
                d = new[t - 1] - y[t - 1]
                d_error = bound[t - 1] + unit * (abs(new[t - 1]) + abs(y[t - 1]))
                v = fy[t] + _product(A[t], d)
                error = _product(abs(A[t]), d_error + unit * abs(d)) + unit * abs(fy[t])
            within = abs(v) <= limit
            doubtful = np.isfinite(v) & (abs(abs(v) - limit) <= error)
            clear[t] = ~doubtful.any(axis=-1) & (clear[t - 1] if t > 0 else True)
            new[t] = np.where(within, v, np.where(np.isfinite(fy[t]), fy[t], y[t]))
            bound[t] = np.where(within, error, 0)
    return new, bound, clear


def residual_oracle(y, fy, rtol, atol):
    n_steps, n_batch, _ = y.shape
    first, largest = np.full(n_batch, n_steps), np.zeros(n_batch)
    with np.errstate(all="ignore"):
        r = abs(y - fy)
        fails = ~(r <= atol + rtol * abs(y))
    for k in range(n_batch):
        for t in range(n_steps):
            if fails[t, k].any():
                first[k] = min(first[k], t)
            for value in r[t, k]:
                largest[k] = max(largest[k], np.inf if np.isnan(value) else value)
    return first, largest


def assert_within(actual, expected, bound, where=...):
    with np.errstate(all="ignore"):
        off = abs(actual.astype(np.clongdouble) - expected)
        exact = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    ok = exact | (off <= bound)
    assert ok[where].all(), (actual[where][~ok[where]], expected[where][~ok[where]])


# --- the recurrence --------------------------------------------------------------------------


@properties
@given(
    problem=problems("float32"),
    seed=seeds,
    A_layout=inputs,
    b_layout=inputs,
    out_layout=st.none() | results,
    initial=st.booleans(),
    reverse=st.booleans(),
    transpose=st.booleans(),
    method=st.sampled_from(("auto", "sequential")),
)
def test_recurrence_of_any_layout(
    problem, seed, A_layout, b_layout, out_layout, initial, reverse, transpose, method
):
    rng = np.random.default_rng(seed)
    dtype, shape = problem["dtype"], (problem["n_steps"], problem["n_batch"], problem["n_state"])
    A = lay_out(random_matrices(rng, **problem), A_layout)
    b = lay_out(random(rng, shape, dtype), b_layout)
    y0 = random(rng, shape[1:], dtype) if initial else None
    out = None if out_layout is None else lay_out(np.full(shape, np.nan, dtype), out_layout)
    A_before, b_before = A.copy(), b.copy()

    y = BACKEND.linear_recurrence(
        A, b, y0, reverse=reverse, transpose=transpose, method=method, out=out
    )

    expected, bound = recurrence_oracle(A, b, y0, reverse=reverse, transpose=transpose)
    assert_within(y, expected, bound)
    assert y.dtype == (dtype if out is None else out.dtype)
    assert y.shape == shape
    assert out is None or y is out
    np.testing.assert_array_equal(A, A_before)
    np.testing.assert_array_equal(b, b_before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("method", ["auto", "scan", "cyclic_reduction", "sequential"])
def test_recurrence_by_every_method_in_every_dtype(method, dense, dtype):
    rng = np.random.default_rng(0)
    A, b = random_matrices(rng, 11, 1, 2, dense, dtype), random(rng, (11, 1, 2), dtype)
    y = BACKEND.linear_recurrence(
        A, b, b[0], reverse=False, transpose=False, method=method, out=None
    )
    expected, bound = recurrence_oracle(A, b, b[0], reverse=False, transpose=False)
    assert_within(y, expected, 100 * bound)
    assert y.dtype == dtype


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("n_state", [3, 8, 9, 16, 33, 64])
def test_dense_recurrence_of_every_size(n_state, transpose):
    rng = np.random.default_rng(n_state)
    A = random_matrices(rng, 5, 1, n_state, True, "float32")
    b = random(rng, (5, 1, n_state), "float32")
    y = BACKEND.linear_recurrence(
        A, b, None, reverse=False, transpose=transpose, method="auto", out=None
    )
    assert_within(y, *recurrence_oracle(A, b, None, reverse=False, transpose=transpose))


@pytest.mark.parametrize("shape", [(6, 1, 16), (6, 1, 17), (6, 5, 3), (4, 700, 7), (4, 4097, 1)])
def test_diagonal_recurrence_of_many_lanes(shape):
    rng = np.random.default_rng(1)
    A, b, y0 = (random(rng, shape, "float32") for _ in range(3))
    y = BACKEND.linear_recurrence(
        A, b, y0[0], reverse=False, transpose=False, method="auto", out=None
    )
    assert_within(y, *recurrence_oracle(A, b, y0[0], reverse=False, transpose=False))


@pytest.mark.parametrize("dense", [False, True])
def test_awkward_arrays_longer_than_a_chunk(dense):
    rng = np.random.default_rng(2)
    A = lay_out(random_matrices(rng, 9000, 2, 2, dense, "float32") / 2, "every second entry")
    b = random(rng, (9000, 2, 2), "float32")
    for reverse, y0 in ((False, None), (True, b[0])):
        y = BACKEND.linear_recurrence(
            A, b, y0, reverse=reverse, transpose=True, method="auto", out=None
        )
        assert_within(y, *recurrence_oracle(A, b, y0, reverse=reverse, transpose=True))


def test_without_initial_state_the_first_matrix_is_not_read():
    for dense in (False, True):
        A = random_matrices(np.random.default_rng(3), 4, 1, 2, dense, "float32")
        for reverse in (False, True):
            A[-1 if reverse else 0] = np.nan
            b = np.ones((4, 1, 2), np.float32)
            y = BACKEND.linear_recurrence(
                A, b, None, reverse=reverse, transpose=False, method="auto", out=None
            )
            assert np.isfinite(y).all()
            A[-1 if reverse else 0] = 1


def test_non_finite_values_spread_as_in_a_plain_loop():
    A = np.ones((6, 1, 2), np.float32)
    b = np.ones((6, 1, 2), np.float32)
    b[2, 0, 0], b[3, 0, 1], A[5, 0, 1] = np.nan, np.inf, 0
    y = BACKEND.linear_recurrence(
        A, b, None, reverse=False, transpose=False, method="auto", out=None
    )
    np.testing.assert_array_equal(y[:, 0, 0], [1, 2, *[np.nan] * 4])
    np.testing.assert_array_equal(y[:, 0, 1], [1, 2, 3, np.inf, np.inf, np.nan])


def test_matrices_and_right_hand_side_of_different_dtypes():
    A = np.full((3, 1, 2), 1j, np.complex64)
    b = np.ones((3, 1, 2), np.float32)
    y = BACKEND.linear_recurrence(
        A, b, None, reverse=False, transpose=False, method="auto", out=None
    )
    assert y.dtype == np.complex64
    np.testing.assert_allclose(y[:, 0, 0], [1, 1 + 1j, 1j])


def test_recurrence_into_a_memory_map(tmp_path):
    rng = np.random.default_rng(4)
    A, b = random(rng, (20, 1, 2), "float32"), random(rng, (20, 1, 2), "float32")
    file = np.memmap(tmp_path / "y", np.float32, "w+", shape=(50, 1, 2))
    BACKEND.linear_recurrence(
        A, b, None, reverse=False, transpose=False, method="auto", out=file[10:30]
    )
    assert_within(
        np.array(file[10:30]), *recurrence_oracle(A, b, None, reverse=False, transpose=False)
    )
    assert not file[:10].any()
    assert not file[30:].any()


@pytest.mark.parametrize("dense", [False, True])
def test_float32_stays_accurate_over_a_million_steps(dense):
    n_steps = 10**6
    b = np.random.default_rng(5).standard_normal((n_steps, 1, 2)).astype(np.float32)
    cosine, sine = np.float32(0.999 * np.cos(0.3)), np.float32(0.999 * np.sin(0.3))
    if not dense:
        cosine, sine = np.float32(0.999), np.float32(0)
    matrix = np.array([[cosine, -sine], [sine, cosine]] if dense else [cosine, cosine])
    A = np.ascontiguousarray(np.broadcast_to(matrix, (n_steps, 1, *matrix.shape)))

    plain = np.empty_like(b)
    u = v = np.float32(0)
    for t, (p, q) in enumerate(zip(b[:, 0, 0], b[:, 0, 1], strict=True)):
        u, v = p + (cosine * u - sine * v), q + (sine * u + cosine * v)
        plain[t] = u, v

    def solve(dtype):
        A_, b_ = A.astype(dtype), b.astype(dtype)
        return BACKEND.linear_recurrence(
            A_, b_, None, reverse=False, transpose=False, method="auto", out=None
        )

    exact = solve(np.float64)
    assert abs(solve(np.float32) - exact).max() <= 2 * abs(plain - exact).max()


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


# --- the rest -----------------------------------------------------------------------------------


def test_keeps_the_contract():
    assert isinstance(BACKEND, Backend)
    assert set(BACKEND.describe()) == {"numpy", "numba", "cpu", "cores"}
    assert all(BACKEND.describe().values())
    assert host.n_cores() >= 1


@pytest.mark.parametrize("n_steps", [0, 1, 5, 16, 100, 10**7])
@pytest.mark.parametrize("n_batch", [0, 1, 10**6])
@pytest.mark.parametrize("n_state", [0, 1, 64, 10**4])
def test_default_window(n_steps, n_batch, n_state):
    steps = BACKEND.default_window(
        n_steps=n_steps, n_batch=n_batch, n_state=n_state, n_jacobian=n_state**2, dtype="float32"
    )
    assert 1 <= steps <= max(1, n_steps)
    second_level, last_level = window.cache_sizes()
    if steps > 1:
        assert steps * 4 * 12 * n_batch * n_state <= second_level
        assert steps * 4 * n_batch * n_state**2 <= last_level / 8


@pytest.mark.parametrize(
    ("n_batch", "n_state", "iterates"),
    [(1, 1, True), (1, 32, True), (16, 1, True), (16, 16, False), (10**4, 1, False)],
)
def test_default_window_steps_through_time_where_the_batch_is_wide(n_batch, n_state, iterates):
    steps = BACKEND.default_window(
        n_steps=10**6, n_batch=n_batch, n_state=n_state, n_jacobian=n_state**2, dtype="float32"
    )
    assert (steps > 1) == iterates


def test_importing_the_backend_loads_no_compiler():
    code = (
        "import sys, seqsolve_numpy; b = seqsolve_numpy.make_backend(); b.describe(); "
        "sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_compiles_where_nothing_can_be_cached(monkeypatch):
    from numba import types
    from numba.core import caching

    from seqsolve_numpy.kernels.compilation import compiled

    monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])

    def double(a):
        a[0] *= 2

    a = np.ones(1)
    compiled(double, types.float64[:])(a)
    assert a[0] == 2


def test_kernels_are_cached_on_disk(tmp_path):
    code = (
        "import numpy as np, seqsolve_numpy.kernels as k; "
        "print(sum(k.diagonal_kernel(np.dtype('f4'), 1, False).stats.cache_hits.values()))"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    hits = [
        subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert hits == [b"0", b"1"]
    assert any(Path(tmp_path).rglob("*.nbi"))
