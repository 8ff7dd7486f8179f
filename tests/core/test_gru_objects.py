"""GRU cells as objects: other libraries' arrays, threads, copies, parameters, wrong arguments."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
from support.gru_cells import CELLS, ForeignArray, draw, make

from seqsolve.models import GRU, MultiHeadGRU
from seqsolve.step import Bindable, Differentiable, Parametrised


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("x_lead", [(4, 3), (4, 1)], ids=str)
def test_arrays_of_another_library_are_kept(name, x_lead):
    gru = make(name)
    y_prev, _ = draw(gru, (4, 3))
    _, x = draw(gru, x_lead)
    foreign = gru.with_params({key: ForeignArray(a) for key, a in gru.params.items()})
    y_, x_ = ForeignArray(y_prev), ForeignArray(x)
    y, jacobian = foreign.bind(x_).linearize(y_)
    np.testing.assert_allclose(y.data, gru(y_prev, x), rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(foreign(y_, x_).data, y.data, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(jacobian().data, gru.jac(y_prev, x), rtol=1e-13, atol=1e-15)
    bars, expected = foreign.vjp(y_, x_, y_), gru.vjp(y_prev, x, y_prev)
    np.testing.assert_allclose(bars.y_prev.data, expected.y_prev, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(bars.x.data, expected.x, rtol=1e-13, atol=1e-15)
    for key, bar in expected.params.items():
        np.testing.assert_allclose(bars.params[key].data, bar, rtol=1e-12, atol=1e-14)


def test_bound_steps_share_nothing():
    gru = make("n=5")
    y_prev, x = draw(gru, (6,))
    first, second = gru.bind(x), gru.bind(-x)
    y1, _ = first.linearize(y_prev)
    y2, _ = second.linearize(-y_prev)
    np.testing.assert_array_equal(y1, first(y_prev))
    np.testing.assert_array_equal(y2, second(-y_prev))
    _, jacobian1 = first.linearize(y_prev)
    second.linearize(2 * y_prev)[1]()
    np.testing.assert_array_equal(jacobian1(), gru.jac(y_prev, x))


def test_states_of_a_bound_step_stay_valid():
    gru = make("n=5")
    y_prev, x = draw(gru, (6,))
    bound = gru.bind(x)
    y, jacobian = bound.linearize(y_prev)
    jacobian = jacobian()
    kept = y.copy()
    other, other_jacobian = bound.linearize(y + 1)
    other_jacobian()
    bound(other)
    np.testing.assert_array_equal(y, kept)
    assert not np.shares_memory(y, y_prev)
    assert np.shares_memory(jacobian, bound.linearize(y_prev)[1]())


def test_bound_step_takes_states_of_changing_shape_and_dtype():
    gru = make("h=3,k=2")
    y_prev, x = draw(gru, (4, 1))
    bound = gru.bind(x)
    wide = np.concatenate([y_prev, -y_prev], axis=1)
    for y in (y_prev, wide, y_prev, wide + 1e-3j, wide):
        new, jacobian = bound.linearize(y)
        np.testing.assert_allclose(new, gru(y, x), rtol=1e-13)
        np.testing.assert_allclose(jacobian(), gru.jac(y, x), rtol=1e-13, atol=1e-15)


def test_a_cell_serves_several_threads():
    gru = make("n=33")
    y_prev, x = draw(gru, (700,))
    expected, results = gru(y_prev, x), []
    threads = [
        threading.Thread(target=lambda: results.extend(gru(y_prev, x) for _ in range(5)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 20
    assert all(np.array_equal(y, expected) for y in results)


@pytest.mark.parametrize("name", CELLS)
def test_protocols(name):
    gru = make(name)
    assert isinstance(gru, Bindable)
    assert isinstance(gru, Differentiable)
    assert isinstance(gru, Parametrised)
    other = gru.with_params({key: 2 * a for key, a in gru.params.items()})
    assert type(other) is type(gru)
    for key, a in gru.params.items():
        np.testing.assert_array_equal(other.params[key], 2 * a)
    if isinstance(gru, GRU):
        assert gru.jac_structure == "dense"
    else:
        assert (gru.jac_structure.kind, gru.jac_structure.block_size) == (
            "block_diagonal",
            gru.head_size,
        )


def test_parameters_are_copied_and_cannot_be_changed():
    weights = np.ones((6, 3)), np.ones((6, 2))
    gru = GRU(*weights)
    y, x = np.ones(2), np.ones(3)
    before = gru(y, x)
    weights[0][:] = 7
    np.testing.assert_array_equal(gru(y, x), before)
    with pytest.raises(ValueError, match="read-only"):
        gru.weight_ih[0] = 0
    with pytest.raises(AttributeError):
        gru.weight_ih = weights[0]


def test_copies_and_pickles():
    gru = make("h=3,k=2")
    y_prev, x = draw(gru, (4,))
    for clone in (copy.deepcopy(gru), pickle.loads(pickle.dumps(gru))):
        np.testing.assert_array_equal(clone(y_prev, x), gru(y_prev, x))


def test_missing_biases_are_zero():
    gru = make("n=5")
    y_prev, x = draw(gru, (4,))
    zero = np.zeros(15)
    for missing in ({"bias_ih"}, {"bias_hh"}, {"bias_ih", "bias_hh"}):
        given = {key: a for key, a in gru.params.items() if key not in missing}
        without, zeroed = GRU(**given), GRU(**given, **dict.fromkeys(missing, zero))
        assert set(without.params) == set(given)
        np.testing.assert_array_equal(without(y_prev, x), zeroed(y_prev, x))
        assert set(without.vjp(y_prev, x, y_prev).params) == set(given)


def test_heads_are_cells():
    gru = make("h=3,k=2")
    y_prev, x = draw(gru, (4,))
    for i in range(3):
        head = GRU(**{key: a[i] for key, a in gru.params.items()})
        own = slice(2 * i, 2 * i + 2)
        np.testing.assert_allclose(gru(y_prev, x)[:, own], head(y_prev[:, own], x), rtol=1e-13)
        np.testing.assert_allclose(
            gru.jac(y_prev, x)[:, i], head.jac(y_prev[:, own], x), rtol=1e-12, atol=1e-15
        )


def test_random_is_reproducible_and_uniform():
    gru = GRU.random(20, 64, rng=5)
    again = GRU.random(20, 64, rng=np.random.default_rng(5))
    for key, a in gru.params.items():
        np.testing.assert_array_equal(a, again.params[key])
        assert a.dtype == "float32"
        assert 0.115 < np.abs(a).max() <= 0.125
    heads = MultiHeadGRU.random(20, 64, n_heads=16, rng=5)
    assert 0.48 < np.abs(heads.weight_hh).max() <= 0.5
    assert repr(gru) == "GRU(n_inputs=20, n_units=64, dtype=float32)"
    assert repr(heads) == "MultiHeadGRU(n_inputs=20, n_units=64, n_heads=16, dtype=float32)"


W3, W2, B = np.ones((6, 3)), np.ones((6, 2)), np.ones(6)
H3, H2, C = np.ones((4, 6, 3)), np.ones((4, 6, 2)), np.ones((4, 6))


@pytest.mark.parametrize(
    ("make_cell", "error", "message"),
    [
        (
            lambda: GRU(W3, np.ones((6, 3))),
            ValueError,
            "`weight_hh` must have shape (3 * n_units, n_units) = (6, 2); got (6, 3).",
        ),
        (
            lambda: GRU(np.ones((7, 3)), W2),
            ValueError,
            "`weight_ih` must have shape (3 * n_units, n_inputs); got (7, 3).",
        ),
        (
            lambda: GRU(np.ones((0, 3)), W2),
            ValueError,
            "`weight_ih` must have shape (3 * n_units, n_inputs); got (0, 3).",
        ),
        (
            lambda: GRU(np.ones(6), W2),
            ValueError,
            "`weight_ih` must have shape (3 * n_units, n_inputs); got (6,).",
        ),
        (
            lambda: GRU(W3, W2, np.ones(5)),
            ValueError,
            "`bias_ih` must have shape (3 * n_units,) = (6,); got (5,).",
        ),
        (
            lambda: GRU(W3, W2, B, np.ones((6, 1))),
            ValueError,
            "`bias_hh` must have shape (3 * n_units,) = (6,); got (6, 1).",
        ),
        (
            lambda: GRU("weights", W2),
            TypeError,
            "`weight_ih` must be an array of numbers; got 'weights'.",
        ),
        (lambda: GRU(W3, None), TypeError, "`weight_hh` must be an array of numbers; got None."),
        (
            lambda: MultiHeadGRU(W3, W2),
            ValueError,
            "`weight_ih` must have shape (n_heads, 3 * head_size, n_inputs); got (6, 3).",
        ),
        (
            lambda: MultiHeadGRU(H3, H2[1:]),
            ValueError,
            "`weight_hh` must have shape (n_heads, 3 * head_size, head_size) = (4, 6, 2); "
            "got (3, 6, 2).",
        ),
        (
            lambda: MultiHeadGRU(H3, H2, C, B),
            ValueError,
            "`bias_hh` must have shape (n_heads, 3 * head_size) = (4, 6); got (6,).",
        ),
        (
            lambda: GRU(W3, W2).with_params({"weight": W2}),
            ValueError,
            "`params` must be named weight_ih, weight_hh; got weight.",
        ),
        (
            lambda: GRU(W3, W2)(np.ones((4, 3)), np.ones((4, 3))),
            ValueError,
            "`y_prev` must have shape (..., n_units) = (..., 2); got (4, 3).",
        ),
        (
            lambda: GRU(W3, W2)(np.ones((4, 2)), np.ones((4, 2))),
            ValueError,
            "`x` must have shape (..., n_inputs) = (..., 3); got (4, 2).",
        ),
        (
            lambda: GRU(W3, W2).bind(np.array(1.0)),
            ValueError,
            "`x` must have shape (..., n_inputs) = (..., 3); got ().",
        ),
        (
            lambda: GRU(W3, W2).bind(np.ones((4, 3)))(np.ones((4, 3))),
            ValueError,
            "`y_prev` must have shape (..., n_units) = (..., 2); got (4, 3).",
        ),
        (
            lambda: GRU(W3, W2).vjp(np.ones((4, 2)), np.ones((4, 3)), np.ones(2)),
            ValueError,
            "`lam` must have the shape of the new states, (4, 2); got (2,).",
        ),
        (
            lambda: GRU(W3, W2)(np.ones((4, 2)), {"x": np.ones((4, 3))}),
            TypeError,
            "`x` must be one array of shape (..., n_inputs) = (..., 3); got dict.",
        ),
        (
            lambda: GRU(W3, W2).bind(None),
            TypeError,
            "`x` must be one array of shape (..., n_inputs) = (..., 3); got NoneType.",
        ),
        (
            lambda: GRU.random(0, 2),
            ValueError,
            "`n_inputs` must be at least 1; got 0.",
        ),
        (
            lambda: GRU.random(3, 2, dtype="complex64"),
            TypeError,
            "`dtype` must be a real floating-point dtype; got 'complex64'.",
        ),
        (
            lambda: MultiHeadGRU.random(3, 16, n_heads=3),
            ValueError,
            "`n_heads` must divide `n_units`, 16; got 3.",
        ),
    ],
)
def test_bad_arguments(make_cell, error, message):
    with pytest.raises(error) as caught:
        make_cell()
    assert str(caught.value) == message
