"""Tests for users and backend authors, shipped with the library."""

from seqsolve.testing.check_jacobian import check_jacobian
from seqsolve.testing.conformance import ConformanceCase, check_backend, conformance_cases
from seqsolve.testing.dot_test import dot_test

__all__ = [
    "ConformanceCase",
    "check_backend",
    "check_jacobian",
    "conformance_cases",
    "dot_test",
]
