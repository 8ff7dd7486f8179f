"""Every installed backend passes the conformance suite, unchanged."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

import pytest
from support.backends import ON_GPU
from support.read_only import ReadOnlyNumpy

import seqsolve
from seqsolve.testing import conformance_cases

INSTALLED = [
    pytest.param(name, marks=[pytest.mark.gpu] if name in ON_GPU else [])
    for name in sorted({point.name for point in entry_points(group="seqsolve.backends")})
]


@cache
def reason_not_to_run(name):
    return seqsolve.backend_status(name).reason


@pytest.mark.parametrize("case", conformance_cases(), ids=str)
@pytest.mark.parametrize("name", INSTALLED)
def test_conformance(name, case):
    if reason_not_to_run(name):
        pytest.skip(reason_not_to_run(name))
    case.run(name)


@pytest.mark.parametrize("case", conformance_cases(), ids=str)
def test_conformance_with_read_only_inputs(case):
    case.run(ReadOnlyNumpy())


def test_names_are_unique():
    names = [case.name for case in conformance_cases()]
    assert len(set(names)) == len(names)
