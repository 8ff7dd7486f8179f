"""`dot_test` passes gradients that are right, and names the one that is not."""

from __future__ import annotations

import numpy as np
import pytest
from support.steps import random_recurrence

import seqsolve
from seqsolve import BlockDiagonal
from seqsolve.models import GRU, MultiHeadGRU
from seqsolve.step import ArrayStep, StepCotangents
from seqsolve.testing import dot_test


def f(y, x):
    return np.tanh(0.5 * y + x["a"] * x["b"])


def pull_back(y, x, lam, a=1.0, b=1.0, state=1.0):
    z = (1 - f(y, x) ** 2) * lam
    bars = {"a": a * z * x["b"], "b": b * z * x["a"]}
    return StepCotangents(state * 0.5 * z, bars, None)


def solve(vjp=pull_back, dtype="float64", batch=(3,), **options):
    rng = np.random.default_rng(0)
    x = {k: rng.normal(size=(40, *batch, 2)).astype(dtype) for k in "ab"}
    y0 = rng.normal(size=(*batch, 2)).astype(dtype)
    return seqsolve.deer(
        ArrayStep(f, lambda y, x: 0.5 * (1 - f(y, x) ** 2), vjp), None, x, y0, **options
    )


@pytest.mark.parametrize("structure", ["diagonal", "block_diagonal", "dense"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_exact_jacobians(structure, dtype):
    r = random_recurrence(structure, np.random.default_rng(1), 50, (2,), 4, dtype)
    mismatch = dot_test(seqsolve.deer(r.f, r.jac, r.x, r.y0))
    assert mismatch < {"float32": 1e-5, "complex64": 1e-5}.get(dtype, 1e-9)


@pytest.mark.parametrize("batch", [(), (1,), (2, 3)])
def test_inputs_are_tested_too(batch):
    assert dot_test(solve(batch=batch)) < 1e-13
    assert dot_test(solve(batch=batch, window=7)) < 1e-13


@pytest.mark.parametrize(
    ("wrong", "name"),
    [({"a": 1.01}, "x['a']"), ({"b": -1.0}, "x['b']"), ({"state": 0.9}, "y0")],
)
def test_the_wrong_gradient_is_named(wrong, name):
    solution = solve(lambda y, x, lam: pull_back(y, x, lam, **wrong))
    with pytest.raises(AssertionError) as caught:
        dot_test(solution)
    text = str(caught.value)
    assert f"with respect to `{name}` must be the transpose" in text
    assert "<g, J v> is" in text
    assert "<J^T g, v> is" in text


@pytest.mark.parametrize(
    ("model", "shapes"),
    [(GRU, [(12, 3), (12, 4)]), (MultiHeadGRU, [(2, 6, 3), (2, 6, 2)])],
    ids=["GRU", "MultiHeadGRU"],
)
def test_models(model, shapes):
    rng = np.random.default_rng(2)
    step = model(*(0.5 * rng.normal(size=shape) for shape in shapes))
    solution = seqsolve.deer(step, None, rng.normal(size=(30, 2, 3)), np.zeros((2, 4)))
    assert dot_test(solution) < 1e-12


def test_a_wrong_parameter_gradient_is_named():
    class Wrong(GRU):
        def vjp(self, y_prev, x, lam):
            bars = super().vjp(y_prev, x, lam)
            return bars._replace(params={k: 1.1 * p for k, p in bars.params.items()})

    rng = np.random.default_rng(3)
    step = Wrong(rng.normal(size=(12, 3)), rng.normal(size=(12, 4)))
    solution = seqsolve.deer(step, None, rng.normal(size=(30, 3)), np.zeros(4))
    with pytest.raises(AssertionError, match=r"`params\['weight_ih'\]`"):
        dot_test(solution)


def test_functions_that_are_not_analytic():
    x = np.random.default_rng(4).normal(size=(60, 3))
    step = ArrayStep(lambda y, x: 0.5 * np.abs(y) + x, lambda y, x: 0.5 * np.sign(y))
    assert dot_test(seqsolve.deer(step, None, x, np.ones(3))) < 1e-7


def test_after_quasi_newton_and_other_solvers():
    r = random_recurrence("dense", np.random.default_rng(5), 50, (2,), 4)
    for structure in ("diagonal", BlockDiagonal(2)):
        assert dot_test(seqsolve.deer(r.f, r.jac, r.x, r.y0, jac_structure=structure)) < 1e-12
    h = seqsolve.triangular_map(r.f, r.x, r.y0)
    assert dot_test(seqsolve.jacobi(h, np.zeros(h.shape))) < 1e-6
    assert dot_test(seqsolve.sequential(r.f, r.x, r.y0)) < 1e-6


def test_a_cotangent_of_ones_choice():
    solution = solve()
    last = np.zeros(solution.y.shape)
    last[-1] = 1
    assert dot_test(solution, last) < 1e-12
    assert dot_test(solution, np.zeros(solution.y.shape)) == 0


def test_other_seeds_give_other_directions():
    solution = solve()
    assert dot_test(solution, seed=1) != dot_test(solution, seed=2)
    assert dot_test(solution, seed=1) == dot_test(solution, seed=1)


def test_no_steps():
    assert dot_test(seqsolve.deer(lambda y, x: y, "2-point", None, [1.0, 2.0], n_steps=0)) == 0


def test_bad_arguments():
    with pytest.raises(TypeError, match="`solution` must be a Solution; got ndarray"):
        dot_test(np.zeros(3))
    with pytest.raises(ValueError, match="`seed` must be at least 0"):
        dot_test(solve(), seed=-1)
    with pytest.raises(ValueError, match="`rtol`"):
        dot_test(solve(), rtol=-1.0)
    general = seqsolve.jacobi(lambda s, rows: np.ones_like(s[rows]), np.zeros((4, 1)))
    with pytest.raises(ValueError, match="`solution` must come from a recurrence"):
        dot_test(general)
