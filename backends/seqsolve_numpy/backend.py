"""The NumPy backend's primitives."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from seqsolve.portable import PortableBackend
from seqsolve_numpy import compiled, host, window


class NumpyBackend(PortableBackend):
    """NumPy arrays on one CPU core, the inner loops compiled by Numba on first use."""

    def __init__(self) -> None:
        super().__init__("numpy", np)

    def describe(self) -> Mapping[str, str]:
        """Return the versions and the processor."""
        return {
            "numpy": np.__version__,
            "numba": version("numba"),
            "cpu": host.cpu_name(),
            "cores": str(host.n_cores()),
        }

    def default_window(
        self, *, n_steps: int, n_batch: int, n_state: int, n_jacobian: int, dtype: Any
    ) -> int:
        """Return a window whose working set fits the second-level cache."""
        return window.default_window(
            n_steps=n_steps,
            n_batch=n_batch,
            n_state=n_state,
            n_jacobian=n_jacobian,
            itemsize=np.dtype(dtype).itemsize,
        )

    def linear_recurrence(
        self,
        A: npt.NDArray[Any],
        b: npt.NDArray[Any],
        y0: npt.NDArray[Any] | None,
        *,
        reverse: bool,
        transpose: bool,
        method: str,
        out: npt.NDArray[Any] | None,
    ) -> npt.NDArray[Any]:
        """Solve the recurrence; ``"auto"`` steps through time in compiled code."""
        if method in _COMPILED_METHODS:
            return compiled.linear_recurrence(A, b, y0, reverse, transpose, out)
        y: npt.NDArray[Any] = super().linear_recurrence(
            A, b, y0, reverse=reverse, transpose=transpose, method=method, out=out
        )
        return y

    def residual_test(
        self, y: npt.NDArray[Any], fy: npt.NDArray[Any], rtol: float, atol: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """Return each sequence's first failing step and largest residual."""
        return compiled.residual_test(y, fy, rtol, atol)

    def newton_update(
        self, A: npt.NDArray[Any], fy: npt.NDArray[Any], y: npt.NDArray[Any], *, method: str
    ) -> None:
        """Advance the iterate in place; ``"auto"`` does so in one compiled pass."""
        if method in _COMPILED_METHODS:
            compiled.newton_update(A, fy, y)
        else:
            super().newton_update(A, fy, y, method=method)


_COMPILED_METHODS = frozenset({"auto", "sequential"})
