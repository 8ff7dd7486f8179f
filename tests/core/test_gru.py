from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
from numpy.lib.mixins import NDArrayOperatorsMixin

from seqsolve.models import GRU, MultiHeadGRU
from seqsolve.models import _gru_cell as gru_cell
from seqsolve.models import _gru_step as gru_step
from seqsolve.step import Bindable, Differentiable, Parametrised

CELLS = {
    "n=1": {"n_inputs": 1, "n_units": 1},
    "n=2": {"n_inputs": 3, "n_units": 2},
    "n=5": {"n_inputs": 2, "n_units": 5},
    "n=33": {"n_inputs": 4, "n_units": 33},
    "no bias": {"n_inputs": 2, "n_units": 4, "bias": False},
    "h=1": {"n_inputs": 2, "n_units": 3, "n_heads": 1},
    "h=3,k=2": {"n_inputs": 4, "n_units": 6, "n_heads": 3},
    "h=2,k=5": {"n_inputs": 1, "n_units": 10, "n_heads": 2},
    "elementwise": {"n_inputs": 3, "n_units": 7, "n_heads": 7},
    "heads, no bias": {"n_inputs": 3, "n_units": 6, "n_heads": 2, "bias": False},
}
LEADS = [(), (1,), (6,), (4, 3), (1, 5), (2, 1, 3), (0,), (3, 0)]


def make(name, dtype="float64", rng=0):
    options = CELLS[name]
    return (MultiHeadGRU if "n_heads" in options else GRU).random(**options, dtype=dtype, rng=rng)


def draw(gru, lead, dtype="float64", seed=1):
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((*lead, gru.n_units)).astype(dtype)
    return y, rng.standard_normal((*lead, gru.n_inputs)).astype(dtype)


def heads_of(gru):
    """Yield the parameters of each head and the slice of its states."""
    named = {
        name: gru.params.get(name) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    if isinstance(gru, GRU):
        named = {name: None if a is None else a[None] for name, a in named.items()}
    k = named["weight_hh"].shape[-1]
    for i in range(named["weight_hh"].shape[0]):
        head = {name: None if a is None else a[i] for name, a in named.items()}
        yield head, slice(i * k, (i + 1) * k)


def logistic(a):
    return 1 / (1 + np.exp(-a))


def oracle(gru, y_prev, x):
    """PyTorch's equations, one step and head after the other."""
    lead = np.broadcast_shapes(y_prev.shape[:-1], x.shape[:-1])
    y_prev = np.broadcast_to(y_prev, (*lead, gru.n_units))
    x = np.broadcast_to(x, (*lead, gru.n_inputs))
    y = np.empty(y_prev.shape, np.result_type(y_prev, x, *gru.params.values()))
    for step in np.ndindex(*lead):
        for p, own in heads_of(gru):
            h = y_prev[step][own]
            k = h.size
            zero = np.zeros(3 * k)
            gi = p["weight_ih"] @ x[step] + (zero if p["bias_ih"] is None else p["bias_ih"])
            gh = p["weight_hh"] @ h + (zero if p["bias_hh"] is None else p["bias_hh"])
            r = logistic(gi[:k] + gh[:k])
            z = logistic(gi[k : 2 * k] + gh[k : 2 * k])
            nn = np.tanh(gi[2 * k :] + r * gh[2 * k :])
            y[step][own] = (1 - z) * nn + z * h
    return y


def as_dense(gru, jacobian):
    """Return a Jacobian of either form as ``(..., n, n)``."""
    if isinstance(gru, GRU):
        return jacobian
    dense = np.zeros((*jacobian.shape[:-3], gru.n_units, gru.n_units), jacobian.dtype)
    k = gru.head_size
    for i in range(gru.n_heads):
        own = slice(i * k, (i + 1) * k)
        dense[..., own, own] = jacobian[..., i, :, :]
    return dense


def complex_step(f, a, direction, h=1e-30):
    """The derivative of `f` at `a` along `direction`."""
    return f(a + 1j * h * direction).imag / h


class ForeignArray(NDArrayOperatorsMixin):
    """An array of another library: it refuses NumPy arrays, as CuPy's do."""

    _ATTRIBUTES = frozenset(
        ["shape", "ndim", "dtype", "T", "reshape", "swapaxes", "transpose", "copy", "astype", "sum"]
    )

    def __init__(self, data):
        self.data = data

    def __getattr__(self, name):
        if name not in self._ATTRIBUTES:
            raise AttributeError(name)
        value = getattr(self.data, name)
        if callable(value):
            return lambda *args, **kwargs: ForeignArray(value(*args, **kwargs))
        return ForeignArray(value) if name == "T" else value

    def __getitem__(self, index):
        return ForeignArray(self.data[index])

    def __setitem__(self, index, value):
        self.data[index] = self._unwrap(value)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        assert method == "__call__"
        if out is not None:
            kwargs["out"] = tuple(self._unwrap(a) for a in out)
        result = ufunc(*(self._unwrap(a) for a in inputs), **kwargs)
        return out[0] if out is not None else ForeignArray(result)

    def __array_function__(self, func, types, args, kwargs):
        assert func in (np.empty_like, np.zeros_like, np.broadcast_to)
        return ForeignArray(func(self._unwrap(args[0]), *args[1:], **kwargs))

    @staticmethod
    def _unwrap(a):
        assert isinstance(a, ForeignArray | int | float)
        return a.data if isinstance(a, ForeignArray) else a


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


@every_cell
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


@every_cell
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
