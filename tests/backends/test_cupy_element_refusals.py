"""What of an element step cannot be translated into CUDA C++ is refused, with its line."""

from __future__ import annotations

import numpy as np
import pytest
from support.emulation import reason_not_to_emulate

pytestmark = [pytest.mark.gpu] if reason_not_to_emulate() else []
pytest.importorskip("cupy", reason=reason_not_to_emulate() or "CuPy is not installed")

from support.compiled_steps import compiled  # noqa: E402

from seqsolve.step import ElementStepError  # noqa: E402


def gate(a, b=0.5, *, unused=0):
    return a * b


def refused(match):
    """Mark a step with what the error must say."""

    def mark(function):
        REFUSED.append((function, match))
        return function

    return mark


REFUSED = []


@refused("`t` may have no value here")
def set_in_one_branch(y_prev, x, params, y_out):
    if y_prev[0] > 0:
        t = 1.0
    y_out[0] = t


@refused("`t` may have no value here")
def set_in_a_loop_that_may_not_run(y_prev, x, params, y_out):
    for i in range(int(y_prev[0])):
        t = i
    y_out[0] = t


@refused("`t` has no value yet")
def used_before_it_is_set(y_prev, x, params, y_out):
    y_out[0] = t  # noqa: F821
    t = 1.0  # noqa: F841


@refused("`a` is an array of shape .* here and a floating-point number elsewhere")
def of_two_types(y_prev, x, params, y_out):
    a = 1.0
    a = y_prev
    y_out[0] = a[0]


@refused("A list is not supported")
def allocates(y_prev, x, params, y_out):
    values = [1.0, 2.0]
    y_out[0] = values[0]


@refused("A slice is not supported")
def slices(y_prev, x, params, y_out):
    y_out[:] = y_prev


@refused("out of bounds for an axis of 2")
def beyond_the_end(y_prev, x, params, y_out):
    y_out[0] = y_prev[2]


@refused("Only the result, the last argument, may be changed")
def changes_its_state(y_prev, x, params, y_out):
    y_prev[0] = 0.0
    y_out[0] = 1.0


@refused("The function zeros is not supported")
def makes_an_array(y_prev, x, params, y_out):
    y_out[0] = np.zeros(3)[0]


@refused("`try` is not supported")
def tries(y_prev, x, params, y_out):
    try:
        y_out[0] = 1.0
    except ValueError:
        y_out[0] = 2.0


@refused("`nowhere` is not defined")
def unknown_name(y_prev, x, params, y_out):
    y_out[0] = nowhere  # noqa: F821


@refused("divides an integer by zero")
def divides_by_zero(y_prev, x, params, y_out):
    y_out[0] = 1 // 0


@refused("An index is an integer; got a floating-point number")
def index_of_a_number(y_prev, x, params, y_out):
    y_out[0] = y_prev[y_prev[0]]


@refused("must not call itself")
def calls_itself(y_prev, x, params, y_out):
    calls_itself(y_prev, x, params, y_out)


@refused("A loop goes over `range")
def loops_over_elements(y_prev, x, params, y_out):
    for a in y_prev:
        y_out[0] = a


@refused("keyword-only arguments are not supported")
def calls_with_keywords_only(y_prev, x, params, y_out):
    y_out[0] = gate(y_prev[0])


@refused("called in a line of its own")
def stores_inside_an_expression(y_prev, x, params, y_out):
    y_out[0] = 1.0 + set_and_return(y_out)


def set_and_return(y_out):
    y_out[1] = 2.0
    return 1.0


@refused("Complex numbers are for complex states")
def is_complex(y_prev, x, params, y_out):
    y_out[0] = (1j * y_prev[0]).real


@refused("A number is needed; got an array")
def stores_a_row(y_prev, x, params, y_out):
    y_out[0] = y_prev


@refused("has no 2 indices")
def too_many_indices(y_prev, x, params, y_out):
    y_out[0] = y_prev[0, 1]


@refused("Integers have 64 bits")
def large_integer(y_prev, x, params, y_out):
    y_out[0] = 2**70 % 3


@refused("takes 5 arguments; it is given 4")
def five_arguments(y_prev, x, params, y_out, more):
    y_out[0] = 1.0


@refused("integer to the power of an integer")
def varying_power(y_prev, x, params, y_out):
    y_out[0] = 2 ** int(y_prev[0])


@pytest.mark.parametrize(("step", "match"), REFUSED, ids=lambda a: getattr(a, "__name__", ""))
def test_what_cannot_be_translated_is_refused_with_the_line(step, match):
    with pytest.raises(ElementStepError, match=match) as caught:
        compiled(step, np.zeros((1, 2)))
    text = str(caught.value)
    assert __file__ in text
    assert "cannot be compiled" in text
    assert "`cell.__call__`" in text


def test_functions_without_source_are_refused():
    names = {}
    exec("def step(y_prev, x, params, y_out):\n    y_out[0] = 1.0\n", names)
    for function in (names["step"], eval("lambda y_prev, x, params, y_out: None")):
        with pytest.raises(ElementStepError, match=r"source of .* is not to be found"):
            compiled(function, np.zeros((1, 1)))
    with pytest.raises(ElementStepError, match="must be a plain Python function"):
        compiled(print, np.zeros((1, 1)))


def test_a_file_that_has_changed_is_noticed(tmp_path):
    path = tmp_path / "changed_step.py"
    path.write_text("def step(y_prev, x, params, y_out):\n    y_out[0] = 1.0\n")
    names = {}
    exec(compile(path.read_text(), str(path), "exec"), names)
    path.write_text("def step(y_prev, x, params, y_out):\n    y_out[0] = 2.0\n")
    with pytest.raises(ElementStepError, match="has changed since it was imported"):
        compiled(names["step"], np.zeros((1, 1)))
