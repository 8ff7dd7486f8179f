"""Random weights of gated recurrent units, and cotangents of wrong shapes."""

from __future__ import annotations

import re

import numpy as np
import pytest

from seqsolve.models import GRU, MultiHeadGRU


@pytest.mark.parametrize(
    ("make", "bound"),
    [
        (lambda **options: GRU.random(50, 64, rng=0, **options), 64**-0.5),
        (lambda **options: MultiHeadGRU.random(50, 64, n_heads=4, rng=0, **options), 16**-0.5),
    ],
)
def test_weights_are_uniform_as_those_of_pytorch(make, bound):
    drawn = make()
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        a = getattr(drawn, name)
        assert np.abs(a).max() <= bound
        assert a.min() < -0.9 * bound
        assert a.max() > 0.9 * bound
        assert a.std() == pytest.approx(bound / np.sqrt(3), rel=0.1)
        assert len(np.unique(a)) == a.size
    assert (drawn.bias_ih != drawn.bias_hh).all()
    plain = make(bias=False)
    assert plain.bias_ih is plain.bias_hh is None
    with pytest.raises(TypeError, match="`bias` must be True or False; got 'no'"):
        make(bias="no")


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            ((5, 3), (5, 2), (5, 4)),
            "`y_prev` must have shape (..., n_units) = (..., 4); got (5, 3).",
        ),
        (((5, 4), (5, 3), (5, 4)), "`x` must have shape (..., n_inputs) = (..., 2); got (5, 3)."),
        (
            ((5, 4), (5, 2), (6, 4)),
            "`lam` must have the shape of the new states, (5, 4); got (6, 4).",
        ),
    ],
)
def test_cotangents_of_wrong_shapes(shapes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        GRU.random(2, 4, rng=0).vjp(*map(np.ones, shapes))
