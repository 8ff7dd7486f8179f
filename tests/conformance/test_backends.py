"""Every installed backend passes the conformance suite, unchanged."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest
from support.read_only import ReadOnlyNumpy

import seqsolve
from seqsolve.testing import conformance_cases

#: Backends that compute on a GPU only: `pytest -m gpu` runs them.
ON_GPU = {"cupy"}

INSTALLED = sorted(
    {
        point.name: pytest.param(
            point.name, id=point.name, marks=[pytest.mark.gpu] if point.name in ON_GPU else []
        )
        for point in entry_points(group="seqsolve.backends")
    }.items()
)


@pytest.mark.parametrize("case", conformance_cases(), ids=str)
@pytest.mark.parametrize("name", [param for _, param in INSTALLED])
def test_conformance(name, case):
    status = seqsolve.backend_status(name)
    if not status.available:
        pytest.skip(status.reason)
    case.run(name)


@pytest.mark.parametrize("case", conformance_cases(), ids=str)
def test_conformance_with_read_only_inputs(case):
    case.run(ReadOnlyNumpy())


def test_names_are_unique():
    names = [case.name for case in conformance_cases()]
    assert len(set(names)) == len(names)
