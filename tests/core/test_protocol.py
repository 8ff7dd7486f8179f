"""`offers` agrees with `isinstance` on the protocols of the package."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import seqsolve
from seqsolve import backend, models, step
from seqsolve._protocol import offers

PROTOCOLS = [
    *(backend.Backend, backend.Placed, backend.FusedSteps, backend.BindsElementSteps),
    *(backend.JacobiSweeps, backend.HalfProducts),
    *(step.Differentiable, step.Parametrised, step.Steppable, step.Bindable, step.HasElementForm),
]


def candidates() -> list[Any]:
    cell = models.GRU.random(2, 3, rng=0)
    plain = step.ArrayStep(lambda y, x: y)
    names = seqsolve.available_backends()
    return [
        *(cell, cell.element_step(), plain, lambda y, x: y, object(), 3.0),
        *map(seqsolve.get_backend, names),
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.__name__)
def test_it_says_what_isinstance_says(protocol):
    said = [offers(candidate, protocol) for candidate in candidates()]
    assert said == [isinstance(candidate, protocol) for candidate in candidates()]


def test_every_member_counts_and_none_does_not():
    half = SimpleNamespace(params={}, with_params=None)
    assert not offers(half, step.Parametrised)
    half.with_params = lambda params: half
    assert offers(half, step.Parametrised)
    del half.params
    assert not offers(half, step.Parametrised)
