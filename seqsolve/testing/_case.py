"""One case of the conformance suite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from seqsolve.backend import Backend, get_backend


@dataclass(frozen=True)
class ConformanceCase:
    """One thing that every backend must do.

    Parameters
    ----------
    name : str
        What is tested, in words without spaces.
    check : callable
        ``check(backend)``; raises AssertionError where the backend fails.
    """

    name: str
    check: Callable[[Backend], None] = field(repr=False, compare=False)

    def run(self, backend: str | Backend) -> None:
        """Run the case.

        Parameters
        ----------
        backend : str or Backend
            The name of an installed backend, or a backend.

        Raises
        ------
        AssertionError
            The backend fails; the message says what was expected and what came.
        BackendUnavailableError
            The backend cannot run here.
        """
        with np.errstate(all="ignore"):
            self.check(get_backend(backend) if isinstance(backend, str) else backend)

    def __str__(self) -> str:
        return self.name
