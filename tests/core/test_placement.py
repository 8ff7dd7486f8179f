"""Public functions run inside the context that a backend makes for their arrays."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import loopback
import numpy as np
import pytest

import seqsolve

X = np.sin(np.arange(20.0)).reshape(10, 2)


@pytest.fixture
def places(monkeypatch):
    """Let the loop-back backend place arrays; return the arrays that it was asked to."""
    asked, inside = [], []

    @contextmanager
    def placed(arrays):
        asked.append(list(arrays))
        inside.append(True)
        yield
        inside.pop()

    monkeypatch.setattr(seqsolve.get_backend("loopback"), "placed", placed, raising=False)
    return SimpleNamespace(asked=asked, inside=inside)


def test_every_public_solver_enters_the_place_of_its_arrays(places):
    x, y0 = loopback.asarray(X), loopback.asarray(np.zeros(2))

    def f(y, x):
        assert places.inside
        return 0.5 * y + x

    def h(s, rows):
        assert places.inside
        return s[rows] * 0 + 1

    solution = seqsolve.deer(f, "2-point", x, y0)
    calls = [
        lambda: seqsolve.deeppcr(f, "2-point", x, y0),
        lambda: seqsolve.sequential(f, x, y0),
        lambda: seqsolve.linear_recurrence(x, x),
        lambda: seqsolve.cyclic_reduction(x, x),
        lambda: seqsolve.jacobi(h, x),
        lambda: seqsolve.gauss_seidel(h, x),
        lambda: seqsolve.gs_jacobi(h, x, block_size=3),
        lambda: seqsolve.jacobi_gs(h, x, block_size=3),
        lambda: seqsolve.vjp(solution, x),
        lambda: seqsolve.lyapunov_exponent(solution),
        lambda: solution.error_bound(),
    ]
    for call in calls:
        places.asked.clear()
        call()
        assert places.asked
        assert all(isinstance(a, loopback.Array) for a in places.asked[0])
        assert not places.inside


def test_numpy_arrays_have_no_place(places):
    seqsolve.deer(lambda y, x: 0.5 * y + x, "2-point", X, np.zeros(2), backend="loopback")
    assert not places.asked


def test_what_a_backend_refuses_is_raised(monkeypatch):
    def refuse(arrays):
        raise ValueError(f"{len(arrays)} arrays, on moon and sun")

    monkeypatch.setattr(seqsolve.get_backend("loopback"), "placed", refuse, raising=False)
    x = loopback.asarray(X)
    with pytest.raises(ValueError, match="2 arrays, on moon and sun"):
        seqsolve.deer(lambda y, x: y, "2-point", x, x[0])
