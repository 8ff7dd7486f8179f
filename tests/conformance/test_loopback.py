"""The core runs on arrays that are no NumPy arrays, by the backend's primitives alone."""

from __future__ import annotations

import loopback
import numpy as np
import pytest

import seqsolve
from seqsolve.testing import dot_test


def f(y, x):
    return np.tanh(0.7 * y + x)


def jac(y, x):
    return 0.7 * (1 - f(y, x) ** 2)


X = np.sin(np.arange(60.0)).reshape(30, 2)


@pytest.fixture
def backend():
    engine = seqsolve.get_backend("loopback")
    engine.calls.clear()
    return engine


def test_the_arrays_are_hostile():
    a = loopback.asarray(X)
    with pytest.raises(TypeError, match="do not convert"):
        np.asarray(a)
    for mix in (lambda: a + X, lambda: X + a, lambda: a @ X.T, lambda: np.add(X, a)):
        with pytest.raises(TypeError, match="mixed"):
            mix()
    with pytest.raises(TypeError, match="mixed"):
        a[:] = X
    with pytest.raises(TypeError, match="mixed"):
        a[np.array([0, 1])]
    with pytest.raises(TypeError, match="mixed"):
        loopback.concatenate([a, X])
    with pytest.raises(TypeError):
        np.linalg.norm(a)
    with pytest.raises(AttributeError, match="no attribute 'norm'"):
        _ = loopback.linalg.norm


def test_the_arrays_answer_numpy():
    a = loopback.asarray(X)
    assert isinstance(np.tanh(a), loopback.Array)
    assert isinstance(np.concatenate([a, a]), loopback.Array)
    assert isinstance(a.max(), loopback.Array)
    assert float(np.float64(2) * a[3, 1]) == 2 * X[3, 1]
    a += 1
    np.testing.assert_array_equal(a.get(), X + 1)


def test_newton_iterations_use_the_primitives(backend):
    solution = seqsolve.deer(f, jac, loopback.asarray(X), loopback.asarray(np.zeros(2)))
    assert solution.backend == "loopback"
    assert backend.calls["newton_update"] == solution.nit
    assert backend.calls["residual_test"] > solution.nit
    np.testing.assert_allclose(
        solution.y.get(), seqsolve.deer(f, jac, X, np.zeros(2)).y, atol=1e-12
    )


def test_gradients_and_exponents_use_the_primitives(backend):
    solution = seqsolve.sequential(f, loopback.asarray(X), loopback.asarray(np.zeros(2)))
    before = backend.calls["linear_recurrence"]
    dot_test(solution)
    assert backend.calls["linear_recurrence"] > before
    before = backend.calls["linear_recurrence"]
    seqsolve.lyapunov_exponent(solution)
    assert backend.calls["linear_recurrence"] == before + 2  # of 16 steps at most
    before = backend.calls["linear_recurrence"]
    assert isinstance(solution.error_bound(), loopback.Array)
    assert backend.calls["linear_recurrence"] > before


def test_linear_recurrences_use_the_primitive(backend):
    A, b = loopback.asarray(0.5 * np.ones((20, 2))), loopback.asarray(np.ones((20, 2)))
    y = seqsolve.linear_recurrence(A, b)
    assert backend.calls == {"linear_recurrence": 1}
    np.testing.assert_allclose(y.get()[-1], 2 - 0.5**19)


def test_jacobi_sweeps_use_the_primitive(backend):
    h = seqsolve.triangular_map(f, loopback.asarray(X), loopback.asarray(np.zeros(2)))
    solution = seqsolve.jacobi(h, np.zeros(h.shape))
    assert solution.success
    assert isinstance(solution.y, loopback.Array)
    assert backend.calls["residual_test"] >= solution.nit


@pytest.mark.parametrize("here", [True, False])
def test_results_are_stored_on_either_side(backend, here):
    """`out` may be NumPy's or the backend's own."""
    x, y0 = loopback.asarray(X), loopback.asarray(np.zeros(2))
    h = seqsolve.triangular_map(f, x, y0)
    calls = {
        "deer": lambda out: seqsolve.deer(f, jac, x, y0, window=8, out=out).y,
        "sequential": lambda out: seqsolve.sequential(f, x, y0, out=out).y,
        "jacobi": lambda out: seqsolve.jacobi(h, np.zeros(h.shape), out=out).y,
        "linear_recurrence": lambda out: seqsolve.linear_recurrence(x, x, out=out),
        "reversed": lambda out: seqsolve.linear_recurrence(x, x, y0, reverse=True, out=out),
    }
    for call in calls.values():
        out = np.empty(X.shape) if here else loopback.asarray(np.empty(X.shape))
        assert call(out) is out
        np.testing.assert_array_equal(out if here else out.get(), call(None).get())
