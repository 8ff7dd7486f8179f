"""What lies inside a structure is used, what lies outside is found, and sizes do not matter."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from support.steps import random_recurrence

import seqsolve
from seqsolve import BlockDiagonal, Hutchinson
from seqsolve.step import ArrayStep, StepCotangents


def inside(J, k):
    """Return the diagonal blocks of dense matrices, entry by entry; the diagonal for 1."""
    n = J.shape[-1]
    if k == 1:
        return np.stack([J[..., i, i] for i in range(n)], axis=-1)
    blocks = np.empty((*J.shape[:-2], n // k, k, k))
    for h in range(n // k):
        for i in range(k):
            for j in range(k):
                blocks[..., h, i, j] = J[..., h * k + i, h * k + j]
    return blocks


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_iterations_use_the_part_inside_the_structure(batch, k):
    """The same iterates as from a function that returns no more than that."""
    r = random_recurrence("dense", np.random.default_rng(0), 40, batch, 6, gain=0.9)
    target = "diagonal" if k == 1 else BlockDiagonal(k)
    projected = seqsolve.deer(r.f, r.jac, r.x, r.y0, jac_structure=target, window=40)
    given = seqsolve.deer(r.f, lambda y, x: inside(r.jac(y, x), k), r.x, r.y0, window=40)
    assert projected.nit == given.nit
    np.testing.assert_allclose(projected.history[0].residuals, given.history[0].residuals, 1e-6)
    assert (projected.nit <= 10) == (k == 6)


def test_iterations_use_the_diagonal_of_blocks():
    r = random_recurrence("block_diagonal", np.random.default_rng(1), 40, (2,), 6, gain=0.9)

    def diagonal(y, x):
        return r.jac(y, x)[..., [0, 1], [0, 1]].reshape(y.shape)

    projected = seqsolve.deer(r.f, r.jac, r.x, r.y0, jac_structure="diagonal", window=40)
    given = seqsolve.deer(r.f, diagonal, r.x, r.y0, window=40)
    assert projected.nit == given.nit > 10
    np.testing.assert_allclose(projected.history[0].residuals, given.history[0].residuals, 1e-6)


@pytest.mark.parametrize("source", ["cs", "3-point", None])
@pytest.mark.parametrize("k", [1, 2])
def test_an_entry_outside_the_declared_structure_is_found_wherever_it_is(source, k):
    """Gradients are exact, so it was not taken for one inside."""
    for i, j in np.ndindex(4, 4):
        if i // k == j // k:
            continue
        W = np.kron(np.eye(4 // k), np.full((k, k), 0.4))
        W[i, j] = 0.3
        structure = "diagonal" if k == 1 else BlockDiagonal(k)
        f = lambda y, x, W=W: y @ W.T  # noqa: E731
        solution = seqsolve.deer(
            f, source, None, np.ones((2, 4)), n_steps=2, jac_structure=structure
        )
        g = np.zeros((2, 2, 4))
        g[-1] = np.arange(1, 5)
        expected = np.broadcast_to(W.T @ W.T @ np.arange(1, 5), (2, 4))
        np.testing.assert_allclose(seqsolve.vjp(solution, g).y0, expected, atol=1e-8)


SIZES = [1e-12, 1e-3, 1.0, 1e4, 1e9]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "source", ["cs", "2-point", "3-point", Hutchinson(), Hutchinson(products=1, seed=5)], ids=str
)
def test_computed_jacobians_of_states_of_any_size(source, size):
    """Those of a linear recurrence are exact but for rounding: one iteration, or a few."""
    rng = np.random.default_rng(2)
    w, b = np.array([0.9, -0.7, 0.5]), size * rng.standard_normal((200, 3))
    b[100:] = 0  # the constant guess of the second window, and all before it, is where it ends
    solution = seqsolve.deer(
        lambda y, x: w * y + x, source, b, np.zeros(3), window=100, atol=1e-9 * size
    )
    assert solution.success
    most = 3 if source == "2-point" else 1 if size <= 1 else 2
    assert all(record.nit <= most for record in solution.history)


def test_gradients_by_complex_steps_are_exact_to_rounding():
    r = random_recurrence("dense", np.random.default_rng(4), 60, (2,), 4, gain=0.9)
    g = np.random.default_rng(5).standard_normal(r.x.shape)
    exact, found = (
        seqsolve.vjp(seqsolve.deer(r.f, source, r.x, r.y0), g).adjoint for source in (r.jac, "cs")
    )
    np.testing.assert_allclose(found, exact, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("products", [1, 4])
def test_estimates_of_a_dense_jacobian_differ_from_iteration_to_iteration(products):
    """Signs that are always the same would have the same error each time."""
    W = np.array([[0.0, 0.9], [-0.9, 0.0]])
    seen = []

    def f(y, x):
        seen.append(y)
        return y @ W.T + x

    solution = seqsolve.deer(
        f, Hutchinson(products), np.ones((30, 2)), np.zeros(2), window=30, maxiter=5,
        on_failure="return",
    )  # fmt: skip
    assert solution.njev == 5
    points = [y for y in seen if y.shape == (30, 2)]
    directions = {np.sign(b - a).tobytes() for a, b in pairwise(points)}
    assert len(directions) > 5


@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize("n_steps", [1, 2, 60])
def test_an_exact_jacobian_needs_its_vjp_once_a_window(batch, n_steps):
    """Also where some elements of the adjoint vanish beside others."""
    calls = []
    w = np.array([0.5, 0.9, 0.0])

    def vjp(y, x, lam):
        calls.append(len(y))
        return StepCotangents(w * (1 - np.tanh(w * y + x) ** 2) * lam, lam, None)

    step = ArrayStep(
        lambda y, x: np.tanh(w * y + x), jac=lambda y, x: w / np.cosh(w * y + x) ** 2, vjp=vjp
    )
    x = np.random.default_rng(3).standard_normal((n_steps, *batch, 3))
    solution = seqsolve.deer(step, None, x, np.zeros((*batch, 3)))
    g = np.zeros(x.shape)
    g[..., 1:] = [1.0, 1e-9]
    seqsolve.vjp(solution, g)
    assert calls == [n_steps]
