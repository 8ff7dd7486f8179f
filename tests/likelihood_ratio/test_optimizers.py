"""What optimizers refuse, and what they are without arguments."""

from __future__ import annotations

import re

import numpy as np
import pytest

from seqsolve import likelihood_ratio as lr


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lr.SGD(0.0), "`learning_rate` must be more than 0; got 0.0."),
        (lambda: lr.SGD(np.inf), "`learning_rate` must be finite and at least 0; got inf."),
        (lambda: lr.SGD(0.1, 1.0), "`momentum` must be finite and in [0, 1); got 1.0."),
        (lambda: lr.SGD(0.1, -0.1), "`momentum` must be finite and in [0, 1); got -0.1."),
        (lambda: lr.Adam(-1e-3), "`learning_rate` must be finite and at least 0; got -0.001."),
        (lambda: lr.Adam(beta1=1.0), "`beta1` must be finite and in [0, 1); got 1.0."),
        (lambda: lr.Adam(beta2=-1.0), "`beta2` must be finite and in [0, 1); got -1.0."),
        (lambda: lr.Adam(beta2=1.0), "`beta2` must be finite and in [0, 1); got 1.0."),
        (lambda: lr.Adam(eps=0.0), "`eps` must be more than 0; got 0.0."),
    ],
)
def test_bad_constants(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_zero_is_no_memory():
    """Without memory, SGD follows the gradient, and Adam its sign."""
    p, g = {"w": np.array([1.0, 2.0])}, {"w": np.array([-3.0, 0.5])}
    sgd, adam = lr.SGD(0.1, 0.0), lr.Adam(0.1, beta1=0.0, beta2=0.0, eps=1e-300)
    states = sgd.init(p), adam.init(p)
    for _ in range(2):
        following, states = zip(
            *(o.step(p, g, s) for o, s in zip((sgd, adam), states, strict=True)), strict=True
        )
        np.testing.assert_allclose(following[0]["w"], p["w"] - 0.1 * g["w"], rtol=1e-14)
        np.testing.assert_allclose(following[1]["w"], p["w"] - 0.1 * np.sign(g["w"]), rtol=1e-14)


def test_defaults_are_those_of_the_paper():
    assert lr.Adam() == lr.Adam(learning_rate=1e-3, beta1=0.9, beta2=0.999, eps=1e-8)
    assert lr.SGD(0.1) == lr.SGD(0.1, momentum=0.9)


@pytest.mark.parametrize("optimizer", [lr.SGD(0.1), lr.Adam(0.1)])
@pytest.mark.parametrize(
    ("grads", "message"),
    [
        (({"w": np.ones(2)},), "`grads[0]['w']` must have shape (3,), as its parameter; got (2,)."),
        (({},), "`grads[0]['w']` must have shape (3,), as its parameter; got None."),
        (
            ({"w": np.ones(3), "b": np.ones(1)},),
            "`grads[0]['b']` must have shape None, as its parameter; got (1,).",
        ),
    ],
)
def test_gradients_of_other_parameters(grads, message, optimizer):
    params = ({"w": np.ones(3)},)
    with pytest.raises(ValueError, match=re.escape(message)):
        optimizer.step(params, grads, optimizer.init(params))


@pytest.mark.parametrize("optimizer", [lr.SGD(0.1), lr.Adam(0.1)])
def test_single_precision_stays(optimizer):
    params = {"w": np.ones(3, np.float32)}
    state = optimizer.init(params)
    for _ in range(3):
        params, state = optimizer.step(params, {"w": np.ones(3, np.float32)}, state)
    assert params["w"].dtype == np.float32
