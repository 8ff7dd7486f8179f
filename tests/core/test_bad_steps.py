"""Wrong step functions, Jacobians and products, and errors that are the user's own."""

from __future__ import annotations

import numpy as np
import pytest
from support.calls import BATCH, WEIGHTS, check_error, deer, gradient, jac, sequential, step

import seqsolve
from seqsolve.step import StepCotangents

ROWS = {
    # The step function
    "f None": (deer(f=None), TypeError, "`f` must be callable; got None"),
    "f a string": (sequential(f="tanh"), TypeError, "`f` must be callable; got 'tanh'"),
    "f returns None": (deer(f=lambda y, x: None), TypeError, "`f` must .*numbers; got None"),
    "f returns a string": (deer(f=lambda y, x: "no"), TypeError, "`f` must .*numbers; got 'no'"),
    "f returns a scalar": (
        deer(f=lambda y, x: 1.0),
        ValueError,
        r"`f` must return .* shape of `y_prev`, \(1, 3\); got \(\)",
    ),
    "f drops the state's axis": (
        deer(f=lambda y, x: y[..., 0]),
        ValueError,
        r"`f` must return .*\(1, 3\); got \(1,\)",
    ),
    "f drops the time": (
        sequential(f=lambda y, x: y[0]),
        ValueError,
        r"`f` must return .*\(1, 3\); got \(3,\)",
    ),
    "f returns another size": (
        deer(f=lambda y, x: y[..., :2]),
        ValueError,
        r"`f` must return .*\(1, 3\); got \(1, 2\)",
    ),
    "f returns a list of elements": (
        deer(f=lambda y, x: [0.5 * y[..., i] for i in range(3)]),
        ValueError,
        r"`f` must return .*\(1, 3\); got \(3, 1\).*last axis: np\.stack\(\[\.\.\.\], axis=-1\)",
    ),
    "a batch in x, none in y0": (
        deer(f=lambda y, x: 0.5 * y + x, x=np.ones((6, 2, 3)), y0=np.zeros(3)),
        ValueError,
        r"got \(1, 2, 3\).* needs an initial state for each: `y0` of shape \(2, 3\)",
    ),
    "x a list of rows": (
        deer(f=lambda y, x: 0.5 * y + x, x=list(np.ones((6, 3)))),
        ValueError,
        r"`x` is taken for a tree of 6 arrays.*np\.stack\(x\) makes one array of rows",
    ),
    "jac one matrix for all": (
        deer(jac=lambda y, x: np.eye(3)),
        ValueError,
        r"`jac` must return .*got \(3, 3\)\. .* np\.broadcast_to\(A, .*\[:-1\], 3, 3\)\)",
    ),
    "jac one diagonal for all": (
        deer(jac=lambda y, x: np.ones(3)),
        ValueError,
        r"`jac` must return .*got \(3,\)\. .* np\.broadcast_to\(A, .*\[:-1\], 3\)\)",
    ),
    "jac a matrix": (
        deer(jac=np.eye(3)),
        TypeError,
        r"`jac` must be callable; got an array of shape \(3, 3\) \(ndarray\)",
    ),
    "f returns ragged lists": (deer(f=lambda y, x: [[1, 2], [3]]), (TypeError, ValueError), "`f`"),
    "f returns objects": (
        deer(f=lambda y, x: (0.5 * y).astype(object)),
        TypeError,
        "`f` .*object",
    ),
    "f takes one argument": (deer(f=lambda y: y), TypeError, "positional argument"),
    "f sums over time": (
        deer(f=lambda y, x: y - y.mean(axis=0) + x + 1),
        ValueError,
        "`f` must treat every step and every sequence on its own.*first two steps together",
    ),
    "f sums over sequences": (
        deer(f=lambda y, x: y - y.mean(axis=-2, keepdims=True), **{**BATCH, "y0": np.eye(3)[:2]}),
        ValueError,
        "`f` must treat .* on its own.*all sequences together",
    ),
    "f closes over the whole input": (
        deer(f=lambda y, x: y + np.arange(6.0)[:, None], x=None, n_steps=6),
        ValueError,
        r"`f` must return .*\(1, 3\); got \(6, 3\)",
    ),
    "f takes the first step for all, at rest": (
        deer(f=lambda y, x: 0.5 * y[:1] + x, x=np.zeros((6, 3)), y0=np.zeros(3)),
        ValueError,
        "`f` must treat .* on its own.*first two steps together",
    ),
    "f takes the first step for all": (
        deer(f=lambda y, x: np.array([WEIGHTS @ y[0]]) + x),
        ValueError,
        "`f` must treat .* on its own.*first two steps together",
    ),
    "f takes the last step for all": (
        deer(f=lambda y, x: np.array([WEIGHTS @ y[-1]]) + x),
        ValueError,
        "`f` must treat .* on its own.*first two steps together",
    ),
    "f takes the first sequence for all": (
        deer(f=lambda y, x: 0.5 * y[:, :1] + x, **{**BATCH, "y0": np.eye(3)[:2]}),
        ValueError,
        "`f` must treat .* on its own.*all sequences together",
    ),
    "f takes the last sequence for all": (
        deer(f=lambda y, x: 0.5 * y[:, -1:] + x, **{**BATCH, "y0": np.eye(3)[:2]}),
        ValueError,
        "`f` must treat .* on its own.*all sequences together",
    ),
    "f mixes sequences that begin alike": (
        deer(
            f=lambda y, x: 0.5 * y[:, -1:] + x,
            x=np.random.default_rng(0).normal(size=(6, 2, 3)),
            y0=np.zeros((2, 3)),
        ),
        ValueError,
        "`f` must treat .* on its own.*all sequences together",
    ),
    "f changes the state in place": (
        deer(f=lambda y, x: np.multiply(y, 0.5, out=y) + x),
        ValueError,
        "`f` must leave its arguments as they are.*it changed `y_prev` in place",
    ),
    "f changes a part of the state in place": (
        deer(f=lambda y, x: np.add(y[..., :1], 1, out=y[..., :1]) + 0.5 * y),
        ValueError,
        "`f` must leave its arguments as they are.*it changed `y_prev` in place",
    ),
    "f changes its input in place": (
        sequential(f=lambda y, x: np.add(x["u"], 0.5 * y, out=x["u"]), x={"u": np.ones((6, 3))}),
        ValueError,
        r"`f` must leave its arguments .*it changed `x\['u'\]` in place",
    ),
    "f forgets the input's last axis": (
        deer(f=lambda y, x: 0.5 * y + x, x=np.ones(6), y0=[0.0]),
        ValueError,
        r"`f` must return .*\(2, 1\); got \(2, 2\), for `x` an array of shape \(2,\)",
    ),
    "f is random": (
        deer(f=lambda y, x: np.random.default_rng().normal(size=y.shape)),
        ValueError,
        "`f` must treat .*so does noise, drawn beforehand",
    ),
    # The Jacobian
    "jac a number": (deer(jac=0.5), TypeError, r"`jac` must be callable; got 0\.5"),
    "jac an unknown scheme": (
        deer(jac="autodiff"),
        ValueError,
        "`jac` must be one of 'cs', '2-point', '3-point'; got 'autodiff'",
    ),
    "jac an array": (deer(jac=np.eye(3)), TypeError, "`jac` must be callable"),
    "jac the class": (deer(jac=seqsolve.Hutchinson), (TypeError, ValueError), "`jac`"),
    "jac returns another shape": (
        deer(jac=lambda y, x: np.ones((*y.shape[:-1], 3, 2))),
        ValueError,
        r"`jac` must return \(…, 3\), \(…, h, k, k\) or \(…, 3, 3\); got \(1, 3, 2\)",
    ),
    "jac returns one matrix": (
        deer(jac=lambda y, x: 0.5 * np.eye(3)),
        ValueError,
        r"`jac` must return .*got \(3, 3\)",
    ),
    "jac returns a scalar": (deer(jac=lambda y, x: 0.5), ValueError, r"`jac` must return .*\(\)"),
    "jac returns None": (
        deer(jac=lambda y, x: None),
        TypeError,
        "`jac` must return an array of numbers; got None",
    ),
    "jac returns blocks that do not fit": (
        deer(jac=lambda y, x: np.ones((*y.shape[:-1], 2, 2, 2))),
        ValueError,
        r"`jac` must return .*\(1, 2, 2, 2\)",
    ),
    "jac complex for a real state": (
        deer(jac=lambda y, x: 0.5j * np.ones_like(y)),
        TypeError,
        "`jac` must be real for a real state; got complex128",
    ),
    "jac changes its structure": (
        deer(jac=lambda y, x: jac(y, x) if len(y) == 1 else jac(y, x)[..., None] * np.eye(3)),
        ValueError,
        r"`jac` must return one structure throughout: diagonal .* dense \(shape \(6, 3, 3\)\)",
    ),
    "jac changes the state in place": (
        deer(jac=lambda y, x: np.multiply(y, 0.5, out=y)),
        ValueError,
        "`jac` must leave its arguments .*it changed `y_prev` in place",
    ),
    "complex step through abs": (
        deer(f=lambda y, x: 0.5 * abs(y) + x, jac="cs"),
        ValueError,
        "`jac` must not be 'cs' where `f` is not analytic",
    ),
    "jac raises": (deer(jac=lambda y, x: y @ np.ones((4, 4))), ValueError, "matmul"),
    "complex step of a complex state": (
        deer(jac="cs", y0=np.zeros(3, complex)),
        ValueError,
        "`jac` must not be 'cs' for a complex state.*complex128",
    ),
    "Hutchinson without products": (
        lambda: seqsolve.Hutchinson(products=0),
        ValueError,
        "`products` must be at least 1; got 0",
    ),
    "Hutchinson with a float": (
        lambda: seqsolve.Hutchinson(seed=0.5),
        TypeError,
        r"`seed` must be an integer; got 0\.5",
    ),
    "Hutchinson with dense structure": (
        deer(jac=seqsolve.Hutchinson(), jac_structure="dense"),
        ValueError,
        "`jac_structure` must be 'diagonal' .* with Hutchinson.*dense",
    ),
    "jac_structure nonsense": (
        deer(jac_structure="sparse"),
        ValueError,
        "`jac_structure` must be one of 'diagonal', 'block_diagonal', 'dense'; got 'sparse'",
    ),
    "jac_structure a number": (
        deer(jac_structure=2),
        TypeError,
        r"`jac_structure` must be .*BlockDiagonal\(block_size\) or None; got 2",
    ),
    "blocks that do not divide": (
        deer(jac_structure=seqsolve.BlockDiagonal(2)),
        ValueError,
        "`jac_structure` must have a block size that divides .*3 elements; got 2",
    ),
    "blocks of zero": (
        lambda: seqsolve.BlockDiagonal(0),
        ValueError,
        "`block_size` must be at least 1; got 0",
    ),
    "blocks of unknown size": (
        deer(jac="cs", jac_structure="block_diagonal"),
        ValueError,
        r"`jac_structure` must give the block size .*'cs'.*BlockDiagonal",
    ),
    "blocks of another size than jac's": (
        deer(
            jac=lambda y, x: np.zeros((*y.shape[:-1], 2, 2, 2)),
            jac_structure=seqsolve.BlockDiagonal(4),
            x=np.ones((6, 4)),
            y0=np.zeros(4),
        ),
        ValueError,
        "`jac_structure` asks for blocks of 4; `jac` returns blocks of 2",
    ),
    # The vector-Jacobian product
    "vjp returns a tuple": (
        gradient(step=step(lambda y, x, lam: (lam, lam, None))),
        TypeError,
        "`vjp` must return StepCotangents; got tuple",
    ),
    "vjp returns another shape": (
        gradient(step=step(lambda y, x, lam: StepCotangents(lam[..., :2], lam, None))),
        ValueError,
        r"`vjp` must return a cotangent of `y_prev` of shape \(6, 3\); got \(6, 2\)",
    ),
    "vjp returns another shape for x": (
        gradient(step=step(lambda y, x, lam: StepCotangents(0.5 * lam, lam.sum(0), None))),
        ValueError,
        r"`vjp` must return a cotangent of `x` of shape \(6, 3\); got \(3,\)",
    ),
    "vjp returns another tree for x": (
        gradient(step=step(lambda y, x, lam: StepCotangents(0.5 * lam, {"a": lam}, None))),
        ValueError,
        r"`vjp` must return cotangents of x; got x\['a'\]",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), ROWS.values(), ids=ROWS)
def test_wrong_call(call, error, message):
    check_error(call, error, message)


# The user's own errors


@pytest.mark.parametrize("solver", ["deer", "sequential", "triangular_map"])
def test_errors_of_the_step_function_say_what_it_was_called_with(solver):
    def broken(y, x):
        raise ZeroDivisionError("mine")

    call = {
        "deer": lambda: seqsolve.deer(broken, None, {"u": np.ones((6, 2))}, np.zeros(3)),
        "sequential": lambda: seqsolve.sequential(broken, {"u": np.ones((6, 2))}, np.zeros(3)),
        "triangular_map": lambda: seqsolve.triangular_map(
            broken, {"u": np.ones((6, 2))}, np.zeros(3)
        ),
    }[solver]
    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        call()
    (note,) = caught.value.__notes__
    assert "seqsolve called `f` with an array of shape (1, 3), {'u': an array of shape" in note
    assert "broadcast over every leading axis" in note


def test_errors_late_in_a_sequence_say_so_too():
    def late(y, x):
        if (x > 4).any():
            raise ZeroDivisionError("mine")
        return 0.5 * y

    x = np.arange(10.0)[:, None]
    for call in (
        lambda: seqsolve.deer(late, "2-point", x, [1.0], window=3),
        lambda: seqsolve.deer(late, "2-point", x, [1.0], window=1),
        lambda: seqsolve.sequential(late, x, [1.0]),
    ):
        with pytest.raises(ZeroDivisionError, match="mine") as caught:
            call()
        assert "seqsolve called `f`" in caught.value.__notes__[0]


def late_change(change):
    def changed(y, x):
        new = 0.5 * y + x
        return change(new) if (x == 5).any() else new

    return changed


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda y: y + 1j, TypeError, "`f` must stay real, as at the first step; got complex128"),
        (lambda y: y[..., :1], ValueError, r"`f` must return .*got \(\d, 1\)"),
        (lambda y: None, TypeError, "`f` must return an array of numbers; got None"),
    ],
    ids=["complex", "shape", "None"],
)
def test_steps_that_change_their_mind(window, change, error, message):
    x = np.broadcast_to(np.arange(10.0)[:, None], (10, 3))
    call = deer(f=late_change(change), x=x, window=window)
    with pytest.raises(error, match=message):
        call()


def test_jacobian_errors_carry_a_note():
    def broken(y, x):
        raise KeyError("mine")

    with pytest.raises(KeyError) as caught:
        deer(jac=broken)()
    assert "seqsolve called `jac` with an array of shape (1, 3)" in caught.value.__notes__[0]


def test_errors_of_a_bound_step_say_what_its_input_was():
    gru = seqsolve.models.GRU.random(2, 3)
    with pytest.raises(ValueError, match="broadcast") as caught:  # time and batch, exchanged
        seqsolve.deer(gru, None, np.ones((4, 20, 2)), np.zeros((4, 3)))
    (note,) = caught.value.__notes__
    assert "with an array of shape (1, 4, 3), an array of shape (1, 20, 2)" in note
    assert "time, then the batch if `y0` has one" in note
