"""Solvers run where their arrays live, on backends with more than one device."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ParamSpec, TypeVar

import numpy as np

from seqsolve import _checks
from seqsolve._protocol import offers
from seqsolve._tree import leaves
from seqsolve.backend import Array, Placed, get_backend
from seqsolve.solution import Solution

P = ParamSpec("P")
R = TypeVar("R")


def placed(solver: Callable[P, R]) -> Callable[P, R]:
    """Let a solver run on the device of the arrays among its arguments."""

    @functools.wraps(solver)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with _place((*args, *kwargs.values())):
            return solver(*args, **kwargs)

    return run


def _place(arguments: Iterable[Any]) -> AbstractContextManager[Any]:
    """Return the backend's context for the arrays; none if they are NumPy's or of several."""
    homes: dict[str, list[Array]] = {}
    for array in _arrays(arguments):
        home = _checks.home(array)
        if home is not None:
            homes.setdefault(home, []).append(array)
    if len(homes) == 1:
        ((home, arrays),) = homes.items()
        backend = get_backend(home)
        if offers(backend, Placed):
            return backend.placed(arrays)
    return nullcontext()


def _arrays(arguments: Iterable[Any]) -> Iterator[Any]:
    """Yield what may be an array of a backend's, or is of no use: all leaves but NumPy's arrays."""
    for argument in arguments:
        if not isinstance(argument, np.ndarray):
            for _, leaf in leaves(argument, ""):
                yield leaf.y if isinstance(leaf, Solution) else leaf
