"""The Numba backend's compiled steps against the plain Python oracle."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.steps import fixed

import seqsolve
from seqsolve import BlockDiagonal, ElementStepError, Status, element_step
from seqsolve.backend import FusedSteps
from seqsolve.models import MultiHeadGRU
from seqsolve_numba import NumbaBackend

BACKEND = NumbaBackend()

RTOL = {"float32": 1e-5, "float64": 1e-11}


def squash(a):
    return a / (1.0 + abs(a))


def slope(a):
    d = 1.0 / (1.0 + abs(a))
    return d * d


def dense_step(y_prev, x, params, y_out):
    w, gain = params
    for i in range(len(y_prev)):
        total = x[i]
        for j in range(len(y_prev)):
            total += w[i, j] * y_prev[j]
        y_out[i] = gain * squash(total)


def dense_jac(y_prev, x, params, jac_out):
    w, gain = params
    for i in range(len(y_prev)):
        total = x[i]
        for j in range(len(y_prev)):
            total += w[i, j] * y_prev[j]
        for j in range(len(y_prev)):
            jac_out[i, j] = gain * slope(total) * w[i, j]


def diagonal_step(y_prev, x, params, y_out):
    w, gain = params
    for i in range(len(y_prev)):
        y_out[i] = gain * squash(w[i, i] * y_prev[i] + x[i])


def diagonal_jac(y_prev, x, params, jac_out):
    w, gain = params
    for i in range(len(y_prev)):
        jac_out[i] = gain * slope(w[i, i] * y_prev[i] + x[i]) * w[i, i]


def make_cell(structure, n, dtype, rng):
    w = rng.uniform(-0.5, 0.5, (n, n)).astype(dtype) / np.sqrt(n).astype(dtype)
    params = {"w": w, "gain": np.array(0.9, dtype)}
    functions = (dense_step, dense_jac) if structure == "dense" else (diagonal_step, diagonal_jac)
    return element_step(*functions, n_state=n, params=params, jac_structure=structure)


def make_problem(cell, n_steps, batch, dtype, rng):
    x = rng.standard_normal((n_steps, *batch, cell.n_state)).astype(dtype)
    return x, rng.standard_normal((*batch, cell.n_state)).astype(dtype)


@fixed
@given(
    kind=st.sampled_from([("dense", 3, "float64"), ("diagonal", 2, "float32")]),
    n_steps=st.integers(0, 200),
    batch=st.sampled_from([(), (1,), (5,), (2, 3)]),
    window=st.integers(2, 130),
    seed=st.integers(0, 99),
)
def test_compiled_as_the_oracle(kind, n_steps, batch, window, seed):
    structure, n, dtype = kind
    rng = np.random.default_rng(seed)
    cell = make_cell(structure, n, dtype, rng)
    x, y0 = make_problem(cell, n_steps, batch, dtype, rng)
    oracle = seqsolve.sequential(cell, x, y0, backend="numpy")
    tolerance = {"rtol": RTOL[dtype], "atol": RTOL[dtype]}
    stepped = seqsolve.sequential(cell, x, y0, backend=BACKEND)
    np.testing.assert_allclose(stepped.y, oracle.y, **tolerance)
    assert stepped.y.dtype == oracle.y.dtype == dtype
    solved = seqsolve.deer(cell, None, x, y0, backend=BACKEND, window=window, on_failure="raise")
    np.testing.assert_allclose(solved.y, oracle.y, **tolerance)
    assert (solved.converged_steps == n_steps).all()
    assert [r.start for r in solved.history] == list(range(0, n_steps, window))


@pytest.mark.parametrize("batch", [(8,), (9,), (64,), (3, 43)])
@pytest.mark.parametrize(
    "kind", [("dense", 8, "float64"), ("dense", 9, "float32"), ("diagonal", 1, "float32")]
)
def test_many_sequences_abreast(kind, batch):
    structure, n, dtype = kind
    rng = np.random.default_rng(7)
    cell = make_cell(structure, n, dtype, rng)
    x, y0 = make_problem(cell, 20, batch, dtype, rng)
    oracle = seqsolve.sequential(cell, x, y0, backend="numpy")
    stepped = seqsolve.sequential(cell, x, y0, backend=BACKEND)
    np.testing.assert_allclose(stepped.y, oracle.y, rtol=RTOL[dtype], atol=RTOL[dtype])


@pytest.mark.parametrize("item", [(1,), (33,)])
def test_abreast_every_sequence_has_its_own_branch(item):
    def step(y_prev, x, params, y_out):
        if x[0] > 0.0:
            y_out[0] = 0.5 * y_prev[0] + x[0]
        elif x[0] > -1.0:
            y_out[0] = math.sin(y_prev[0])

    cell = element_step(step, n_state=1)
    x = np.random.default_rng(3).standard_normal((30, 70, *item))
    x[..., 0] = np.maximum(x[..., 0], -0.9)
    y = seqsolve.sequential(cell, x, np.ones((70, 1)), backend=BACKEND).y
    oracle = seqsolve.sequential(cell, x, np.ones((70, 1)), backend="numpy").y
    np.testing.assert_allclose(y, oracle, 1e-14)
    x[7, 5, 0] = -2.0
    with np.errstate(all="ignore"):
        unset = seqsolve.sequential(cell, x, np.ones((70, 1)), backend=BACKEND, n_steps=30)
    assert not unset.success
    np.testing.assert_array_equal(np.isnan(unset.y[8:, :, 0]).any(axis=0), np.arange(70) == 5)


@pytest.mark.parametrize("batch", [(), (3,)])
def test_iterates_are_those_of_the_core(batch):
    rng = np.random.default_rng(0)
    cell = make_cell("dense", 3, "float64", rng)
    x, y0 = make_problem(cell, 300, batch, "float64", rng)
    options = {"window": 100, "maxiter": 2, "on_failure": "return", "rtol": 1e-14, "atol": 1e-14}
    for guess in (None, rng.standard_normal((300, *batch, 3))):
        ours, core = (
            seqsolve.deer(cell, None, x, y0, backend=b, initial_guess=guess, damping=0.1, **options)
            for b in (BACKEND, "numpy")
        )
        assert ours.status == core.status == Status.MAXITER
        np.testing.assert_allclose(ours.y[:100], core.y[:100], 1e-12, 1e-12)
        np.testing.assert_array_equal(ours.converged_steps, core.converged_steps)
        assert ours.history[0].nit == core.history[0].nit
        np.testing.assert_allclose(ours.history[0].residuals, core.history[0].residuals, 1e-9)
        assert (ours.residual == np.inf).all()


def test_the_rest_is_stepped_through():
    rng = np.random.default_rng(0)
    cell = make_cell("dense", 2, "float64", rng)
    x, y0 = make_problem(cell, 300, (2,), "float64", rng)
    options = {"window": 64, "maxiter": 1, "on_failure": "sequential"}
    solution = seqsolve.deer(cell, None, x, y0, backend=BACKEND, **options)
    assert solution.success
    assert solution.status is Status.SEQUENTIAL
    np.testing.assert_allclose(solution.y, seqsolve.sequential(cell, x, y0).y, 1e-12, 1e-12)


def growing_step(y_prev, x, params, y_out):
    y_out[0] = 4.0 * y_prev[0] * (1.0 + y_prev[0] * y_prev[0])


def growing_jac(y_prev, x, params, jac_out):
    jac_out[0] = 4.0 + 12.0 * y_prev[0] * y_prev[0]


def test_what_overflows_is_no_success():
    cell = element_step(growing_step, growing_jac, n_state=1, jac_structure="diagonal")
    for window in (1, 20):
        solution = seqsolve.deer(
            cell, None, None, [1.0], n_steps=40, window=window, backend=BACKEND, on_failure="return"
        )
        assert solution.status is Status.NON_FINITE
        assert 0 < solution.converged_steps < 20


@pytest.mark.parametrize(("heads", "dtype"), [(1, "float32"), (4, "float32"), (2, "float64")])
def test_gru(heads, dtype):
    cell = MultiHeadGRU.random(3, 4, n_heads=heads, dtype=dtype, rng=0)
    rng = np.random.default_rng(1)
    x, y0 = rng.standard_normal((400, 5, 3)).astype(dtype), np.zeros((5, 4), dtype)
    exact = seqsolve.sequential(cell, x, y0).y
    element = cell.element_step()
    tolerance = 2e-5 if dtype == "float32" else 1e-11
    for window in (1, 100):
        solution = seqsolve.deer(element, None, x, y0, backend=BACKEND, window=window)
        assert solution.success
        np.testing.assert_allclose(solution.y, exact, 0, tolerance)
    gradient = seqsolve.vjp(solution, np.ones_like(exact))
    assert gradient.x.shape == x.shape
    assert gradient.params["weight_hh"].shape == (heads, 12 // heads, 4 // heads)


def test_shared_input_wide_item_and_scalar_item():
    def step(y_prev, x, params, y_out):
        y_out[0] = 0.5 * y_prev[0] + x[1, 0]

    def scalar(y_prev, x, params, y_out):
        y_out[0] = 0.5 * y_prev[0] + x

    rng = np.random.default_rng(0)
    x, y0 = rng.standard_normal((50, 1, 2, 3)), np.zeros((4, 1))
    for function, data in ((step, x), (scalar, x[..., 1, 0])):
        cell = element_step(function, n_state=1)
        ours, oracle = (seqsolve.sequential(cell, data, y0, backend=b).y for b in (BACKEND, None))
        np.testing.assert_allclose(ours, oracle, 1e-14)


@pytest.mark.parametrize("dtype", ["float16", ">f4", "int32", "bool"])
def test_input_of_other_dtypes(dtype):
    rng = np.random.default_rng(0)
    cell = make_cell("diagonal", 2, "float32", rng)
    x = rng.integers(0, 2, (100, 2)).astype(dtype)
    y0 = np.zeros(2, "float32")
    ours, oracle = (seqsolve.sequential(cell, x, y0, backend=b).y for b in (BACKEND, None))
    assert ours.dtype == oracle.dtype
    np.testing.assert_allclose(ours, oracle, 1e-6)


def test_many_windows_and_iterations_take_little_memory():
    rng = np.random.default_rng(0)
    cell = make_cell("diagonal", 2, "float32", rng)
    x, y0 = make_problem(cell, 5000, (), "float32", rng)
    solution = seqsolve.deer(cell, None, x, y0, backend=BACKEND, window=2, maxiter=10**9)
    assert solution.success
    assert len(solution.history) == 2500


def test_strides_and_read_only_input():
    rng = np.random.default_rng(0)
    cell = make_cell("dense", 2, "float64", rng)
    x = rng.standard_normal((2, 400)).T[::-2]
    x.flags.writeable = False
    ours, oracle = (seqsolve.sequential(cell, x, [0.0, 1.0], backend=b).y for b in (BACKEND, None))
    np.testing.assert_allclose(ours, oracle, 1e-12)


def test_complex_states_step_and_iterate():
    def step(y_prev, x, params, y_out):
        y_out[0] = 0.4 * y_prev[0] * y_prev[0] + x[0]

    def jac(y_prev, x, params, jac_out):
        jac_out[0] = 0.8 * y_prev[0]

    cell = element_step(step, jac, n_state=1, jac_structure="diagonal")
    x = 0.3 * np.exp(1j * np.arange(100.0))[:, None]
    oracle = seqsolve.sequential(cell, x, [0j]).y
    np.testing.assert_allclose(seqsolve.sequential(cell, x, [0j], backend=BACKEND).y, oracle, 1e-12)
    solution = seqsolve.deer(cell, None, x, [0j], backend=BACKEND, window=50)
    np.testing.assert_allclose(solution.y, oracle, 0, 1e-11)


def test_callers_on_many_threads():
    rng = np.random.default_rng(0)
    cell = make_cell("dense", 2, "float32", rng)
    x, y0 = make_problem(cell, 2000, (40,), "float32", rng)
    alone = seqsolve.sequential(cell, x, y0, backend=BACKEND).y
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(seqsolve.sequential, cell, x, y0, backend=BACKEND) for _ in range(8)]
    for run in runs:
        np.testing.assert_array_equal(run.result().y, alone)


def test_callbacks_see_every_iteration():
    rng = np.random.default_rng(0)
    cell = make_cell("dense", 2, "float64", rng)
    x, y0 = make_problem(cell, 60, (), "float64", rng)
    seen = []
    solution = seqsolve.deer(
        cell, None, x, y0, backend=BACKEND, window=30, callback=lambda s: seen.append(s.iteration)
    )
    assert len(seen) == solution.nit


def allocates(y_prev, x, params, y_out):
    copy = np.zeros(2)
    for i in range(2):
        y_out[i] = copy[i] + x[i]


def slices(y_prev, x, params, y_out):
    y_out[:] = 0.5 * y_prev


def in_a_helper(y_prev, x, params, y_out):
    y_out[0] = y_out[1] = faulty_helper(y_prev[0])


def faulty_helper(a):
    return a + "text"


def calls_itself(y_prev, x, params, y_out):
    if y_prev[0] > 100.0:
        calls_itself(y_prev, x, params, y_out)
    y_out[0] = y_out[1] = 1.0


@pytest.mark.parametrize(
    ("function", "line", "reason"),
    [
        (allocates, r"copy = np.zeros\(2\)", "It allocates memory"),
        (slices, r"y_out\[:\] = 0.5 \* y_prev", "It allocates memory"),
        (in_a_helper, 'return a \\+ "text"', r"No implementation of function .*add\(float64"),
        (calls_itself, "An element step must not call itself; calls_itself does", ""),
        (math.tanh, "must be a plain Python function; got <built-in function tanh>", ""),
    ],
)
def test_a_step_that_does_not_compile_shows_its_line(function, line, reason):
    cell = element_step(function, n_state=2)
    with pytest.raises(ElementStepError, match=line) as caught:
        seqsolve.sequential(cell, np.ones((5, 2)), [0.0, 0.0], backend=BACKEND)
    assert len(str(caught.value)) < 600
    if reason:
        caught.match(reason)
        caught.match(r"test_numba_backend.py, line \d+")


def test_a_jacobian_that_does_not_compile_shows_its_line():
    cell = element_step(diagonal_step, slices, n_state=2, params={"w": np.eye(2), "gain": 1.0})
    with pytest.raises(ElementStepError, match=r"`jac` cannot be compiled"):
        seqsolve.deer(cell, None, np.ones((5, 2)), [0.0, 0.0], backend=BACKEND, window=5)


def unset(y_prev, x, params, y_out):
    y_out[0] = 0.5 * y_prev[0]


def test_elements_that_are_not_set_are_no_success():
    cell = element_step(unset, n_state=2)
    solution = seqsolve.sequential(cell, None, [0.0, 0.0], n_steps=5, backend=BACKEND)
    assert solution.status is Status.NON_FINITE


def test_the_capability():
    assert isinstance(BACKEND, FusedSteps)
    assert not isinstance(seqsolve.get_backend("numpy"), FusedSteps)
    assert BACKEND.describe()["threads"].isdigit()
    assert BlockDiagonal(2).block_size == 2
