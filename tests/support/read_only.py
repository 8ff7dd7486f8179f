"""The NumPy backend, handed read-only arrays wherever nothing is to be written."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqsolve_numpy import NumpyBackend


def read_only(a: Any) -> Any:
    """Return a view that cannot be written."""
    if a is None:
        return None
    view = a.view()
    view.flags.writeable = False
    return view


class ReadOnlyNumpy(NumpyBackend):
    """Raises wherever a primitive, or the core, writes to what is not its own."""

    def asarray(self, a: Any, dtype: Any = None) -> Any:
        return read_only(np.asarray(super().asarray(a, dtype)))

    def to_numpy(self, a: Any) -> Any:
        return read_only(super().to_numpy(a))

    def linear_recurrence(self, A: Any, b: Any, y0: Any, **options: Any) -> Any:
        return super().linear_recurrence(read_only(A), read_only(b), read_only(y0), **options)

    def residual_test(self, y: Any, fy: Any, rtol: float, atol: Any) -> Any:
        return super().residual_test(read_only(y), read_only(fy), rtol, read_only(atol))

    def newton_update(self, A: Any, fy: Any, y: Any, *, method: str) -> None:
        super().newton_update(read_only(A), read_only(fy), y, method=method)
