"""GRU cells compute PyTorch's equations, their Jacobians and products, whatever the shapes."""

from __future__ import annotations

import numpy as np
import pytest
from support.gru_cells import CELLS, LEADS, as_dense, complex_step, draw, make, oracle

from seqsolve.models import GRU
from seqsolve.models import _gru_cell as gru_cell
from seqsolve.models import _gru_step as gru_step

every_cell = pytest.mark.parametrize("name", CELLS)
every_lead = pytest.mark.parametrize("lead", LEADS, ids=str)


@every_cell
@every_lead
def test_states_follow_the_equations_of_pytorch(name, lead):
    gru = make(name)
    y_prev, x = draw(gru, lead)
    y = gru(y_prev, x)
    assert y.shape == (*lead, gru.n_units)
    np.testing.assert_allclose(y, oracle(gru, y_prev, x), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(gru.bind(x)(y_prev), y, rtol=1e-13, atol=1e-14)


def test_known_values_of_one_unit():
    gru = GRU([[1.0], [0.0], [2.0]], [[0.0], [0.0], [1.0]], [0.0, 0.0, 0.5], [0.0, np.log(3), 1.0])
    r, z = 1 / (1 + np.exp(-0.3)), 0.75
    expected = (1 - z) * np.tanh(2 * 0.3 + 0.5 + r * (0.2 + 1)) + z * 0.2
    np.testing.assert_allclose(gru(np.array([0.2]), np.array([0.3])), [expected], rtol=1e-14)


@every_cell
@every_lead
def test_jacobian_equals_complex_step(name, lead):
    gru = make(name)
    y_prev, x = draw(gru, lead)
    jacobian = gru.jac(y_prev, x)
    if isinstance(gru, GRU):
        assert jacobian.shape == (*lead, gru.n_units, gru.n_units)
    else:
        assert jacobian.shape == (*lead, gru.n_heads, gru.head_size, gru.head_size)
    columns = [
        complex_step(lambda y, x=x: gru(y, x), y_prev, direction)
        for direction in np.eye(gru.n_units)
    ]
    np.testing.assert_allclose(
        as_dense(gru, jacobian), np.stack(columns, axis=-1), rtol=1e-12, atol=1e-14
    )


@every_cell
@every_lead
def test_linearize_equals_call_and_jac(name, lead):
    gru = make(name)
    y_prev, x = draw(gru, lead)
    bound = gru.bind(x)
    for scale in (1.0, -0.5):
        y, jacobian = bound.linearize(scale * y_prev)
        np.testing.assert_array_equal(y, bound(scale * y_prev))
        y, jacobian = bound.linearize(scale * y_prev)
        np.testing.assert_array_equal(jacobian(), gru.jac(scale * y_prev, x))


@every_cell
@pytest.mark.parametrize("lead", [(), (6,), (4, 3), (0,)], ids=str)
def test_vjp_is_the_transpose_of_complex_step_jvps(name, lead):
    gru = make(name)
    y_prev, x = draw(gru, lead)
    lam, _ = draw(gru, lead, seed=2)
    rng = np.random.default_rng(3)
    cotangents = gru.vjp(y_prev, x, lam)

    def dot(bar, a, f):
        assert bar.shape == a.shape
        direction = rng.standard_normal(a.shape)
        forward = np.sum(lam * complex_step(f, a, direction))
        np.testing.assert_allclose(np.sum(bar * direction), forward, rtol=1e-11, atol=1e-12)

    dot(cotangents.y_prev, y_prev, lambda a: gru(a, x))
    dot(cotangents.x, x, lambda a: gru(y_prev, a))
    assert list(cotangents.params) == list(gru.params)
    for key, value in gru.params.items():
        dot(cotangents.params[key], value, lambda a, key=key: gru.with_params({key: a})(y_prev, x))


@pytest.mark.parametrize("name", ["n=5", "h=3,k=2"])
@pytest.mark.parametrize(
    ("y_lead", "x_lead"),
    [((4, 3), (4, 1)), ((4, 3), (3,)), ((4, 3), ()), ((), (4,)), ((4, 1), (1, 3))],
    ids=str,
)
def test_leading_axes_broadcast(name, y_lead, x_lead):
    gru = make(name)
    lead = np.broadcast_shapes(y_lead, x_lead)
    (y_prev, _), (_, x) = draw(gru, y_lead), draw(gru, x_lead)
    y_whole = np.broadcast_to(y_prev, (*lead, gru.n_units)).copy()
    x_whole = np.broadcast_to(x, (*lead, gru.n_inputs)).copy()
    expected, jacobian = gru(y_whole, x_whole), gru.jac(y_whole, x_whole)
    np.testing.assert_allclose(gru(y_prev, x), expected, rtol=1e-13)
    np.testing.assert_allclose(gru.bind(x)(y_prev), expected, rtol=1e-13)
    np.testing.assert_allclose(gru.jac(y_prev, x), jacobian, rtol=1e-12, atol=1e-15)

    lam, _ = draw(gru, lead, seed=2)
    bars, whole = gru.vjp(y_prev, x, lam), gru.vjp(y_whole, x_whole, lam)
    for bar, total, shape in ((bars.y_prev, whole.y_prev, y_lead), (bars.x, whole.x, x_lead)):
        extra = len(lead) - len(shape)
        kept = (1,) * extra + shape
        axes = tuple(i for i, size in enumerate(kept) if size != lead[i])
        total = total.sum(axis=axes, keepdims=True)
        np.testing.assert_allclose(bar, total.reshape(*shape, -1), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["n=1", "n=33", "h=2,k=5"])
def test_long_inputs_are_taken_in_parts_of_equal_results(name, monkeypatch):
    gru = make(name)
    y_prev, x = draw(gru, (150,))
    lam, _ = draw(gru, (150,), seed=2)
    whole, bars = gru(y_prev, x), gru.vjp(y_prev, x, lam)
    monkeypatch.setattr(gru_step, "_CPU_STATES", gru.n_units)
    sizes = [part.stop - part.start for part, _ in gru_step._parts(gru._cell, y_prev)]
    assert sizes == [64, 64, 22]
    np.testing.assert_allclose(gru(y_prev, x), whole, rtol=1e-14, atol=1e-15)
    parts = gru.vjp(y_prev, x, lam)
    np.testing.assert_allclose(parts.y_prev, bars.y_prev, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(parts.x, bars.x, rtol=1e-13, atol=1e-15)
    for key, bar in bars.params.items():
        np.testing.assert_allclose(parts.params[key], bar, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["n=33", "h=2,k=5"])
def test_long_windows_are_multiplied_in_parts_of_equal_results(name, monkeypatch):
    gru = make(name)
    y_prev, x = draw(gru, (150,))
    whole, jacobian = gru.bind(x)(y_prev), gru.jac(y_prev, x)
    monkeypatch.setattr(gru_cell, "steps_on_one_thread", lambda n_products: 40)
    np.testing.assert_allclose(gru.bind(x)(y_prev), whole, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(gru.jac(y_prev, x), jacobian, rtol=1e-13, atol=1e-14)


def test_no_inputs():
    gru = GRU(np.ones((6, 0)), np.ones((6, 2)), np.ones(6))
    y_prev, x = np.ones((4, 2)), np.ones((4, 0))
    np.testing.assert_allclose(gru(y_prev, x), oracle(gru, y_prev, x), rtol=1e-13)
    np.testing.assert_allclose(gru.bind(x)(y_prev), gru(y_prev, x), rtol=1e-13)
    assert gru.vjp(y_prev, x, y_prev).x.shape == (4, 0)


@pytest.mark.parametrize("name", ["n=5", "h=3,k=2"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_dtype_is_kept(name, dtype):
    gru = make(name, "float32" if dtype in ("float32", "complex64") else "float64")
    y_prev, x = draw(gru, (6,), dtype)
    bound = gru.bind(x)
    y, jacobian = bound.linearize(y_prev)
    bars = gru.vjp(y_prev, x, y_prev)
    results = [gru(y_prev, x), y, jacobian(), gru.jac(y_prev, x), bars.y_prev, bars.x]
    results += list(bars.params.values())
    assert {a.dtype.name for a in results} == {dtype}
    tolerance = 10 * np.finfo(dtype).eps
    np.testing.assert_allclose(y, oracle(gru, y_prev, x), rtol=tolerance, atol=tolerance)


def test_widest_dtype_wins():
    gru = make("n=5", "float32")
    y_prev, x = draw(gru, (3,))
    y32, x32 = y_prev.astype("float32"), x.astype("float32")
    assert gru(y32, x32).dtype == "float32"
    for a, b in ((y_prev, x32), (y32, x), (y32, x32.astype(int))):
        assert gru(a, b).dtype == "float64"
        assert gru.bind(b)(a).dtype == "float64"
    wide_bias = gru.with_params({"bias_hh": gru.bias_hh.astype("float64")})
    assert wide_bias(y32, x32).dtype == "float64"
    bound = gru.bind(x32)
    assert [bound(a).dtype.name for a in (y32, y_prev, y32)] == ["float32", "float64", "float32"]


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("name", ["n=5", "elementwise"])
def test_huge_states_and_inputs_saturate_without_warnings(name, dtype):
    gru = make(name, "float32" if dtype == "float32" else "float64")
    huge = np.finfo(dtype).max ** 0.5
    y_prev, x = draw(gru, (40,), dtype)
    y_prev = y_prev * np.where(np.arange(40)[:, None] % 2, huge, 1).astype(dtype)
    x = x * np.where(np.arange(40)[:, None] % 3, huge, 1).astype(dtype)
    y, jacobian = gru.bind(x).linearize(y_prev)
    assert np.isfinite(y).all()
    assert np.isfinite(jacobian()).all()
    bars = gru.vjp(y_prev, x, np.ones_like(y))
    assert np.isfinite(bars.y_prev).all()
    if dtype != "complex128":
        with np.errstate(over="ignore"):
            expected = oracle(gru, y_prev.astype("longdouble"), x.astype("longdouble"))
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_largest_states_do_not_overflow(dtype):
    gru = make("n=5", dtype)
    gru = gru.with_params({key: a / 10 for key, a in gru.params.items()})
    y_prev, x = draw(gru, (4,), dtype)
    y_prev = np.copysign(np.finfo(dtype).max, y_prev)
    y, jacobian = gru.bind(x).linearize(y_prev)
    assert np.isfinite(y).all()
    assert np.isfinite(jacobian()).all()


def test_float32_is_accurate():
    gru = make("n=33", "float32")
    y_prev, x = draw(gru, (500,), "float32")
    wide = gru.with_params({key: a.astype("float64") for key, a in gru.params.items()})
    np.testing.assert_allclose(gru(y_prev, x), wide(y_prev, x), rtol=0, atol=1e-6)
    np.testing.assert_allclose(gru.jac(y_prev, x), wide.jac(y_prev, x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["n=5", "h=3,k=2"])
def test_inputs_of_any_strides_are_read_and_left_alone(name):
    gru = make(name)
    y_prev, x = draw(gru, (4, 3))
    expected, jacobian = gru(y_prev, x), gru.jac(y_prev, x)
    lam = np.ones_like(y_prev)
    bars = gru.vjp(y_prev, x, lam)
    for layout in (
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
        lambda a: a[::-1, :, ::-1].copy()[::-1, :, ::-1],
    ):
        y_, x_ = layout(y_prev), layout(x)
        y_.flags.writeable = x_.flags.writeable = False
        np.testing.assert_allclose(gru(y_, x_), expected, rtol=1e-13)
        np.testing.assert_allclose(gru.bind(x_)(y_), expected, rtol=1e-13)
        np.testing.assert_allclose(gru.jac(y_, x_), jacobian, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(gru.vjp(y_, x_, lam).x, bars.x, rtol=1e-12, atol=1e-15)


@every_cell
@pytest.mark.parametrize(
    ("lead", "x_lead"),
    [((4,), (4,)), ((4, 3), (4, 3)), ((4, 3), (4, 1)), ((2, 5000), (2, 5000)), ((3, 0), (3, 0))],
    ids=str,
)
def test_steps_taken_one_by_one(name, lead, x_lead):
    gru = make(name)
    y_prev, _ = draw(gru, lead)
    _, x = draw(gru, x_lead)
    bound, expected = gru.bind(x), gru(y_prev, x)
    for t in range(lead[0]):
        y = bound.step(t, y_prev[t : t + 1])
        assert y.dtype == expected.dtype
        np.testing.assert_allclose(y, expected[t : t + 1], rtol=1e-13, atol=1e-15)
