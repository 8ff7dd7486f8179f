"""The NumPy backend's compiled recurrence, against a direct transcription of the contract."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kernel_oracles import (
    BACKEND,
    DTYPES,
    assert_within,
    inputs,
    lay_out,
    problems,
    properties,
    random,
    random_matrices,
    recurrence_oracle,
    results,
    seeds,
)

from seqsolve.backend import Backend
from seqsolve_numpy import host, window

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
