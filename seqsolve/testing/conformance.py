"""The conformance suite: the tests that every backend passes unchanged."""

from __future__ import annotations

from collections.abc import Collection

from seqsolve.backend import Backend, get_backend
from seqsolve.testing._case import ConformanceCase
from seqsolve.testing._contract_cases import cases as contract_cases
from seqsolve.testing._element_cases import cases as element_cases
from seqsolve.testing._gradient_cases import cases as gradient_cases
from seqsolve.testing._newton_cases import cases as newton_cases
from seqsolve.testing._noise_cases import cases as noise_cases
from seqsolve.testing._recurrence_cases import cases as recurrence_cases
from seqsolve.testing._residual_cases import cases as residual_cases
from seqsolve.testing._solver_cases import cases as solver_cases

__all__ = ["ConformanceCase", "check_backend", "conformance_cases"]

_AREAS = (
    contract_cases,
    recurrence_cases,
    residual_cases,
    newton_cases,
    solver_cases,
    gradient_cases,
    element_cases,
    noise_cases,
)


def conformance_cases() -> list[ConformanceCase]:
    """Return the cases that every backend passes.

    They test the primitives against loops in double precision, and the public
    solvers on the backend, in every dtype and with every method that the
    backend declares. A case asks for what the contract promises, no more: it
    passes where its dtypes are not declared.

    Returns
    -------
    list of ConformanceCase
        In the order in which a backend author wants them to pass.

    Examples
    --------
    The whole suite as a test module of a backend, with pytest:

    >>> import pytest  # doctest: +SKIP
    >>> @pytest.mark.parametrize("case", conformance_cases(), ids=str)  # doctest: +SKIP
    ... def test_conformance(case):
    ...     case.run("mybackend")

    >>> from seqsolve.testing import conformance_cases
    >>> conformance_cases()[0].run("numpy")
    """
    return [case for area in _AREAS for case in area()]


def check_backend(backend: str | Backend, cases: Collection[ConformanceCase] | None = None) -> None:
    """Run the conformance suite on a backend.

    Parameters
    ----------
    backend : str or Backend
        The name of an installed backend, or a backend.
    cases : collection of ConformanceCase, optional
        The cases to run. Default: all.

    Raises
    ------
    AssertionError
        Some cases fail; the message lists each with what was expected and what
        came.
    BackendUnavailableError
        The backend cannot run here.

    Examples
    --------
    >>> from seqsolve.testing import check_backend, conformance_cases
    >>> check_backend("numpy", conformance_cases()[:5])
    """
    engine = get_backend(backend) if isinstance(backend, str) else backend
    chosen = conformance_cases() if cases is None else cases
    failures = []
    for case in chosen:
        try:
            case.run(engine)
        except Exception as error:
            kind = "" if type(error) is AssertionError else f"{type(error).__name__}: "
            failures.append(f"  {case.name}: {kind}{error}")
    if failures:
        raise AssertionError(
            f"Backend {engine.name!r} fails {len(failures)} of {len(chosen)} cases:\n"
            + "\n".join(failures)
        )
