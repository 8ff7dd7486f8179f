"""Element steps in CUDA C++ do what they do in Python."""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.emulation import reason_not_to_emulate

pytestmark = [pytest.mark.gpu] if reason_not_to_emulate() else []
cupy = pytest.importorskip("cupy", reason=reason_not_to_emulate() or "CuPy is not installed")

from support.compiled_steps import compiled, interpreted  # noqa: E402

import seqsolve  # noqa: E402
from seqsolve.step import ElementStepError  # noqa: E402

RATE, COUNT, WEIGHTS = 0.25, 3, (1.0, -2.0, 0.5)
TABLE = np.array([[1, 2], [3, -4]])


def values(n_batch, n, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    y = rng.uniform(-4, 4, (n_batch, n)).astype(dtype)
    y[0], y[1], y[2] = 0, -1, 2
    return y


def assert_same(step, y, x=None, params=None, tolerance=4e-15):
    got, expected = compiled(step, y, x, params), interpreted(step, y, x, params)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def integers(y_prev, x, params, y_out):
    """Python's integers: division, remainder, powers, shifts, signs."""
    a, b = x[0], x[1]
    y_out[0] = a // b if b else 99.0
    y_out[1] = a % b if b != 0 else -99.0
    y_out[2] = a / (b * b + 1)
    y_out[3] = (a * b) % 5 - (a - 2 * b) // 3
    y_out[4] = -(a**2) + 2**5 + (-3) ** 3 + a**0
    y_out[5] = (a & 6) | (b ^ 3)
    y_out[6] = (a << 2) - (a >> 1) + ~b
    y_out[7] = abs(a) - min(a, b, 2) + max(a, -b)
    y_out[8] = int(y_prev[0]) + round(y_prev[1]) + math.floor(y_prev[0]) - math.ceil(y_prev[1])
    y_out[9] = (a > b) + (a == b) * 2 + (not a) + bool(b)
    y_out[10] = float(a) ** b if b >= 0 else 0.0
    y_out[11] = int(True) + len(x) + x.size + x.ndim + len(y_prev)
    y_out[12] = a * y_prev[0] + b * 0.5 + 7 / 2


def test_integers():
    x = np.random.default_rng(1).integers(-9, 9, (60, 2))
    x[:4] = [[-7, 3], [7, -3], [5, 0], [-8, -8]]
    for dtype in ("int64", "int8"):
        assert_same(integers, values(60, 13), x.astype(dtype))


def numbers(y_prev, x, params, y_out):
    """Floating-point division, remainder, comparisons that are chained or cut short."""
    a, b = y_prev[0], y_prev[1]
    y_out[0] = a // b
    y_out[1] = a % b
    y_out[2] = a % -0.75 + 1.5 // b
    y_out[3] = -2.0 < a < b or 0 <= b <= 1 <= a
    y_out[4] = 5.0 if (a > 0 and 1 / a > b) or not b < 2 else -5.0
    y_out[5] = (a and b) + (a or 3.0) - (0 or b)
    y_out[6] = a**2 - b**3 + abs(a) ** 0.5 + a**-1 * 0.125
    y_out[7] = min(a, b) - max(a, 0, b)
    y_out[8] = np.where(a > b, a, 2 * b) + np.clip(a, -1.0, 1)
    y_out[9] = +a - -b
    y_out[10] = 1 if a else 0
    y_out[11] = a != b
    y_out[12] = 1e-320 * 0 + 3.0e38 * b + 1e300 * 1e-300


def test_numbers():
    y = values(50, 13)
    y[3, :2], y[4, :2] = (np.nan, 1.0), (np.inf, -np.inf)
    assert_same(numbers, y)


def functions(y_prev, x, params, y_out):
    a, b = y_prev[0], y_prev[1]
    y_out[0] = math.tanh(a) + np.sinh(b) + math.cosh(a)
    y_out[1] = math.sin(a) * np.cos(b) + math.tan(0.3 * a)
    y_out[2] = np.exp(a) + math.exp(-b) - np.expm1(a) + np.exp2(b)
    y_out[3] = np.log(abs(a) + 1.0) + math.log1p(abs(b)) + np.log2(3.0 + a * a) + math.log10(2.0)
    y_out[4] = math.sqrt(abs(a)) + np.hypot(a, b) + np.arctan2(a, b) + math.atan(b)
    y_out[5] = np.maximum(a, b) - np.minimum(a, 0.5) + np.sign(b) + np.square(a)
    y_out[6] = math.erf(a) + math.erfc(b) + math.copysign(2.0, a) + math.fmod(a, 3.0)
    y_out[7] = np.logaddexp(a, b) + np.heaviside(a, 0.5) + np.fabs(b)
    y_out[8] = np.floor(a) + np.ceil(b) + np.trunc(a) + np.rint(b)
    y_out[9] = np.isfinite(a) + 2 * np.isnan(b) + 4 * math.isinf(a)
    y_out[10] = 2 * np.logical_and(a > 0, b) + np.greater(a, b) * 1 + np.add(a, b) * np.float64(0.5)
    y_out[11] = math.pi + np.e - math.inf * 0.0 if a > 9 else math.pi
    y_out[12] = np.arcsinh(a) + np.arctan(b) + math.gamma(2.5) + np.cbrt(a)


def test_functions_of_numbers():
    assert_same(functions, values(30, 13), tolerance=1e-13)


def control_flow(y_prev, x, params, y_out):
    """Loops and branches; a variable that starts as an integer."""
    total = 0
    for i in range(len(y_prev)):
        if i == 2:
            continue
        if y_prev[i] > 3.5:
            break
        total += y_prev[i]
    y_out[0] = total
    y_out[1] = i
    steps = 0
    value = abs(y_prev[0]) + 1.0
    while value < 50.0:
        value *= 2
        steps += 1
        if steps > 3:
            break
    y_out[2] = value
    y_out[3] = steps
    count = 0
    for i in range(10, -3, -4):
        for j in range(i):
            count += j * i
    y_out[4] = count
    if y_prev[0] > 1.0:
        sign = 1
    elif y_prev[0] > -1.0:
        sign = 0
    else:
        sign = -1
    y_out[5] = sign
    for k in range(int(abs(y_prev[1]))):
        y_out[5] += k
    first, (second, _) = y_prev[0], (y_prev[1], 3)
    first, second = second, first
    both = y_out[10] = first + second
    y_out[6] = first - 2.0 * second
    y_out[-1] = both * y_prev[-1] + y_prev[-len(y_prev)]
    y_out[7]: float = 1.5
    for n in range(2):
        last = n
    y_out[8] = last
    while True:
        steps += 2
        if steps > 10:
            found = steps
            break
    y_out[9] = found


def test_control_flow():
    assert_same(control_flow, values(40, 11))


def smooth(a, rate=RATE):
    """A function that calls another, returns early, and has a default."""
    if a > 2.0:
        return 2.0
    return squared(a) * rate + (lambda_like(a) if a < 0 else 0)


def squared(a):
    return a * a


lambda_like = lambda a: a - 1  # noqa: E731


def pair(a, b):
    if a > b:
        return a, 1
    return b, 0.5


def fill(y_prev, y_out, first, n):
    for i in range(n):
        y_out[first + i] = y_prev[i] * WEIGHTS[i]


def closed_over(scale, offset, mode):
    def step(y_prev, x, params, y_out):
        W, gain, table = params
        larger, weight = pair(y_prev[0], y_prev[1])
        fill(y_prev, y_out, 0, COUNT)
        y_out[3] = larger * weight
        y_out[4] = scale * y_prev[0] + offset[1]
        y_out[5] = smooth(y_prev[2]) + smooth(rate=2.0, a=y_prev[0])
        row = W[1]
        y_out[6] = row[0] * gain + W[-1, 1] + len(W) + W.shape[1] + table[2][0, 1]
        y_out[7] = TABLE[0, 1] * TABLE[int(y_prev[0] > 0)][1]
        y_out[8] = params[1] + (1.0 if x is None else x[0])
        y_out[9] = WEIGHTS[int(abs(y_prev[0])) % 3]
        y_out[10] = 1.0 if mode == "plus" else -1.0
        y_out[11] = operator.mul(y_prev[0], 3)

    return step


def test_helpers_closures_parameters_and_tables():
    params = {
        "W": np.array([[0.5, 1.0], [2.0, -3.0], [0.25, 8.0]]),
        "gain": np.float64(0.9),
        "table": np.arange(12.0).reshape(3, 2, 2),
    }
    step = closed_over(0.1, (1, 2.5), "plus")
    assert_same(step, values(30, 12), params=params)
    assert_same(closed_over(np.float32(2), (0, -1), ""), values(9, 12), params=params)


def test_single_precision_stays_single():
    def step(y_prev, x, params, y_out):
        third = 1 / 3
        y_out[0] = y_prev[0] * 0.1 + third
        y_out[1] = 1 - y_prev[0]
        y_out[2] = y_prev[0] / 3 + 16777217 * 0

    y = values(40, 3, "float32")
    expected = np.stack(
        [
            y[:, 0] * np.float32(0.1) + np.float32(1 / 3),
            np.float32(1) - y[:, 0],
            y[:, 0] / np.float32(3),
        ],
        axis=1,
    )
    np.testing.assert_array_equal(compiled(step, y), expected)


def test_complex_states():
    def step(y_prev, x, params, y_out):
        (w,) = params
        z = w[0] * y_prev[0] + 0.5j
        y_out[0] = z / (2 + abs(y_prev[1]) ** 2) - y_prev[1].conj() if False else z / 2
        y_out[1] = np.tanh(z) + np.exp(0.3 * z) * np.conj(y_prev[1])
        y_out[2] = y_prev[0].real - 1j * y_prev[1].imag + abs(y_prev[0]) + z**2
        y_out[3] = np.sqrt(z) / (3 - z) + np.log(z) + np.sin(z) * np.cos(z)
        y_out[4] = 1.0 if z != y_prev[0] else -z

    rng = np.random.default_rng(0)
    y = rng.standard_normal((20, 5)) + 1j * rng.standard_normal((20, 5))
    params = {"w": np.array([0.4 + 0.3j])}
    assert_same(step, y, params=params, tolerance=1e-13)


def terms():
    """Expressions of a, b (numbers), i, j (integers) as text, with their kind."""
    number = st.sampled_from(["a", "b", "0.75", "-1.5", "2.0", "c"])
    integer = st.sampled_from(["i", "j", "3", "-2", "0", "7"])
    divisor = st.sampled_from(["0.75", "-1.5", "3", "(b - 9.5)", "(a + 9.5)", "(j - 7)", "-2"])

    def extend(parts):
        numbers, ints = parts, integer
        return st.one_of(
            st.builds("({} {} {})".format, numbers, st.sampled_from("+-*"), numbers),
            st.builds("({} {} {})".format, numbers, st.sampled_from(["/", "//", "%"]), divisor),
            st.builds("({} {} {})".format, ints, st.sampled_from(["+", "-", "*"]), numbers),
            st.builds("(({} {} -3) + {})".format, ints, st.sampled_from(["//", "%"]), numbers),
            st.builds("({} if {} < {} else {})".format, numbers, numbers, numbers, numbers),
            st.builds("({} {} {})".format, numbers, st.sampled_from(["and", "or"]), numbers),
            st.builds("({} < {} <= {})".format, numbers, numbers, numbers),
            st.builds("(not {})".format, numbers),
            st.builds("min({}, {})".format, numbers, numbers),
            st.builds("max({}, {}, {})".format, numbers, ints, numbers),
            st.builds("abs({})".format, numbers),
            st.builds("(-{})".format, numbers),
            st.builds("math.atan({})".format, numbers),
            st.builds("np.minimum({}, {})".format, numbers, numbers),
        )

    return st.recursive(st.one_of(number, integer), extend, max_leaves=8)


@settings(
    max_examples=4,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(terms(), min_size=60, max_size=60))
def test_random_expressions(tmp_path_factory, texts):
    lines = "\n".join(f"    y_out[{n}] = {text}" for n, text in enumerate(texts))
    source = (
        "import math\nimport numpy as np\nc = 0.3\n"
        "def step(y_prev, x, params, y_out):\n"
        f"    a, b, i, j = float(y_prev[0]), float(y_prev[1]), int(x[0]), int(x[1])\n{lines}\n"
    )
    path = tmp_path_factory.mktemp("steps") / "random_step.py"
    path.write_text(source)
    names = {}
    exec(compile(source, str(path), "exec"), names)
    rng = np.random.default_rng(0)
    y, x = values(12, 60), rng.integers(-5, 6, (12, 2))
    got, expected = compiled(names["step"], y, x), interpreted(names["step"], y, x)
    differs = ~(np.abs(got - expected) <= 1e-12 * (1 + np.abs(expected)))
    assert not differs.any(), [texts[n] for n in np.flatnonzero(differs.any(0))]


def test_globals_that_change_are_noticed(monkeypatch):
    from seqsolve_cupy.element.program import Programs

    def step(y_prev, x, params, y_out):
        y_out[0] = RATE * TABLE[0, 0]

    cell, programs = seqsolve.element_step(step, n_state=1), Programs()

    def program():
        return programs.of(cell, None, cupy.ones((2, 1, 1)))[0]

    first = program()
    assert program() is first
    monkeypatch.setitem(globals(), "RATE", 0.5)
    second = program()
    assert second is not first
    assert "Real(0.5)" in second.text
    monkeypatch.setitem(globals(), "TABLE", TABLE + 7)
    assert "int64(8)" in program().text
    TABLE[0, 0] += 1
    assert "int64(9)" in program().text


def test_inputs_of_any_dtype_layout_and_shape():
    def step(y_prev, x, params, y_out):
        y_out[0] = 0.5 * y_prev[0] + x[0, 1] - 2 * x[1, 2]
        y_out[1] = y_prev[1] / 2 + x[1, 0] // 2

    rng = np.random.default_rng(0)
    y0 = rng.standard_normal((3, 2)).astype("float32")
    for dtype in ("float16", "float32", "int8", "uint16", "bool"):
        x = rng.uniform(0, 5, (12, 3, 3, 2)).astype(dtype).swapaxes(-1, -2)
        moved = cupy.asarray(x)[::-1]
        cell = seqsolve.element_step(step, n_state=2)
        solution = seqsolve.sequential(cell, moved, cupy.asarray(y0))
        expected = seqsolve.sequential(cell, x[::-1], y0)
        assert solution.y.dtype == expected.y.dtype, dtype
        np.testing.assert_allclose(solution.y.get(), expected.y, rtol=1e-5, atol=1e-5)


def test_names_that_mean_something_in_cpp():
    def step(y_prev, x, params, y_out):
        (template,) = params
        int64, double, register, View, t2, i1 = 1.0, 2.0, 3.0, 4.0, 5.0, 6.0
        λ = y_prev[0] * template
        for namespace in range(2):
            λ += namespace
        y_out[0] = int64 + double + register + View + t2 + i1 + λ
        y_out[1], Real, Number, _ = y_prev[0], 1.0, 2.0, 3.0
        y_out[1] += Real + Number

    assert_same(step, values(5, 2), params={"template": np.array(0.5)})


def test_an_index_that_is_not_there_is_found_at_the_first_position():
    def step(y_prev, x, params, y_out):
        for i in range(3):
            y_out[0] = y_prev[0] + x[i]

    cell = seqsolve.element_step(step, n_state=1)
    with pytest.raises(ElementStepError, match=r"y_prev\[0\] \+ x\[i\](.|\n)*first position"):
        seqsolve.sequential(cell, np.zeros((4, 2)), np.zeros(1), backend="cupy")
    seqsolve.sequential(cell, np.zeros((4, 3)), np.zeros(1), backend="cupy")


def test_errors_of_numbers_are_not_errors_of_translation():
    def step(y_prev, x, params, y_out):
        y_out[0] = math.log(x[0]) + 1 / x[1]

    y = seqsolve.sequential(
        seqsolve.element_step(step, n_state=1),
        np.array([[-1.0, 1.0], [1.0, 2.0]]),
        np.zeros(1),
        backend="cupy",
    ).y.get()
    np.testing.assert_array_equal(y[:, 0], [np.nan, 0.5])


def test_the_array_form_runs_what_is_refused():
    def step(y_prev, x, params, y_out):
        y_out[0] = sum([0.5 * y_prev[0], x[0]])

    cell, x = seqsolve.element_step(step, n_state=1), np.ones((5, 1))
    with pytest.raises(ElementStepError, match="not supported"):
        seqsolve.sequential(cell, x, np.zeros(1), backend="cupy")
    y = seqsolve.sequential(cell.__call__, cupy.asarray(x), np.zeros(1), backend="cupy").y
    np.testing.assert_allclose(y.get()[-1], 1.9375)


def test_many_threads_translate_at_once():
    from concurrent.futures import ThreadPoolExecutor

    def step(y_prev, x, params, y_out):
        y_out[0] = 0.5 * y_prev[0] + 1.0

    def solve(_):
        cell = seqsolve.element_step(step, n_state=1)
        return seqsolve.sequential(cell, None, np.zeros(1), n_steps=3, backend="cupy").y.get()

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(solve, range(8)))
    assert all(r.tolist() == [[1.0], [1.5], [1.75]] for r in results)
