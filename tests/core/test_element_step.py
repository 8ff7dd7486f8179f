"""Element steps: the plain Python oracle against all positions at once, and bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backends import ON_GPU
from support.steps import fixed

import seqsolve
from seqsolve import BlockDiagonal, ElementStepError, element_step
from seqsolve.models import GRU, MultiHeadGRU
from seqsolve.models._activations import rational_sigmoid, rational_tanh


def tanh_step(y_prev, x, params, y_out):
    w, gain = params
    for i in range(len(y_prev)):
        total = x[i]
        for j in range(len(y_prev)):
            total += w[i, j] * y_prev[j]
        y_out[i] = gain * np.tanh(total)


def tanh_jac(y_prev, x, params, jac_out):
    w, gain = params
    for i in range(len(y_prev)):
        total = x[i]
        for j in range(len(y_prev)):
            total += w[i, j] * y_prev[j]
        t = np.tanh(total)
        for j in range(len(y_prev)):
            jac_out[i, j] = gain * (1.0 - t * t) * w[i, j]


def branching_step(y_prev, x, params, y_out):
    for i in range(len(y_prev)):
        y_out[i] = 0.5 * y_prev[i] if y_prev[i] > 0 else math.sin(x[i])


def tanh_cell(rng, n, dtype="float64"):
    params = {"w": 0.4 * rng.standard_normal((n, n)).astype(dtype), "gain": np.array(0.9, dtype)}
    return element_step(tanh_step, tanh_jac, n_state=n, params=params)


def loop(function, y_prev, x, params, shape):
    """Call the function position by position, as its documentation says."""
    out = np.empty((*y_prev.shape[:-1], *shape), y_prev.dtype)
    values = tuple(p if p.ndim else p[()] for p in params)
    for index in np.ndindex(y_prev.shape[:-1]):
        function(y_prev[index], x[index], values, out[index])
    return out


@fixed
@given(
    n=st.integers(1, 4),
    lead=st.sampled_from([(), (3,), (2, 3), (0,)]),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 99),
)
def test_all_positions_at_once_as_one_by_one(n, lead, dtype, seed):
    rng = np.random.default_rng(seed)
    cell = tanh_cell(rng, n, dtype)
    y, x = (rng.standard_normal((*lead, n)).astype(dtype) for _ in range(2))
    params = tuple(cell.params.values())
    tolerance = 10 * np.finfo(dtype).eps
    f, A = cell(y, x), cell.jac(y, x)
    assert f.dtype == A.dtype == dtype
    np.testing.assert_allclose(f, loop(tanh_step, y, x, params, (n,)), tolerance, tolerance)
    np.testing.assert_allclose(A, loop(tanh_jac, y, x, params, (n, n)), tolerance, tolerance)


def test_branches_are_taken_position_by_position():
    cell = element_step(branching_step, n_state=2)
    rng = np.random.default_rng(0)
    y, x = rng.standard_normal((2, 50, 2))
    np.testing.assert_array_equal(cell(y, x), np.where(y > 0, 0.5 * y, np.sin(x)))


def test_numbers_of_positions_do_not_change_in_place():
    def step(y_prev, x, params, y_out):
        a = y_prev[0]
        b = a
        a += x[0]
        a *= 2.0
        a -= b
        a /= 4.0
        y_out[0] = a
        y_out[1] = b

    y, x = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0.5, 0.0], [1.5, 0.0]])
    before = y.copy()
    result = element_step(step, n_state=2)(y, x)
    np.testing.assert_array_equal(y, before)
    np.testing.assert_array_equal(result, [[0.5, 1.0], [1.5, 3.0]])


def test_input_broadcasts_over_the_batch():
    rng = np.random.default_rng(0)
    cell = tanh_cell(rng, 3)
    y, x = rng.standard_normal((5, 4, 3)), rng.standard_normal((5, 1, 3))
    np.testing.assert_array_equal(cell(y, x), cell(y, np.broadcast_to(x, y.shape)))


def test_no_input_and_scalar_input():
    def alone(y_prev, x, params, y_out):
        y_out[0] = 0.5 * y_prev[0] + (1.0 if x is None else x)

    cell = element_step(alone, n_state=1)
    assert cell(np.ones((2, 1)), None).tolist() == [[1.5], [1.5]]
    assert cell(np.ones((2, 1)), np.array([1.0, 2.0])).tolist() == [[1.5], [2.5]]
    assert seqsolve.sequential(cell, None, [0.0], n_steps=3).y[:, 0].tolist() == [1, 1.5, 1.75]


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gru_is_the_array_cell(heads, dtype):
    cell = MultiHeadGRU.random(3, 4, n_heads=heads, dtype=dtype, rng=0)
    rng = np.random.default_rng(1)
    y, x = rng.uniform(-1, 1, (40, 4)).astype(dtype), rng.standard_normal((40, 3)).astype(dtype)
    lam = rng.standard_normal((40, 4)).astype(dtype)
    element = cell.element_step()
    tolerance = 2e-6 if dtype == "float32" else 1e-14
    assert element.jac_structure == BlockDiagonal(4 // heads)
    np.testing.assert_allclose(element(y, x), cell(y, x), 0, tolerance)
    np.testing.assert_allclose(element.jac(y, x), cell.jac(y, x), 0, tolerance)
    mine, exact = element.vjp(y, x, lam), cell.vjp(y, x, lam)
    np.testing.assert_allclose(mine.y_prev, exact.y_prev, 0, 10 * tolerance)
    for name, bar in exact.params.items():
        np.testing.assert_allclose(mine.params[name], bar, 1e-5, 100 * tolerance)


def test_gru_without_biases():
    cell = GRU.random(3, 2, bias=False, dtype="float64", rng=0)
    y, x = np.full((5, 2), 0.3), np.linspace(-1, 1, 15).reshape(5, 3)
    np.testing.assert_allclose(cell.element_step()(y, x), cell(y, x), 1e-14)


def test_rational_activations():
    a = np.concatenate([np.linspace(-12, 12, 400_001), [1e-30, 1e30, -1e30]]).astype(np.float32)
    exact = np.tanh(a.astype(float))
    assert rational_tanh(a).dtype == np.float32
    assert abs(rational_tanh(a) - exact).max() < 4e-7
    assert abs(rational_tanh(a)).max() <= 1
    assert abs(rational_sigmoid(a) - 0.5 * (1 + np.tanh(a.astype(float) / 2))).max() < 4e-7
    assert np.isnan(rational_tanh(np.float32(np.nan)))
    assert 1 - rational_tanh(np.float32(np.inf)) < 4e-7


def test_solvers_and_gradients():
    rng = np.random.default_rng(0)
    cell = tanh_cell(rng, 3)
    x, y0 = rng.standard_normal((200, 3)), np.zeros(3)
    solution = seqsolve.deer(cell, None, x, y0, window=64)
    np.testing.assert_allclose(solution.y, seqsolve.sequential(cell, x, y0).y, 0, 1e-10)
    assert seqsolve.vjp(solution, np.ones_like(solution.y)).x is None
    doubled = cell.with_params({"w": 2 * cell.params["w"]})
    assert list(doubled.params) == ["w", "gain"]
    assert abs(seqsolve.sequential(doubled, x, y0).y - solution.y).max() > 0.01


def test_repr():
    assert repr(tanh_cell(np.random.default_rng(0), 2)) == (
        "ElementStep(tanh_step, n_state=2, dense)"
    )


def unset_step(y_prev, x, params, y_out):
    y_out[0] = y_prev[0]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: element_step(3, n_state=1), TypeError, "`step` must be callable; got 3"),
        (lambda: element_step(tanh_step, 3, n_state=1), TypeError, "`jac` must be callable"),
        (lambda: element_step(tanh_step, n_state=0), ValueError, "`n_state` must be at least 1"),
        (
            lambda: element_step(tanh_step, n_state=2, jac_structure="block_diagonal"),
            ValueError,
            r"`jac_structure` must be 'diagonal', 'dense' or BlockDiagonal\(block_size\)",
        ),
        (
            lambda: element_step(tanh_step, n_state=3, jac_structure=BlockDiagonal(2)),
            ValueError,
            "block size that divides the state's 3 elements; got 2",
        ),
        (
            lambda: element_step(tanh_step, n_state=2, params=[1.0]),
            TypeError,
            r"`params` must map names to arrays; got \[1.0\]",
        ),
        (
            lambda: element_step(tanh_step, n_state=2, params={"w": ["a"]}),
            TypeError,
            r"`params\['w'\]` must be an array of numbers",
        ),
        (
            lambda: tanh_cell(np.random.default_rng(0), 2).with_params({"v": 1}),
            ValueError,
            "`params` must be named w, gain; got v",
        ),
        (
            lambda: tanh_cell(np.random.default_rng(0), 2)(np.zeros((4, 3)), np.zeros((4, 3))),
            ValueError,
            r"`y_prev` must have n_state = 2 elements on its last axis; got shape \(4, 3\)",
        ),
        (
            lambda: element_step(unset_step, n_state=2)(np.zeros((4, 2)), None),
            ElementStepError,
            "`step` must set every element of `y_out`; 1 is not set",
        ),
        (
            lambda: seqsolve.deer(
                tanh_cell(np.random.default_rng(0), 2), None, (np.zeros((4, 2)),) * 2, [0.0, 0.0]
            ),
            TypeError,
            "`x` must be one array, or None, for an element step; got tuple",
        ),
        (
            lambda: seqsolve.deer(
                tanh_cell(np.random.default_rng(0), 2), None, np.zeros((4, 2)), np.zeros((3, 2, 2))
            ),
            ValueError,
            "`x` must have at least the 3 leading axes",
        ),
        (
            lambda: seqsolve.deer(
                tanh_cell(np.random.default_rng(0), 2), None, np.zeros((4, 2)), np.zeros(3)
            ),
            ValueError,
            "`y0` must have the 2 states of the element step on its last axis; got 3",
        ),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("backend", sorted({"numpy", "numba"} - ON_GPU))
def test_what_a_branch_does_not_set_is_not_a_number(backend):
    """Whatever memory held before is never a state."""

    def step(y_prev, x, params, y_out):
        if y_prev[0] > 0.2:
            y_out[0] = 0.5 * y_prev[0]

    if not seqsolve.backend_status(backend).available:
        pytest.skip(seqsolve.backend_status(backend).reason)
    cell = seqsolve.element_step(step, n_state=1)
    solution = seqsolve.sequential(cell, None, [1.0], n_steps=6, backend=backend)
    np.testing.assert_array_equal(solution.y[:, 0], [0.5, 0.25, 0.125, np.nan, np.nan, np.nan])
    assert solution.status is seqsolve.Status.NON_FINITE
    assert solution.converged_steps == 3
