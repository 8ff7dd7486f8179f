"""The Numba backend's primitives on a CUDA device."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from seqsolve.backend import FusedOutcome
from seqsolve.portable import PortableBackend
from seqsolve.random import NoiseStream
from seqsolve_numba.device import simulated

Array = Any

#: Methods of linear recurrences that the kernels stand for.
_COMPILED_METHODS = frozenset({"auto", "sequential"})


class CudaBackend(PortableBackend):
    """CuPy arrays on a CUDA device; recurrences and element steps compiled by Numba.

    Where Numba simulates CUDA (NUMBA_ENABLE_CUDASIM), the arrays are NumPy's.
    """

    def __init__(self) -> None:
        super().__init__("numba", _namespace())

    @functools.cached_property
    def _programs(self) -> Any:
        return _kernels().Programs()

    def describe(self) -> Mapping[str, str]:
        """Return the versions and the device."""
        return {
            self.xp.__name__: str(self.xp.__version__),
            "numba": version("numba"),
            "cuda": _kernels().launch.describe(),
        }

    def asarray(self, a: Any, dtype: Any = None) -> Array:
        """Return `a` as an array on the device, moved and cast only if needed."""
        return self.xp.asarray(a, dtype=dtype)

    def to_numpy(self, a: Array) -> npt.NDArray[Any]:
        """Return `a` in host memory."""
        return np.asarray(a.get() if hasattr(a, "get") else a)

    def synchronize(self) -> None:
        """Wait until the device is done."""
        _kernels().launch.synchronize()

    def linear_recurrence(
        self,
        A: Array,
        b: Array,
        y0: Array | None,
        *,
        reverse: bool,
        transpose: bool,
        method: str,
        out: Array | None,
    ) -> Array:
        """Solve the recurrence; ``"auto"`` by kernels, in chunks where sequences are few."""
        if method not in _COMPILED_METHODS:
            return super().linear_recurrence(
                A, b, y0, reverse=reverse, transpose=transpose, method=method, out=out
            )
        dtype = np.result_type(str(A.dtype), str(b.dtype)).name
        if transpose and A.ndim == 4:
            A = A.swapaxes(-1, -2)
        y = self.xp.empty(b.shape, dtype=dtype) if out is None or out.dtype != dtype else out
        A, b = A.astype(dtype, copy=False), b.astype(dtype, copy=False)
        turn = slice(None, None, -1) if reverse else slice(None)
        _kernels().linear.recurrence(self.xp, A[turn], b[turn], y[turn], y0)
        if out is None or out is y:
            return y
        out[...] = y
        return out

    def residual_test(
        self, y: Array, fy: Array, rtol: float, atol: Array
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """Return each sequence's first failing step and largest residual, reduced on the device."""
        real = np.finfo(str(y.dtype)).dtype.name
        found = _kernels().linear.residual_test(
            self.xp, y, fy.astype(y.dtype, copy=False), rtol, self.asarray(atol, dtype=real)
        )
        first, largest = self.to_numpy(found)
        return first.astype(np.intp), largest.view(np.float64)

    def newton_update(self, A: Array, fy: Array, y: Array, *, method: str) -> None:
        """Advance the iterate in place."""
        if method not in _COMPILED_METHODS:
            super().newton_update(A, fy, y, method=method)
            return
        A, fy = (
            a + 0 if self.xp.may_share_memory(a, y) else a.astype(y.dtype, copy=False)
            for a in (A, fy)
        )
        _kernels().linear.recurrence(self.xp, A, fy, y, None, newton=True)

    def default_window(
        self, *, n_steps: int, n_batch: int, n_state: int, n_jacobian: int, dtype: Any
    ) -> int:
        """Return a window that fits the free memory."""
        memory = _kernels().memory
        numbers = memory.STATE_ARRAYS * n_state + memory.JACOBIAN_ARRAYS * n_jacobian
        window: int = memory.fitting_steps(n_steps, n_batch * numbers * np.dtype(dtype).itemsize)
        return window

    def element_window(
        self, step: Any, *, n_steps: int, n_batch: int, n_jacobian: int, dtype: Any
    ) -> int:
        """Return 1 where the sequences alone fill the device, else some steps for each thread."""
        launch, newton, memory = _kernels().launch, _kernels().newton, _kernels().memory
        n, itemsize = step.n_state, np.dtype(dtype).itemsize
        width = n_jacobian // n
        if n_batch >= launch.n_resident() or not newton.fits(n, width, itemsize):
            return 1
        fitting = memory.fitting_steps(n_steps, memory.FUSED_ARRAYS * n_batch * n * itemsize)
        window: int = min(fitting, newton.default_window(n, width, n_batch, n_steps))
        return window

    def fuses(self, step: Any, dtype: Any) -> bool:
        """Return whether a step's linear map fits a block's shared memory, and its threads' own."""
        n, itemsize = step.n_state, np.dtype(dtype).itemsize
        return bool(_kernels().newton.fits(n, step.jac_structure.width(n), itemsize))

    def march(self, step: Any, x: Array | None, y: Array) -> None:
        """Step through time, a thread for each sequence."""
        if y.shape[0] > 1 and y.size:
            self._run(_kernels().marching.march, step, x, y)

    def newton_windows(
        self,
        step: Any,
        x: Array | None,
        y: Array,
        *,
        guessed: bool,
        rtol: float,
        atol: Array,
        maxiter: int,
        scale: float,
        window: int,
    ) -> FusedOutcome:
        """Solve one window after the other by Newton's method: a block for each, or many."""
        outcome: FusedOutcome = self._run(
            _kernels().newton.newton_windows,
            step,
            x,
            y,
            backend=self,
            guessed=guessed,
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
        x: Array | None,
        y: Array,
        *,
        rtol: float,
        atol: Array,
        maxiter: int,
        window: int,
        block_size: int,
    ) -> FusedOutcome:
        """Solve one window after the other by Jacobi sweeps: a block for each sequence, or many."""
        outcome: FusedOutcome = self._run(
            _kernels().sweeps.sweep_windows,
            step,
            x,
            y,
            backend=self,
            rtol=rtol,
            atol=atol,
            maxiter=maxiter,
            window=window,
            block_size=block_size,
        )
        return outcome

    def add_noise(self, z: Array, sigma: float, stream: NoiseStream, copies: range) -> Array:
        """Return ``z + sigma * eps``, generated on the device."""
        noisy = self.xp.empty((len(copies), *z.shape[1:]), dtype=z.dtype)
        noise, threads = _kernels().noise_cuda, _kernels().launch.BLOCK
        noise.add_noise(self.xp, z, sigma, stream, copies, noisy, threads=threads)
        return noisy

    def weigh_noise(self, weights: Array, stream: NoiseStream, copies: range, out: Array) -> None:
        """Add ``sum_k weights[k] * eps[k]`` to `out`, generated on the device."""
        noise, threads = _kernels().noise_cuda, _kernels().launch.BLOCK
        noise.weigh_noise(self.xp, weights, stream, copies, out, threads=threads)

    def _run(self, solve: Any, step: Any, x: Array | None, y: Array, **options: Any) -> Any:
        """Call a host function with the step as a program, its input and its parameters."""
        if x is not None:
            dtype = "float32" if x.dtype == np.float16 else np.dtype(x.dtype).newbyteorder("=")
            x = x.astype(dtype, copy=False)
            x = self.xp.broadcast_to(x, (x.shape[0], y.shape[1], *x.shape[2:]))
        params = tuple(p if p.ndim else self.to_numpy(p)[()] for p in step.params.values())
        program = self._programs.get(step, x, y, self.to_numpy)
        with _kernels().explained(step, x, y):
            return solve(program, y if x is None else x, params, y, **options)


def _namespace() -> Any:
    if simulated():
        return np
    import cupy

    return cupy


@functools.cache
def _kernels() -> Any:
    """Return the kernels: importing them loads Numba."""
    from seqsolve_numba.gpu import kernels

    return kernels
