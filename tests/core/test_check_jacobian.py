"""`check_jacobian` passes what is right, and says where and how the rest is wrong."""

from __future__ import annotations

import loopback
import numpy as np
import pytest
from support.steps import random_recurrence

from seqsolve import Hutchinson
from seqsolve.models import GRU
from seqsolve.step import ArrayStep
from seqsolve.testing import check_jacobian

STRUCTURES = ["diagonal", "block_diagonal", "dense"]
W = np.array([[0.1, 0.2], [0.3, 0.4]])


def f(y, x):
    return np.tanh(y @ W.T + x)


def jac(y, x):
    return (1 - f(y, x) ** 2)[..., :, None] * W


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(5, 2))


@pytest.fixture
def y():
    return np.random.default_rng(1).normal(size=(5, 2))


def message(*args, **kwargs):
    with pytest.raises(AssertionError) as caught:
        check_jacobian(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_right_jacobians_pass(structure, batch, dtype):
    r = random_recurrence(structure, np.random.default_rng(2), 6, batch, 4, dtype)
    check_jacobian(r.f, r.jac, r.x, 0.5 * r.x)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_a_small_error_is_found(structure, dtype):
    r = random_recurrence(structure, np.random.default_rng(2), 6, (2,), 4, dtype)

    def wrong(y, x):
        A = r.jac(y, x) + 0
        A[3, 1, ..., -1] += 1e-2
        return A

    assert message(r.f, wrong, r.x, 0.5 * r.x).startswith("`jac` is wrong at step 3, sequence (1,)")


def test_the_largest_wrong_entry_is_named(x, y):
    def wrong(y, x):
        A = jac(y, x)
        A[1, 0, 0] += 0.25
        A[3, 1, 0] += 0.5
        return A

    expected = jac(y, x)[3, 1, 0]
    assert message(f, wrong, x, y) == (
        f"`jac` is wrong at step 3, row 1, column 0: {expected + 0.5:.6g} given, "
        f"{expected:.6g} expected (largest of 2 wrong entries in 20)."
    )


def test_nan_is_wrong(x, y):
    def wrong(y, x):
        A = jac(y, x)
        A[2, 0, 1] = np.nan
        return A

    assert "wrong at step 2, row 0, column 1: nan given" in message(f, wrong, x, y)


def test_entries_are_counted_in_the_structure(x, y):
    text = message(lambda y, x: np.sin(y), lambda y, x: np.sin(y), x, y)
    assert text.endswith("(largest of 10 wrong entries in 10).")


@pytest.mark.parametrize("structure", ["block_diagonal", "dense"])
def test_a_transposed_jacobian_is_recognised(structure):
    r = random_recurrence(structure, np.random.default_rng(3), 4, (), 4)
    text = message(r.f, lambda y, x: r.jac(y, x).swapaxes(-1, -2), r.x, 0.3 * r.x)
    assert text.startswith("`jac` is transposed")


def test_a_wrong_structure_is_recognised(x, y):
    def diagonal(y, x):
        return np.diagonal(jac(y, x), axis1=-2, axis2=-1)

    text = message(f, diagonal, x, y)
    assert text.startswith("`jac` leaves out a derivative at step ")
    assert "row 1, column 0" in text
    assert "jac_structure" in text


def test_a_wrong_shape_is_recognised(x, y):
    text = message(f, lambda y, x: jac(y, x)[..., :1], x, y)
    assert text == "`jac` must return (…, 2), (…, h, k, k) or (…, 2, 2); got (5, 2, 1)."


def test_functions_that_are_not_analytic(x, y):
    check_jacobian(lambda y, x: np.abs(y) + x, lambda y, x: np.sign(y), x, y)
    text = message(lambda y, x: np.abs(y) + x, lambda y, x: -np.sign(y), x, y)
    assert "wrong at" in text


def test_functions_that_refuse_complex_numbers(x, y):
    def real_only(y, x):
        if np.iscomplexobj(y):
            raise TypeError("no complex numbers")
        return np.sin(y) + x

    check_jacobian(real_only, lambda y, x: np.cos(y), x, y)


def test_single_precision_is_checked_in_double(x, y):
    """The allowed error is the Jacobian's own rounding, not that of differences."""
    x, y = x.astype(np.float32), y.astype(np.float32)
    check_jacobian(lambda y, x: np.sin(y) + x, lambda y, x: np.cos(y), x, y)
    message(lambda y, x: np.sin(y) + x, lambda y, x: np.cos(y) + np.float32(1e-3), x, y)


def test_tolerances(x, y):
    def rough(y, x):
        return np.cos(y) + 1e-5

    message(lambda y, x: np.sin(y), rough, x, y)
    check_jacobian(lambda y, x: np.sin(y), rough, x, y, atol=1e-4)
    check_jacobian(lambda y, x: np.sin(y), rough, x, y, rtol=1e-3)
    with pytest.raises(ValueError, match=r"`rtol` must be finite and at least 0; got -1\.0"):
        check_jacobian(f, jac, x, y, rtol=-1)


def test_step_objects(x, y):
    check_jacobian(ArrayStep(f, jac=jac), None, x, y)
    assert "transposed" in message(
        ArrayStep(f, jac=lambda y, x: jac(y, x).swapaxes(-1, -2)), None, x, y
    )
    rng = np.random.default_rng(4)
    for dtype in ("float32", "float64"):
        gru = GRU(*(rng.normal(size=(12, m)).astype(dtype) for m in (3, 4)))
        x = rng.normal(size=(7, 2, 3)).astype(dtype)
        check_jacobian(gru, None, x, rng.normal(size=(7, 2, 4)).astype(dtype))


def test_trees_and_autonomous_maps(x, y):
    check_jacobian(lambda y, x: x["a"] * y + x["b"][0], lambda y, x: x["a"], {"a": x, "b": [x]}, y)
    check_jacobian(lambda y, x: y**2, lambda y, x: 2 * y, None, y)


def test_on_another_backend(x, y):
    def cosine(y, x):
        return np.cos(y)

    check_jacobian(lambda y, x: np.sin(y) + x, cosine, loopback.asarray(x), loopback.asarray(y))
    check_jacobian(lambda y, x: np.sin(y) + x, cosine, x, y, backend="loopback")


def test_bad_arguments(x, y):
    for source in ("cs", None, Hutchinson()):
        with pytest.raises(TypeError, match="`jac` must be callable, or None if `f` carries one"):
            check_jacobian(f, source, x, y)
    with pytest.raises(ValueError, match=r"`y` must have shape .*; got \(2,\)"):
        check_jacobian(f, jac, x, y[0])
    with pytest.raises(ValueError, match=r"`y` must have shape .*; got \(0, 2\)"):
        check_jacobian(f, jac, x, y[:0])
    with pytest.raises(ValueError, match="`y` must be finite"):
        check_jacobian(f, jac, x, np.full_like(y, np.nan))
    with pytest.raises(ValueError, match="n_steps = 5"):
        check_jacobian(f, jac, x[:3], y)
