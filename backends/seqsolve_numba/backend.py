"""The Numba backend's primitives."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from seqsolve.backend import FusedOutcome
from seqsolve.portable import PortableBackend
from seqsolve.random import NoiseStream
from seqsolve_numba import threads

#: Bytes of the stack that a tile of positions may take.
LARGEST_TILE = 2**21

NDArray: TypeAlias = npt.NDArray[Any]

#: Methods of linear recurrences that compiled loops stand for.
_COMPILED_METHODS = frozenset({"auto", "sequential"})


class NumbaBackend(PortableBackend):
    """NumPy arrays on CPU threads; recurrences and element steps compiled by Numba.

    Parameters
    ----------
    without_cuda : str
        Why no CUDA device is used, for people to read.
    """

    def __init__(self, without_cuda: str = "not asked for") -> None:
        super().__init__("numba", np)
        self._without_cuda = without_cuda

    @functools.cached_property
    def _specializations(self) -> Any:
        return _compiled().Specializations()

    def describe(self) -> Mapping[str, str]:
        """Return the versions, the number of threads, and why no device is used."""
        return {
            "numpy": np.__version__,
            "numba": version("numba"),
            "threads": str(threads.n_threads()),
            "cuda": f"not used: {self._without_cuda}",
        }

    def linear_recurrence(
        self,
        A: NDArray,
        b: NDArray,
        y0: NDArray | None,
        *,
        reverse: bool,
        transpose: bool,
        method: str,
        out: NDArray | None,
    ) -> NDArray:
        """Solve the recurrence; ``"auto"`` steps through time in compiled code."""
        if method in _COMPILED_METHODS:
            solved: NDArray = _compiled().linear.linear_recurrence(
                A, b, y0, reverse, transpose, out
            )
            return solved
        y: NDArray = super().linear_recurrence(
            A, b, y0, reverse=reverse, transpose=transpose, method=method, out=out
        )
        return y

    def residual_test(
        self, y: NDArray, fy: NDArray, rtol: float, atol: NDArray
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """Return each sequence's first failing step and largest residual."""
        first, largest = _compiled().linear.residual_test(y, fy, rtol, atol)
        return first, largest

    def newton_update(self, A: NDArray, fy: NDArray, y: NDArray, *, method: str) -> None:
        """Advance the iterate in place; ``"auto"`` does so in one compiled pass."""
        if method in _COMPILED_METHODS:
            _compiled().linear.newton_update(A, fy, y)
        else:
            super().newton_update(A, fy, y, method=method)

    def element_window(
        self, step: Any, *, n_steps: int, n_batch: int, n_jacobian: int, dtype: Any
    ) -> int:
        """Return 1: stepping in pieces is as fast as Newton's method from their guess.

        Where the pieces do not agree because the memory is long, iterations
        pay for the smallest states alone.
        """
        return 1

    def fuses(self, step: Any, dtype: Any) -> bool:
        """Return whether a tile's states, increments and Jacobians fit on the stack."""
        n_values = _compiled().windows.TILE * (2 * step.n_state + math.prod(step.jac_shape))
        return bool(n_values * np.dtype(dtype).itemsize <= LARGEST_TILE)

    def march(self, step: Any, x: NDArray | None, y: NDArray) -> None:
        """Step through time, in compiled code."""
        if y.shape[0] > 1 and y.size:
            x = _compiled().marching.compilable(x)
            special = self._specializations.get(step, x, y)
            _compiled().marching.march(
                special, _compiled().marching.flat_input(x, y), tuple(step.params.values()), y
            )

    def newton_windows(
        self,
        step: Any,
        x: NDArray | None,
        y: NDArray,
        *,
        guessed: bool,
        rtol: float,
        atol: NDArray,
        maxiter: int,
        scale: float,
        window: int,
    ) -> FusedOutcome:
        """Solve one window after the other by Newton's method, in compiled code.

        The first guess of a single sequence, if there is none, is that of its pieces.
        """
        x = _compiled().marching.compilable(x)
        special = self._specializations.get(step, x, y)
        x, params = _compiled().marching.flat_input(x, y), tuple(step.params.values())
        joints = np.empty(0, np.intp)
        if not guessed and y.shape[1] == 1:
            joints = _compiled().marching.guess(special, x, params, y, rtol, atol)
        outcome: FusedOutcome = _compiled().newton.newton_windows(
            special,
            x,
            params,
            y,
            guessed=guessed or joints.size > 0,
            joints=joints,
            rtol=rtol,
            atol=atol,
            maxiter=maxiter,
            scale=scale,
            window=window,
        )
        return outcome

    def sweep_windows(
        self,
        step: Any,
        x: NDArray | None,
        y: NDArray,
        *,
        rtol: float,
        atol: NDArray,
        maxiter: int,
        window: int,
        block_size: int,
    ) -> FusedOutcome:
        """Solve one window after the other by Jacobi sweeps, in compiled code."""
        largest = LARGEST_TILE // (_compiled().windows.TILE * y.itemsize)
        if step.n_state > largest:
            raise ValueError(
                f"`h` must have at most {largest} states for sweeps of a compiled step on CPU "
                f"threads: a tile of positions is held on the stack; got {step.n_state}."
            )
        x = _compiled().marching.compilable(x)
        outcome: FusedOutcome = _compiled().sweeps.sweep_windows(
            self._specializations.get(step, x, y),
            _compiled().marching.flat_input(x, y),
            tuple(step.params.values()),
            y,
            rtol=rtol,
            atol=atol,
            maxiter=maxiter,
            window=window,
            block_size=block_size,
        )
        return outcome

    def add_noise(self, z: NDArray, sigma: float, stream: NoiseStream, copies: range) -> NDArray:
        """Return ``z + sigma eps``, in one compiled pass."""
        noisy: NDArray = _compiled().noise.add_noise(z, sigma, stream, copies)
        return noisy

    def weigh_noise(
        self, weights: NDArray, stream: NoiseStream, copies: range, out: NDArray
    ) -> None:
        """Add ``sum_k weights[k] eps[k]`` to `out`, in one compiled pass."""
        _compiled().noise.weigh_noise(weights, stream, copies, out)


@functools.cache
def _compiled() -> Any:
    """Return the compiled code: importing it loads Numba."""
    from seqsolve_numba import compiled

    return compiled
