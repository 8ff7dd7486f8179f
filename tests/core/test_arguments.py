"""Arguments of every kind are understood, and left as they are; solutions can be kept and sent."""

from __future__ import annotations

import copy
import operator
import pickle
import sys
import threading
from types import ModuleType

import numpy as np
import pytest
from support.calls import f, jac

import seqsolve
from seqsolve.step import ArrayStep

X = np.sin(np.arange(36.0)).reshape(12, 3)
EXPECTED = seqsolve.sequential(f, X, np.zeros(3)).y


class Table:
    """What slices mean in a table is its own business."""

    dtype, shape = "frame", (12, 3)

    def __array__(self, dtype=None, copy=None):
        return np.array(X, dtype)

    def __getitem__(self, index):
        raise KeyError(index)


class Series(Table):
    dtype, shape = np.dtype(float), (12, 3)

    def to_numpy(self):
        return X


class Tensor(Table):
    """An array of a library whose dtypes NumPy does not know."""

    dtype, shape = "torch.float64", (12, 3)


KINDS = {
    "lists": X.tolist(),
    "lists of NumPy's numbers": list(map(list, X)),
    "nothing masked": np.ma.masked_invalid(X),
    "Fortran order": np.asfortranarray(X),
    "reversed": X[::-1].copy()[::-1],
    "other byte order": X.astype(">f8"),
    "table": Table(),
    "series": Series(),
    "tensor": Tensor(),
}


@pytest.mark.parametrize("x", KINDS.values(), ids=KINDS)
def test_what_is_an_array(x):
    solution = seqsolve.deer(f, jac, x, np.zeros(3))
    assert solution.success
    np.testing.assert_allclose(solution.y, EXPECTED, 1e-12, 1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_a_list_of_numpys_numbers_is_one_array(dtype):
    x = [dtype(i % 2) for i in range(8)]
    y = seqsolve.sequential(lambda y, x: 0.5 * y + x[:, None], x, [0.0]).y
    expected = seqsolve.sequential(f, np.array(x, float)[:, None], [0.0]).y
    np.testing.assert_array_equal(y, expected)


def test_arguments_stay_as_they_are():
    x, y0, guess = X.copy(), np.ones(3), np.ones((12, 3))
    for call in (
        lambda: seqsolve.deer(f, jac, x, y0, initial_guess=guess),
        lambda: seqsolve.deer(f, "cs", x, y0, initial_guess=guess, window=5),
        lambda: seqsolve.sequential(f, x, y0),
        lambda: seqsolve.jacobi(seqsolve.triangular_map(f, x, y0), guess),
    ):
        call()
        np.testing.assert_array_equal(x, X)
        np.testing.assert_array_equal(y0, 1)
        np.testing.assert_array_equal(guess, 1)


def test_steps_that_work_in_place_leave_the_callers_arrays_alone():
    def in_place(y, x):
        y *= 0.5
        x += y
        return x

    x, y0 = X.copy(), np.ones(3)
    with pytest.raises(ValueError, match="it changed `x` in place"):
        seqsolve.deer(in_place, None, x, y0)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y0, 1)


# Where results are stored


@pytest.mark.parametrize("solver", ["deer", "sequential", "jacobi", "gauss_seidel"])
@pytest.mark.parametrize("shared", ["x", "y0"])
def test_results_are_not_stored_over_what_gradients_need(solver, shared):
    x, y0 = X.copy(), np.zeros(3)
    out = x if shared == "x" else np.zeros((12, 3))
    if shared == "y0":
        y0 = out[-1]
    h = seqsolve.triangular_map(f, {"u": x}["u"], y0)
    call = {
        "deer": lambda: seqsolve.deer(f, jac, x, y0, out=out),
        "sequential": lambda: seqsolve.sequential(f, x, y0, out=out),
        "jacobi": lambda: seqsolve.jacobi(h, np.zeros(h.shape), out=out),
        "gauss_seidel": lambda: seqsolve.gauss_seidel(h, np.zeros(h.shape), out=out),
    }[solver]
    with pytest.raises(ValueError, match=f"`out` must not share memory with `{shared}`"):
        call()
    np.testing.assert_array_equal(x, X)


def test_results_may_be_stored_beside_the_input_and_over_the_guess():
    both = np.concatenate([X, np.zeros_like(X)], axis=1)
    solution = seqsolve.deer(f, jac, both[:, :3], np.zeros(3), out=both[:, 3:])
    np.testing.assert_allclose(both[:, 3:], EXPECTED, 1e-12, 1e-12)
    np.testing.assert_array_equal(both[:, :3], X)
    again = seqsolve.deer(f, jac, X, np.zeros(3), initial_guess=solution.y, out=solution.y)
    assert again.nit == 0
    np.testing.assert_allclose(again.y, EXPECTED, 1e-12, 1e-12)


# Solutions as values


def there_and_back(solution):
    return pickle.loads(pickle.dumps(solution))


SOLVED = {
    "function": lambda: seqsolve.deer(f, jac, X, np.zeros(3)),
    "cell": lambda: seqsolve.deer(
        seqsolve.models.GRU.random(3, 2, rng=0), None, X, np.zeros(2), window=5
    ),
    "step": lambda: seqsolve.sequential(ArrayStep(f, jac), X, np.zeros(3)),
    "sweeps": lambda: seqsolve.jacobi(seqsolve.triangular_map(f, X, np.zeros(3)), X),
}


@pytest.mark.parametrize("solve", SOLVED.values(), ids=SOLVED)
@pytest.mark.parametrize("send", [copy.copy, copy.deepcopy, there_and_back])
def test_solutions_can_be_copied_and_sent(solve, send):
    solution = solve()
    arrived = send(solution)
    np.testing.assert_array_equal(arrived.y, solution.y)
    assert repr(arrived) == repr(solution)
    cotangent = np.ones_like(solution.y)
    np.testing.assert_array_equal(
        seqsolve.vjp(arrived, cotangent).y0, seqsolve.vjp(solution, cotangent).y0
    )
    np.testing.assert_array_equal(arrived.error_bound(), solution.error_bound())
    assert arrived.problem.backend is solution.problem.backend


def test_a_backend_that_is_not_registered_stays_the_same_in_a_copy():
    from support.read_only import ReadOnlyNumpy

    solution = seqsolve.deer(f, jac, X, np.zeros(3), backend=ReadOnlyNumpy())
    arrived = copy.copy(solution.problem)
    assert arrived.backend is solution.problem.backend


def test_solutions_compare_by_identity():
    a, b = SOLVED["function"](), SOLVED["function"]()
    assert a == a
    assert a != b
    assert len({a, b, a}) == 2
    assert operator.contains([b, a], a)


# Around a solve


def test_two_threads_solve_at_once():
    cell = seqsolve.models.GRU.random(3, 4, rng=0)
    x = np.tile(X, (50, 1))
    expected = seqsolve.deer(cell, None, x, np.zeros(4), window=100).y
    results = {}

    def solve(i):
        results[i] = [seqsolve.deer(cell, None, x, np.zeros(4), window=100).y for _ in range(5)]

    threads = [threading.Thread(target=solve, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(4):
        for y in results[i]:
            np.testing.assert_array_equal(y, expected)


def test_no_progress_bar_is_left_behind_by_a_wrong_call(monkeypatch):
    bars = []

    class Bar:
        def __init__(self, **_):
            bars.append("open")

        def update(self, n):
            pass

        def close(self):
            bars[-1] = "closed"

    module = ModuleType("tqdm.auto")
    module.tqdm = Bar
    monkeypatch.setitem(sys.modules, "tqdm.auto", module)
    with pytest.raises(ValueError, match="`initial_guess`"):
        seqsolve.deer(f, jac, X, np.zeros(3), initial_guess=np.zeros(3), progress=True)
    assert bars == []
    with pytest.raises(KeyError):
        seqsolve.deer(f, jac, X, np.zeros(3), callback=lambda state: {}["a"], progress=True)
    assert bars == ["closed"]


def test_a_constant_step_has_a_complex_step():
    solution = seqsolve.deer(lambda y, x: np.cos(x), "cs", X, np.zeros(3))
    np.testing.assert_array_equal(solution.y, np.cos(X))
    assert not seqsolve.vjp(solution, np.ones_like(X)).y0.any()
