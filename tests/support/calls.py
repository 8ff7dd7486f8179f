"""Calls of the public functions, right but for what a test changes."""

from __future__ import annotations

import re

import numpy as np
import pytest

import seqsolve
from seqsolve.step import ArrayStep


def f(y, x):
    return 0.5 * y + x


def jac(y, x):
    return np.full_like(y, 0.5)


def arguments(**changes):
    """The arguments of a right call, but for some."""
    call = {"f": f, "jac": jac, "x": np.ones((6, 3)), "y0": np.zeros(3), **changes}
    return (call.pop("f"), call.pop("jac"), call.pop("x"), call.pop("y0")), call


def deer(**changes):
    positional, named = arguments(**changes)
    return lambda: seqsolve.deer(*positional, **named)


def sequential(**changes):
    (f, _, x, y0), named = arguments(**changes)
    return lambda: seqsolve.sequential(f, x, y0, **named)


def recurrence(A=None, b=None, y0=None, **named):
    A = np.ones((6, 3)) if A is None else A
    b = np.ones((6, 3)) if b is None else b
    return lambda: seqsolve.linear_recurrence(A, b, y0, **named)


def h(s, rows):
    return 0.5 * np.concatenate([np.ones_like(s[:1]), s[:-1]])[rows]


def sweeps(solver="jacobi", h=h, guess=None, **named):
    guess = np.zeros((6, 3)) if guess is None else guess
    return lambda: getattr(seqsolve, solver)(h, guess, **named)


def gradient(cotangent=None, step=None, **changes):
    def call():
        positional, named = arguments(**changes)
        f, *rest = positional
        solution = seqsolve.deer(step or f, *rest, **named)
        return seqsolve.vjp(solution, np.ones((6, 3)) if cotangent is None else cotangent)

    return call


def step(vjp):
    return ArrayStep(f, jac=jac, vjp=vjp)


def read_only(shape):
    a = np.empty(shape)
    a.flags.writeable = False
    return a


BATCH = {"y0": np.zeros((2, 3)), "x": np.ones((6, 2, 3))}
WEIGHTS = np.arange(9.0).reshape(3, 3) / 20


def check_error(call, error, message):
    """Expect an exception whose text, notes included, matches a pattern."""
    with pytest.raises(error) as caught:
        call()
    text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert re.search(message, text, re.DOTALL), text
