"""Cyclic reduction and wide matrices on CuPy, against the recurrence stepped through."""

from __future__ import annotations

import numpy as np
import pytest
from support.emulation import marks

import seqsolve
from seqsolve.portable import PortableBackend

if not seqsolve.backend_status("cupy").available:
    pytest.skip(seqsolve.backend_status("cupy").reason, allow_module_level=True)

import cupy

from seqsolve_cupy import cyclic_reduction, wide

pytestmark = marks()

REFERENCE = PortableBackend("reference", np)
TOLERANCE = {"float32": 1e-6, "complex64": 1e-6, "float64": 2e-13, "complex128": 2e-13}


def system(n_steps, n_batch, n_state, *, dense, dtype, seed=0):
    rng = np.random.default_rng(seed)

    def numbers(*shape):
        z = rng.standard_normal(shape)
        return z + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else z

    if dense:
        A = numbers(n_steps, n_batch, n_state, n_state) * 0.5 / np.sqrt(n_state)
    else:
        A = numbers(n_steps, n_batch, n_state) * 0.5
    b, y0 = numbers(n_steps, n_batch, n_state), numbers(n_batch, n_state)
    return A.astype(dtype), b.astype(dtype), y0.astype(dtype)


def check(solver, A, b, y0, *, reverse=False, transpose=False):
    """Compare with steps in double precision; memory that is not written stays NaN."""
    out = cupy.full(b.shape, np.nan, dtype=b.dtype)
    start = None if y0 is None else cupy.asarray(y0)
    given = cupy.asarray(A), cupy.asarray(b)
    solver.solve(*given, start, reverse=reverse, transpose=transpose, out=out)
    up = np.result_type(b.dtype, np.float64)
    expected = REFERENCE.linear_recurrence(
        A.astype(up),
        b.astype(up),
        None if y0 is None else y0.astype(up),
        reverse=reverse,
        transpose=transpose,
        method="sequential",
        out=None,
    )
    error = np.abs(cupy.asnumpy(out) - expected).max() / np.abs(expected).max()
    assert error < TOLERANCE[b.dtype.name]
    for array, original in zip(given, (A, b), strict=True):
        np.testing.assert_array_equal(cupy.asnumpy(array), original)


@pytest.fixture
def small_blocks(monkeypatch):
    """Cut short sequences into many segments, which are cut again."""
    monkeypatch.setattr(cyclic_reduction, "BLOCK_THREADS", 16)
    monkeypatch.setattr(cyclic_reduction, "WHOLE_CHUNK_STEPS", 4)
    monkeypatch.setattr(cyclic_reduction, "CHUNK_STEPS", 2)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("n_state", [1, 2, 3, 5, 8])
def test_one_block_of_small_matrices(n_state, dtype):
    for n_steps in (1, 2, 5, 70):
        A, b, y0 = system(n_steps, 2, n_state, dense=True, dtype=dtype, seed=n_steps)
        check(cyclic_reduction, A, b, y0, reverse=n_steps % 2 == 1, transpose=n_steps > 2)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize(("n_state", "dense"), [(1, False), (3, False), (2, True), (5, True)])
def test_segments_of_segments(n_state, dense, dtype):
    for n_steps in (3, 31, 32, 33, 200, 601):
        A, b, y0 = system(n_steps, 2, n_state, dense=dense, dtype=dtype, seed=n_steps)
        check(cyclic_reduction, A, b, y0, reverse=n_steps % 2 == 1)


@pytest.mark.parametrize("n_state", [31, 32, 33, 70])
def test_many_scalar_sequences_share_blocks(n_state):
    A, b, y0 = system(50, 1, n_state, dense=False, dtype="float32")
    check(cyclic_reduction, A, b, y0)
    check(cyclic_reduction, A, b, y0, reverse=True)


def test_the_largest_matrices_of_the_kernel():
    A, b, y0 = system(40, 1, cyclic_reduction.LARGEST_REAL, dense=True, dtype="float64")
    assert cyclic_reduction.applies(A, b)
    check(cyclic_reduction, A, b, y0, transpose=True)
    assert not cyclic_reduction.applies(A.astype(complex), b.astype(complex))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("n_steps", [1, 3, 4, 7, 8, 9, 33, 130])
def test_wide_matrices(n_steps, dtype):
    A, b, y0 = system(n_steps, 2, 20, dense=True, dtype=dtype)
    check(wide, A, b, y0, reverse=n_steps % 2 == 1, transpose=n_steps > 4)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("solver", [cyclic_reduction, wide])
def test_without_an_initial_state_the_first_matrix_is_not_read(solver, reverse):
    for n_steps in (1, 3, 40, 130):
        A, b, _ = system(n_steps, 2, 3, dense=True, dtype="float64")
        A[-1 if reverse else 0] = np.nan
        check(solver, A, b, None, reverse=reverse)


@pytest.mark.parametrize("solver", [cyclic_reduction, wide])
def test_strides_of_any_kind(solver):
    A, b, y0 = system(40, 3, 4, dense=True, dtype="float64")
    out = cupy.full((80, 3, 8), np.nan)
    for A_view, b_view in (
        (A[::-1], b[:, ::-1]),
        (A.transpose(0, 1, 3, 2), b[..., ::-1]),
        (np.broadcast_to(A[:1], A.shape), np.broadcast_to(b[:, :1], b.shape)),
    ):
        given = cupy.broadcast_to(cupy.asarray(A), A.shape), cupy.asarray(b)
        if A_view.strides[0] == 0:
            given = (
                cupy.broadcast_to(cupy.asarray(A[:1]), A.shape),
                cupy.broadcast_to(cupy.asarray(b[:, :1]), b.shape),
            )
        elif A_view.strides[0] < 0:
            given = given[0][::-1], given[1][:, ::-1]
        else:
            given = given[0].transpose(0, 1, 3, 2), given[1][..., ::-1]
        target = out[::-2, :, 1::2]
        target[...] = np.nan
        solver.solve(*given, cupy.asarray(y0), reverse=True, transpose=True, out=target)
        expected = REFERENCE.linear_recurrence(
            A_view, b_view, y0, reverse=True, transpose=True, method="sequential", out=None
        )
        np.testing.assert_allclose(cupy.asnumpy(target), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("solver", [cyclic_reduction, wide])
def test_what_is_not_finite_stays_behind_its_step(solver, bad):
    A, b, y0 = system(100, 2, 2, dense=True, dtype="float32")
    b[60, 1] = bad
    out = cupy.empty(b.shape, dtype=b.dtype)
    solver.solve(
        cupy.asarray(A), cupy.asarray(b), cupy.asarray(y0), reverse=False, transpose=False, out=out
    )
    finite = np.isfinite(cupy.asnumpy(out)).all(axis=-1)
    assert finite[:60].all()
    assert finite[:, 0].all()
    assert not finite[60:, 1].any()


@pytest.mark.parametrize(("n_state", "dense"), [(1, False), (2, True), (20, True)])
def test_single_precision_is_as_accurate_as_steps(n_state, dense):
    n_steps = 3000
    rng = np.random.default_rng(1)
    b = rng.standard_normal((n_steps, 1, n_state)).astype("float32")
    if dense:
        rotation = np.linalg.qr(rng.standard_normal((n_state, n_state)))[0]
        A = np.broadcast_to(0.999 * rotation, (n_steps, 1, n_state, n_state)).astype("float32")
    else:
        A = np.full((n_steps, 1, n_state), 0.999, dtype="float32")
    options = {"reverse": False, "transpose": False, "out": None}
    exact = REFERENCE.linear_recurrence(
        A.astype(float), b.astype(float), None, method="sequential", **options
    )
    steps = REFERENCE.linear_recurrence(A, b, None, method="sequential", **options)
    parallel = seqsolve.get_backend("cupy").linear_recurrence(
        cupy.asarray(A), cupy.asarray(b), None, method="cyclic_reduction", **options
    )
    error = np.abs(cupy.asnumpy(parallel) - exact).max()
    assert error <= 2 * np.abs(steps - exact).max()


def test_the_same_bits_on_every_run():
    A, b, y0 = map(cupy.asarray, system(500, 3, 4, dense=True, dtype="float32"))
    backend = seqsolve.get_backend("cupy")
    results = [
        cupy.asnumpy(
            backend.linear_recurrence(
                A, b, y0, reverse=False, transpose=False, method="cyclic_reduction", out=None
            )
        )
        for _ in range(4)
    ]
    assert all((result == results[0]).all() for result in results)
