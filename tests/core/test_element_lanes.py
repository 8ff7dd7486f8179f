"""What a function for one position may do: the same, and at all positions at once."""

from __future__ import annotations

import numpy as np
import pytest

import seqsolve
from seqsolve import BlockDiagonal, element_step

RNG = np.random.default_rng(0)
Y, X = RNG.uniform(0.5, 2, (7, 3, 4)), RNG.uniform(0.5, 2, (7, 3, 2, 2))
PARAMS = {"w": RNG.uniform(0.5, 2, (4, 4)), "gain": np.array(0.75)}


def operators(y_prev, x, params, y_out):
    a, b = y_prev[0], y_prev[1]
    y_out[0] = (a + b) * (a - b) / (2.0 + a**b) - (-a) + (3.0 - b) * (1.0 / a)
    y_out[1] = a // 0.3 + b % 0.3
    y_out[2] = abs(a - b) + np.minimum(a, b) + (a < b) + (b >= 1.0)
    quotient, rest = divmod(a, 0.3)
    y_out[3] = quotient + rest


def in_place(y_prev, x, params, y_out):
    for i in range(4):
        before = y_prev[i]
        a = before
        a += 1.5
        a -= x[0, 1]
        a *= 2.0
        a /= 3.0
        a = abs(a)
        a **= 2.5
        y_out[i] = a + before


def results_read_again(y_prev, x, params, y_out):
    y_out[0] = y_prev[0]
    for i in range(1, 4):
        y_out[i] = 0.5 * y_out[i - 1] + y_prev[i]
    y_out[-1] += 1.0
    y_out[0] = y_out[-1]


def parameters(y_prev, x, params, y_out):
    w, gain = params
    for i in range(4):
        y_out[i] = gain * w[i, -1] * y_prev[i] + w[-4][i]


def indices_from_the_end(y_prev, x, params, y_out):
    for i in range(1, 5):
        y_out[-i] = y_prev[-i] + x[-1, -2] + 2 * x[-2, -1] + 4 * x[0, 0]


def what_arguments_are(y_prev, x, params, y_out):
    y_out[0] = len(y_prev) + 10 * y_prev.ndim + 100 * y_prev.size + 1000 * y_prev.shape[0]
    y_out[1] = len(x) + 10 * x.ndim + 100 * x.size + 1000 * x.shape[1]
    y_out[2] = len(y_out) + 10 * y_out.ndim + 100 * y_out.size + 1000 * y_out.shape[0]
    y_out[3] = (y_prev.dtype == "float64") + 2 * (x.dtype == "float64") + 4 * (y_out.dtype == "f8")


def constants(y_prev, x, params, y_out):
    y_out[0] = y_prev[2]
    y_out[1] = 2
    y_out[2] = params[1]
    y_out[3] = x[1, 0]


AT_ONCE = [
    operators,
    in_place,
    results_read_again,
    parameters,
    indices_from_the_end,
    what_arguments_are,
    constants,
]


def branch(y_prev, x, params, y_out):
    for i in range(4):
        y_out[i] = y_prev[i] if y_prev[i] > 1 else x[0, 0]


def slices(y_prev, x, params, y_out):
    y_out[:] = y_prev[::-1] + x[0].sum()


def number(y_prev, x, params, y_out):
    for i in range(4):
        y_out[i] = float(y_prev[i]) + int(x[0, 0])


def rows(y_prev, x, params, y_out):
    for i in range(4):
        y_out[i] = x[0] @ x[1] + y_prev[i]


def sums(y_prev, x, params, y_out):
    for i in range(4):
        y_out[i] = np.sum(y_prev) + np.add.reduce([y_prev[i], x[0, 0]])


def options(y_prev, x, params, y_out):
    for i in range(4):
        y_out[i] = np.add(y_prev[i], x[0, 0], dtype="float32", casting="same_kind")


ONE_BY_ONE = [branch, options, slices, number, rows, sums]


def oracle(function):
    expected = np.empty_like(Y)
    for index in np.ndindex(Y.shape[:-1]):
        function(Y[index], X[index], (PARAMS["w"], PARAMS["gain"][()]), expected[index])
    return expected


@pytest.mark.parametrize("function", AT_ONCE + ONE_BY_ONE)
def test_every_position_as_if_it_were_alone(function):
    calls = []

    def counted(*args):
        calls.append(args)
        function(*args)

    y, x = Y.copy(), X.copy()
    result = element_step(counted, n_state=4, params=PARAMS)(y, x)
    np.testing.assert_allclose(result, oracle(function), rtol=1e-14)
    assert len(calls) == 1 + (0 if function in AT_ONCE else 7 * 3)
    np.testing.assert_array_equal(y, Y)
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize("structure", ["diagonal", BlockDiagonal(2), "dense"], ids=str)
@pytest.mark.parametrize("branches", [False, True])
def test_jacobians_of_every_structure(structure, branches):
    def jac(y_prev, x, params, jac_out):
        if branches and y_prev[0] > 1:
            pass
        for k, index in enumerate(np.ndindex(jac_out.shape)):
            jac_out[index if len(index) > 1 else index[0]] = k * y_prev[k % 4]

    cell = element_step(operators, jac, n_state=4, params=PARAMS, jac_structure=structure)
    A = cell.jac(Y, X)
    matrix = {"diagonal": (4,), "dense": (4, 4)}.get(structure, (2, 2, 2))
    assert A.shape == (7, 3, *matrix)
    k = np.arange(np.prod(matrix))
    np.testing.assert_array_equal(A, (k * Y[..., k % 4]).reshape(A.shape))


@pytest.mark.parametrize("index", [4, -5, 400])
@pytest.mark.parametrize("what", ["y_prev", "y_out", "x"])
def test_there_are_no_elements_out_of_bounds(index, what):
    def step(y_prev, x, params, y_out):
        for i in range(4):
            y_out[i] = y_prev[i]
        if what == "y_prev":
            y_out[0] = y_prev[index]
        elif what == "x":
            y_out[0] = x[0, index]
        else:
            y_out[index] = y_prev[0]

    with pytest.raises(IndexError):
        element_step(step, n_state=4)(Y, X)


def test_numbers_for_input_at_one_position_and_at_many():
    """Items of shape () arrive as numbers; leading axes of 1 are for all."""

    def step(y_prev, x, params, y_out):
        for i in range(4):
            y_out[i] = y_prev[i] * x

    def one_by_one(y_prev, x, params, y_out):
        step(y_prev, float(x), params, y_out)

    x = np.arange(7.0)[:, None]
    for function in (step, one_by_one):
        cell = element_step(function, n_state=4)
        for given in (x, np.broadcast_to(x, (7, 3))):
            np.testing.assert_array_equal(cell(Y, given), Y * x[..., None])
        np.testing.assert_array_equal(cell(Y[:1], np.ones((7, 3))), np.repeat(Y[:1], 7, 0))
        np.testing.assert_array_equal(cell(Y[0, 0], np.array(2.0)), 2 * Y[0, 0])


@pytest.mark.parametrize("function", [in_place, branch])
@pytest.mark.parametrize("dtypes", [("float32", "float32"), ("float32", "float64"), ("f8", "f4")])
def test_results_have_the_common_dtype(function, dtypes):
    cell = element_step(function, n_state=4)
    expected = np.result_type(*dtypes)
    assert cell(Y.astype(dtypes[0]), X.astype(dtypes[1])).dtype == expected
    wide = element_step(function, n_state=4, params={"w": np.ones(1)})
    assert wide(Y.astype("f4"), X.astype("f4")).dtype == "float64"
    half = element_step(function, n_state=4, params={"w": np.ones(1, "int8")})
    assert half.params["w"].dtype == "float64"


class Steppable:
    """A bound step for which one step alone has a way of its own."""

    def __init__(self, x, calls):
        self.x, self.calls = x, calls

    def __call__(self, y_prev):
        return 0.5 * y_prev + self.x

    def step(self, t, y_prev):
        self.calls.append(t)
        return 0.5 * y_prev + self.x[t : t + 1]


def test_steps_that_can_be_taken_alone_are_taken_so():
    calls = []

    class Step:
        def __call__(self, y_prev, x):
            raise AssertionError("it is to be bound")

        def bind(self, x):
            return Steppable(x, calls)

    x = np.sin(np.arange(30.0))[:, None]
    solution = seqsolve.sequential(Step(), x, [0.0])
    expected = seqsolve.sequential(lambda y, x: 0.5 * y + x, x, [0.0])
    np.testing.assert_array_equal(solution.y, expected.y)
    assert calls == list(range(30))
    assert solution.nfev == expected.nfev


def test_complex_values_of_a_real_step_are_an_error():
    def step(y_prev, x, params, y_out):
        y_out[0] = 0.5 * y_prev[0]
        y_out[1] = 1j * abs(y_prev[0])

    cell = seqsolve.element_step(step, n_state=2)
    with pytest.raises(TypeError, match="`step` must be real for real arguments; element 1 is not"):
        seqsolve.sequential(cell, None, np.ones(2), n_steps=5)
    assert seqsolve.sequential(cell, None, np.ones(2, complex), n_steps=5).success
