"""Linear recurrences against naive loops, in every shape and at every length."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter
from support.steps import fixed

import seqsolve
from seqsolve import cyclic_reduction, linear_recurrence
from seqsolve.portable import PortableBackend

METHODS = ["auto", "scan", "cyclic_reduction", "sequential"]
TOLERANCE = {"float32": 2e-5, "complex64": 2e-5, "float64": 1e-12, "complex128": 1e-12}
KINDS = ["diagonal", "block_diagonal", "dense"]


def apply(A, v, kind):
    if kind == "diagonal":
        return A * v
    if kind == "dense":
        return (A @ v[..., None])[..., 0]
    heads = v.reshape(*v.shape[:-1], A.shape[-3], A.shape[-1], 1)
    return (A @ heads).reshape(v.shape)


def naive(A, b, y0=None, kind="dense", reverse=False):
    """The loop, in the precision of what it is given."""
    lead = b.shape[:-1]
    A = np.broadcast_to(A, (*lead, *A.shape[len(lead) :]))
    y = np.zeros(b.shape, np.result_type(A, b))
    state = np.zeros(b.shape[1:], y.dtype) if y0 is None else y0
    for t in reversed(range(len(b))) if reverse else range(len(b)):
        state = y[t] = apply(A[t], state, kind) + b[t]
    return y


def random_system(rng, kind, n_steps, batch, n, lead=None, dtype="float64", gain=0.9):
    """Return `A`, of leading axes `lead`, `b` and `y0`."""
    k = {"diagonal": 1, "dense": n, "block_diagonal": n // 2 if n > 2 else n}[kind]
    matrix = {"diagonal": (n,), "dense": (n, n), "block_diagonal": (n // k, k, k)}[kind]

    def noise(shape):
        a = rng.uniform(-1, 1, shape)
        if np.dtype(dtype).kind == "c":
            a = (a + 1j * rng.uniform(-1, 1, shape)) / 2
        return a.astype(dtype)

    A = noise((*((n_steps, *batch) if lead is None else lead), *matrix))
    if kind != "diagonal":
        A = A / k
    return (gain * A).astype(dtype), noise((n_steps, *batch, n)), noise((*batch, n))


@fixed
@given(
    kind=st.sampled_from(KINDS),
    method=st.sampled_from(METHODS),
    dtype=st.sampled_from(list(TOLERANCE)),
    n_steps=st.sampled_from([0, 1, 2, 3, 5, 8, 31, 100]),
    batch=st.sampled_from([(), (1,), (3,), (2, 3), (0,)]),
    n=st.sampled_from([1, 2, 4, 6]),
    reverse=st.booleans(),
    initial=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_equals_the_loop(kind, method, dtype, n_steps, batch, n, reverse, initial, seed):
    A, b, y0 = random_system(np.random.default_rng(seed), kind, n_steps, batch, n, dtype=dtype)
    y0 = y0 if initial else None
    y = linear_recurrence(A, b, y0, reverse=reverse, method=method)
    assert y.dtype == dtype
    assert y.shape == b.shape
    expected = naive(A, b, y0, kind, reverse)
    np.testing.assert_allclose(y, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    if method == "cyclic_reduction":
        np.testing.assert_array_equal(cyclic_reduction(A, b, y0, reverse=reverse), y)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "lead",
    [(20, 2, 3), (1, 2, 3), (20, 1, 1), (20, 2, 1), (20, 1, 3), (1, 1, 3), (1, 1, 1)],
)
def test_leading_axes_of_the_matrices_broadcast(kind, method, reverse, lead):
    A, b, y0 = random_system(np.random.default_rng(0), kind, 20, (2, 3), 4, lead)
    y = linear_recurrence(A, b, y0, method=method, reverse=reverse)
    np.testing.assert_allclose(y, naive(A, b, y0, kind, reverse), atol=1e-12)


@pytest.mark.parametrize(
    ("A", "b", "y0", "expected"),
    [
        ("float32", "float64", None, "float64"),
        ("float64", "float32", None, "float64"),
        ("float32", "float32", "float64", "float64"),
        ("float32", "complex64", None, "complex64"),
        ("complex64", "float64", None, "complex128"),
        ("int32", "int8", None, "float64"),
        ("float16", "float16", "float16", "float32"),
        ("bool", "float32", None, "float64"),
    ],
)
def test_dtypes_promote(A, b, y0, expected):
    A, b = np.ones((5, 2), A), np.ones((5, 2), b)
    y0 = None if y0 is None else np.ones(2, y0)
    y = linear_recurrence(A, b, y0)
    assert y.dtype == expected
    np.testing.assert_array_equal(y[:, 0], np.arange(1, 6) + (y0 is not None))


def test_lists_are_arrays():
    np.testing.assert_array_equal(linear_recurrence([[2], [2]], [[1], [1]], [1]), [[3], [7]])


LAYOUTS = {
    "C": lambda a: a,
    "F": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=0)[::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "inner stride": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "transposed batch": lambda a: np.ascontiguousarray(a.swapaxes(0, 1)).swapaxes(0, 1),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", METHODS)
def test_any_layout(kind, layout, method):
    A, b, y0 = random_system(np.random.default_rng(1), kind, 33, (3,), 4)
    expected = naive(A, b, y0, kind)
    A, b = LAYOUTS[layout](A), LAYOUTS[layout](b)
    A.flags.writeable = b.flags.writeable = y0.flags.writeable = False
    np.testing.assert_allclose(linear_recurrence(A, b, y0, method=method), expected, atol=1e-12)
    out = LAYOUTS[layout](np.empty_like(expected))
    assert linear_recurrence(A, b, y0, method=method, out=out) is out
    np.testing.assert_allclose(out, expected, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("alias", ["b", "A", "shifted b", "y0"])
def test_out_may_overlap_the_inputs(method, reverse, alias):
    A, b, y0 = random_system(np.random.default_rng(2), "diagonal", 40, (3,), 4)
    expected = naive(A, b, y0, "diagonal", reverse)
    buffer = np.empty((41, 3, 4))
    if alias == "b":
        out = b
    elif alias == "A":
        out = A
    elif alias == "shifted b":
        buffer[:40] = b
        b, out = buffer[:40], buffer[1:]
    else:
        out = buffer[:40]
        out[0] = y0
        y0 = out[0]
    assert linear_recurrence(A, b, y0, method=method, reverse=reverse, out=out) is out
    np.testing.assert_allclose(out, expected, atol=1e-12)


def test_out_of_another_dtype():
    A, b, _ = random_system(np.random.default_rng(3), "dense", 20, (), 3, dtype="float32")
    out = np.empty(b.shape)
    assert linear_recurrence(A, b, out=out) is out
    np.testing.assert_array_equal(out, linear_recurrence(A, b))


def test_memory_mapped(tmp_path):
    A, b, _ = random_system(np.random.default_rng(4), "dense", 50, (), 3)
    files = {}
    for name, a in {"A": A, "b": b, "y": b}.items():
        files[name] = np.lib.format.open_memmap(tmp_path / f"{name}.npy", "w+", a.dtype, a.shape)
        files[name][...] = a
    assert linear_recurrence(files["A"], files["b"], out=files["y"]) is files["y"]
    files["y"].flush()
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), naive(A, b), atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_inputs_are_not_written_to(method, kind):
    arguments = random_system(np.random.default_rng(5), kind, 40, (2,), 4)
    copies = [a.copy() for a in arguments]
    linear_recurrence(*arguments, method=method)
    for a, copy in zip(arguments, copies, strict=True):
        np.testing.assert_array_equal(a, copy)


@pytest.mark.parametrize("method", METHODS)
def test_reverse_is_the_recurrence_of_the_reversed_arrays(method):
    A, b, y0 = random_system(np.random.default_rng(6), "dense", 37, (2,), 3)
    backwards = linear_recurrence(A, b, y0, reverse=True, method=method)
    forwards = linear_recurrence(A[::-1], b[::-1], y0, method=method)[::-1]
    np.testing.assert_allclose(backwards, forwards, atol=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_one_by_one_matrices_are_diagonal(method):
    rng = np.random.default_rng(7)
    A, b = rng.uniform(-1, 1, (30, 2, 1)), rng.standard_normal((30, 2, 1))
    expected = naive(A, b, None, "diagonal")
    for matrices in (A, A[..., None], A[..., None, None]):
        np.testing.assert_allclose(
            linear_recurrence(matrices, b, method=method), expected, atol=1e-13
        )


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize("method", METHODS)
def test_growth_is_followed_to_infinity(method):
    y = linear_recurrence(np.full((1000, 1), 1e3), np.ones((1000, 1)), method=method)
    assert np.isfinite(y[:100]).all()
    np.testing.assert_allclose(y[50, 0], 1e150, rtol=1e-2)
    assert not np.isfinite(y[200:]).any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_zero_matrices_forget(method, kind):
    A, b, y0 = random_system(np.random.default_rng(8), kind, 20, (), 4)
    A[10] = 0
    y = linear_recurrence(A, b, y0, method=method)
    np.testing.assert_allclose(y[10], b[10], atol=1e-15)
    later = linear_recurrence(A[11:], b[11:], b[10], method=method)
    np.testing.assert_allclose(y[11:], later, atol=1e-13)


@pytest.mark.parametrize("lead", [(1, 1), (2000, 1)])
@pytest.mark.parametrize("given", [False, True])
def test_memory_is_that_of_the_result(lead, given):
    """Matrices for all sequences are not copied for each, and `out` is written directly."""
    rng = np.random.default_rng(11)
    A, b = 0.1 * rng.uniform(-1, 1, (*lead, 4, 4)), rng.uniform(-1, 1, (2000, 50, 4))
    out = np.empty_like(b) if given else None
    linear_recurrence(A[:1], b[:1], out=None if out is None else out[:1])
    tracemalloc.start()
    try:
        linear_recurrence(A, b, out=out)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (0.1 if given else 1.1) * b.nbytes


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("method", ["auto", "sequential"])
def test_what_is_not_finite_does_not_travel_back(value, method):
    A, b, y0 = random_system(np.random.default_rng(9), "dense", 30, (2,), 3)
    expected = linear_recurrence(A, b, y0, method=method)
    b[20, 1] = value
    y = linear_recurrence(A, b, y0, method=method)
    np.testing.assert_array_equal(y[:20], expected[:20])
    np.testing.assert_array_equal(y[:, 0], expected[:, 0])
    assert not np.isfinite(y[20:, 1]).any()


# A million steps in float32

LONG = 10**6


def slow_system(n):
    """Return a recurrence that forgets in a thousand steps, float32."""
    rng = np.random.default_rng(10)
    b = rng.standard_normal((LONG, n)).astype("float32")
    if n == 1:
        return np.full((LONG, 1), 0.999, "float32"), b
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    A = np.broadcast_to((0.999 * Q).astype("float32"), (LONG, n, n))
    return A, b


def error(y, exact):
    return float(np.sqrt(np.mean((y - exact) ** 2)) / np.sqrt(np.mean(exact**2)))


@pytest.fixture(scope="module", params=[1, 4])
def long_system(request):
    """A recurrence of a million steps, its solution, and the error of a plain float32 loop."""
    A, b = slow_system(request.param)
    A64, b64 = np.broadcast_to(A[:1].astype(float), A.shape), b.astype(float)
    exact = linear_recurrence(A64, b64, method="sequential")
    plain = error(linear_recurrence(A, b, method="sequential"), exact)
    if request.param == 1:
        a = A[0].astype("float32")
        filtered = lfilter(np.float32([1]), np.float32([1, -a[0]]), b[:, 0])
        assert filtered.dtype == "float32"
        independent = error(filtered, exact[:, 0])
        check = lfilter([1.0], [1.0, -float(a[0])], b64[:, 0])
        np.testing.assert_allclose(exact[:, 0], check, rtol=1e-9, atol=1e-9)
    else:
        state, states = np.zeros(4, "float32"), np.empty((10**5, 4), "float32")
        matrix = A[0].copy()
        for t in range(len(states)):
            state = states[t] = matrix @ state + b[t]
        independent = error(states, exact[: len(states)])
    assert 0.5 < plain / independent < 2
    return A, b, exact, min(plain, independent)


@pytest.mark.parametrize("method", METHODS)
def test_a_million_float32_steps(long_system, method):
    A, b, exact, plain = long_system
    y = linear_recurrence(A, b, method=method)
    assert y.dtype == "float32"
    assert error(y, exact) <= 2 * plain
    assert error(y[-1000:], exact[-1000:]) <= 4 * plain


@pytest.mark.parametrize(
    "options", [{}, {"window": 1000}, {"linear_solver": "scan"}], ids=["default", "windows", "scan"]
)
def test_a_million_float32_steps_of_deer(long_system, options):
    A, b, exact, plain = long_system
    n = b.shape[-1]
    matrix = A[0]

    def f(y, x):
        return y * matrix + x if n == 1 else y @ matrix.T + x

    def jac(y, x):
        return np.broadcast_to(matrix, (y.shape[0], *matrix.shape))

    if n > 1:  # sums of terms of size 40 are off by this, also where they come out small
        options = {**options, "atol": 4e-6}
    solution = seqsolve.deer(f, jac, b, np.zeros(n, "float32"), **options)
    assert solution.success
    assert solution.y.dtype == "float32"
    assert error(solution.y, exact) <= 2 * plain


@pytest.mark.parametrize("kind", ["diagonal", "dense"])
@pytest.mark.parametrize("backend", ["numpy", "portable"])
def test_newton_updates_settle(kind, backend):
    """Increments of a few units in the last place decay like all others."""
    engine = {"numpy": seqsolve.get_backend("numpy"), "portable": PortableBackend("portable", np)}
    A, b = slow_system(1 if kind == "diagonal" else 4)
    A, b = A[:20_000, None], b[:20_000, None]
    exact = naive(A.astype(float), b.astype(float), None, kind)
    plain = error(naive(A, b, None, kind), exact)
    y = np.full_like(b, 30)
    for _ in range(8):
        before = np.concatenate([np.zeros_like(y[:1]), y[:-1]])
        engine[backend].newton_update(A, apply(A, before, kind) + b, y, method="auto")
    assert error(y, exact) <= 2 * plain


@pytest.mark.parametrize("factor", [2, -0.5, 0.5j, np.float64(0.5), np.array(0.5)], ids=repr)
@pytest.mark.parametrize("shape", [(7, 1), (7, 3), (7, 2, 3), (0, 3)])
def test_a_number_is_the_same_factor_of_all_states(factor, shape):
    b = np.random.default_rng(0).standard_normal(shape)
    expected = seqsolve.linear_recurrence(np.full(shape, factor), b)
    np.testing.assert_array_equal(seqsolve.linear_recurrence(factor, b), expected)
    same = seqsolve.cyclic_reduction(factor, b, reverse=True)
    np.testing.assert_allclose(same[::-1], seqsolve.linear_recurrence(factor, b[::-1]))


@pytest.mark.parametrize("factor", [2, 0.5, True])
def test_pythons_numbers_do_not_widen(factor):
    assert seqsolve.linear_recurrence(factor, np.ones((4, 2), "float32")).dtype == np.float32
    assert seqsolve.linear_recurrence(0.5j, np.ones((4, 2), "float32")).dtype == np.complex64
