"""Functions as they are compiled: their constants, what they take from outside, their mistakes."""

from __future__ import annotations

import gc
import math
import weakref
from types import FunctionType, ModuleType

import numpy as np
import pytest

import seqsolve
from seqsolve import ElementStepError, element_step
from seqsolve_numba import NumbaBackend
from seqsolve_numba.translate import Translator

GAIN = 0.5
TABLE = np.array([0.5, 2.0])
settings = ModuleType("settings")
settings.gain = 0.5
settings.inner = ModuleType("settings.inner")
settings.inner.outer, settings.inner.halve = settings, lambda a: 0.5 * a


def translate(function, dtype="float64"):
    """Return the translator of a function, and the function that would be compiled."""
    translator = Translator(np.dtype(dtype), compiled=lambda f: f)
    return translator, translator(function)


def made(source, **variables):
    """Return the function `f` of a source, its globals all its own."""
    variables = {"np": np, "math": math, "__name__": "somewhere", **variables}
    exec(source, variables)
    return variables["f"]


CONSTANTS = {
    "literal": "def f(): return 0.5",
    "global": "k = 0.5\ndef f(): return k",
    "default": "def f(k=0.5): return k",
    "tuple": "k = (1, (0.5, 2))\ndef f(): return k[1][0]",
    "inner function": "def f():\n def g(a): return a + 0.5\n return g(np.float32(0))",
    "lambda": "def f(): return (lambda a: a + 0.5)(np.float32(0))",
    "helper": "def g(a, k=0.5): return a + k\ndef f(): return g(np.float32(0))",
    "constant of a module": "def f(): return math.pi",
    "constant of a user's module": "def f(): return settings.gain",
    "function of a user's module": "def f(): return settings.inner.halve(np.float32(3))",
    "closure": "def make(k):\n return lambda: k\nf = make(0.5)",
}


@pytest.mark.parametrize("source", CONSTANTS.values(), ids=CONSTANTS)
def test_constants_take_the_precision_of_the_state(source):
    function = made(source, settings=settings)
    narrow = translate(function, "float32")[1]()
    assert narrow == np.float32(function())
    assert narrow.dtype == np.float32
    assert translate(function, "float64")[1]() == function()


def test_complex_constants_take_it_too():
    assert translate(lambda: 0.5j, "float32")[1]().dtype == np.complex64


@pytest.mark.parametrize("name", CONSTANTS)
def test_contents_differ_where_functions_do(name):
    source = CONSTANTS[name]
    one, two = (ModuleType("settings") for _ in range(2))
    for module in (one, two):
        module.gain, module.inner = 0.5, ModuleType("inner")
        module.inner.halve = lambda a: 0.5 * a
    same = translate(made(source, settings=one))[0].content
    assert same is not None
    assert translate(made(source, settings=two))[0].content == same
    two.gain, two.inner.halve = 0.25, lambda a: 0.25 * a
    other = made(source.replace("0.5", "0.25").replace("math.pi", "math.e"), settings=two)
    assert translate(other)[0].content != same


def test_nothing_is_said_of_what_has_no_digest():
    assert translate(made("def f(): return k", k=object()))[0].content is None


def change_default(function):
    function.__defaults__ = (0.25,)


def change_code(function):
    function.__code__ = (lambda k=0.5: 3).__code__


CHANGES = {
    "global": ("def f(): return GAIN", lambda f: f.__globals__.update(GAIN=0.25)),
    "array": ("def f(): return TABLE[0]", lambda f: f.__globals__["TABLE"].fill(0.25)),
    "dtype": ("def f(): return TABLE[0]", lambda f: f.__globals__.update(TABLE=TABLE.view("i8"))),
    "missing": ("def f(): return later", lambda f: f.__globals__.update(later=1.0)),
    "deleted": ("def f(): return GAIN", lambda f: f.__globals__.pop("GAIN")),
    "helper": (
        "def g(): return 1\ndef f(): return g()",
        lambda f: f.__globals__.update(g=lambda: 2),
    ),
    "module": (
        "def f(): return settings.gain",
        lambda f: vars(f.__globals__["settings"]).update(gain=0.25),
    ),
    "closure": (
        "def make(k):\n def f(): return k\n return f\nf = make(1)",
        lambda f: setattr(f.__closure__[0], "cell_contents", 2),
    ),
    "default": ("def f(k=0.5): return k", change_default),
    "code": ("def f(k=0.5): return k", change_code),
}


@pytest.mark.parametrize(("source", "change"), CHANGES.values(), ids=CHANGES)
def test_what_has_changed_is_noticed(source, change):
    mine = ModuleType("settings")
    mine.gain = 0.5
    function = made(source, GAIN=0.5, TABLE=TABLE.copy(), settings=mine)
    translator, _ = translate(function)
    assert translator.current
    change(function)
    assert not translator.current


def step_by_gain(y_prev, x, params, y_out):
    y_out[0] = GAIN * y_prev[0]


def test_a_step_follows_its_globals(monkeypatch):
    cell, backend = element_step(step_by_gain, n_state=1), NumbaBackend()

    def solve():
        return seqsolve.sequential(cell, None, [8.0], n_steps=2, backend=backend).y[:, 0].tolist()

    assert solve() == [4.0, 2.0]
    monkeypatch.setitem(globals(), "GAIN", 0.25)
    assert solve() == [2.0, 0.5]
    monkeypatch.delitem(globals(), "GAIN")
    with pytest.raises(ElementStepError, match="name 'GAIN' is not defined"):
        solve()
    monkeypatch.setitem(globals(), "GAIN", 0.5)
    assert solve() == [4.0, 2.0]


def test_parameters_are_not_kept():
    def step(y_prev, x, params, y_out):
        y_out[0] = params[0][0] * y_prev[0]

    backend, w = NumbaBackend(), np.full(1000, 0.5)
    cell, kept = element_step(step, n_state=1, params={"w": w}), weakref.ref(w)
    assert seqsolve.sequential(cell, None, [1.0], n_steps=1, backend=backend).y[0, 0] == 0.5
    del cell, w
    gc.collect()
    assert kept() is None


def reads_beyond(y_prev, x, params, y_out):
    y_out[0] = y_out[1] = y_prev[2]


def writes_beyond(y_prev, x, params, y_out):
    for i in range(3):
        y_out[i] = 0.0


def reads_beyond_input(y_prev, x, params, y_out):
    y_out[0] = y_out[1] = x[3]


def reads_beyond_parameters(y_prev, x, params, y_out):
    y_out[0] = y_out[1] = params[0][1, 2]


def fine(y_prev, x, params, y_out):
    y_out[0] = y_out[1] = y_prev[-1]


def jac_beyond(y_prev, x, params, jac_out):
    jac_out[2, 0] = 0.0


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ((reads_beyond,), r"`step` .*index 2 .*size 2.*y_out\[1\] = y_prev\[2\]"),
        ((writes_beyond,), r"`step` .*index 2 .*size 2.*y_out\[i\] = 0.0"),
        ((reads_beyond_input,), r"`step` .*index 3 .*size 3.*x\[3\]"),
        ((reads_beyond_parameters,), r"`step` .*index 2 .*size 2.*params\[0\]\[1, 2\]"),
        ((fine, jac_beyond), r"`jac` .*index 2 .*size 2.*jac_out\[2, 0\]"),
    ],
)
def test_indices_beyond_an_array_are_an_error(functions, message):
    cell = element_step(*functions, n_state=2, params={"w": np.eye(2)})
    with pytest.raises(ElementStepError, match=f"(?s){message}.*test_numba_translation.py, line"):
        seqsolve.sequential(cell, np.ones((5, 3)), np.ones(2), backend=NumbaBackend())


@pytest.mark.parametrize("arguments", ["y_prev, x, params", "*everything"])
def test_a_wrong_number_of_arguments_is_explained(arguments):
    source = f"def f({arguments}): pass"
    function = FunctionType(made(source).__code__, globals())
    with pytest.raises(ElementStepError, match=r"(?s)`step` cannot be compiled.*4 argument"):
        seqsolve.sequential(
            element_step(function, n_state=1), None, [1.0], n_steps=2, backend=NumbaBackend()
        )


def writes_to_the_state(y_prev, x, params, y_out):
    y_prev[0] = 3.0
    y_out[0] = 0.5 * y_prev[0] + x[0]


def writes_to_the_input(y_prev, x, params, y_out):
    x[0] *= 2.0
    y_out[0] = 0.5 * y_prev[0] + x[0]


def writes_to_a_parameter(y_prev, x, params, y_out):
    params[0][0] += 1.0
    y_out[0] = params[0][0] * y_prev[0] + x[0]


WRITES = {"y_prev": writes_to_the_state, "x": writes_to_the_input, "gain": writes_to_a_parameter}


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("what", WRITES)
def test_functions_that_write_to_their_arguments_are_refused(what, batch):
    """Compiled, they would write to the caller's arrays."""
    x, y0, gain = np.ones((5, *batch, 1)), np.zeros((*batch, 1)), np.full(1, 0.5)
    step = element_step(WRITES[what], n_state=1, params={"gain": gain})
    message = f"`step` must leave its arguments as they are; it changed `{what}`"
    with pytest.raises(ElementStepError, match=message):
        seqsolve.sequential(step, x, y0, backend=NumbaBackend())
    assert (x == 1).all()
    assert gain == 0.5
