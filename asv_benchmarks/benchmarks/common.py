"""What the benchmarks share: backends as a parameter, deterministic data, plain loops."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

import seqsolve
from seqsolve.backend import Backend
from seqsolve.models import GRU
from seqsolve_numba import CudaBackend, NumbaBackend, device

NDArray = npt.NDArray[Any]

#: Backends to measure; those that cannot run give n/a.
BACKENDS = ("numpy", "cupy", "numba", "numba-cuda")

N_INPUTS = 4


class Benchmark:
    """A benchmark whose first parameter is the backend."""

    param_names: Sequence[str] = ("backend",)
    params: Any = (BACKENDS,)

    def setup(self, backend: str, *parameters: Any) -> None:
        """Take the backend, or raise NotImplementedError: not applicable here."""
        self.backend = get_backend(backend)
        self.prepare(*parameters)

    def prepare(self, *parameters: Any) -> None:
        """Make the data and call once what is measured, so that it is compiled."""
        raise NotImplementedError

    def asarray(self, a: NDArray) -> Any:
        """Return `a` on the backend."""
        return self.backend.asarray(a)


def get_backend(name: str) -> Backend:
    """Return a backend; of Numba's, CPU threads ("numba") and the device ("numba-cuda") are two."""
    if name == "numba":
        return NumbaBackend()
    if name == "numba-cuda":
        reason = "it is simulated" if device.simulated() else device.why_not()
        if reason:
            raise NotImplementedError(f"Numba has no CUDA device here: {reason}.")
        return CudaBackend()
    if name not in seqsolve.available_backends():
        raise NotImplementedError(f"Backend {name!r} cannot run here.")
    return seqsolve.get_backend(name)


def gru_problem(
    n_units: int, n_steps: int, batch: tuple[int, ...] = (), dtype: str = "float32"
) -> tuple[GRU, NDArray, NDArray]:
    """Return a GRU with random weights, its input and its initial state."""
    cell = GRU.random(N_INPUTS, n_units, dtype=dtype, rng=n_units)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n_steps, *batch, N_INPUTS), dtype=np.float32).astype(dtype)
    return cell, x, np.zeros((*batch, n_units), dtype)


def gru_loop(cell: GRU, x: NDArray, y0: NDArray) -> NDArray:
    """Step through a GRU in plain NumPy, its input projected beforehand."""
    weights = {name: np.asarray(p) for name, p in cell.params.items()}
    weight_hh, bias_hh = weights["weight_hh"].T, weights["bias_hh"]
    n = y0.shape[-1]
    projected = x @ weights["weight_ih"].T + weights["bias_ih"]
    y = np.empty((len(x), *y0.shape), dtype=y0.dtype)
    h = y0
    for t, gates in enumerate(projected):
        hidden = h @ weight_hh + bias_hh
        rz = expit(gates[..., : 2 * n] + hidden[..., : 2 * n])
        candidate = np.tanh(gates[..., 2 * n :] + rz[..., :n] * hidden[..., 2 * n :])
        h = candidate + rz[..., n:] * (h - candidate)
        y[t] = h
    return y


def linear_problem(
    n_steps: int, n_state: int, structure: str, dtype: str
) -> tuple[NDArray, NDArray]:
    """Return the matrices and right-hand sides of a contractive linear recurrence."""
    rng = np.random.default_rng(0)
    b = rng.standard_normal((n_steps, n_state))
    if structure == "diagonal":
        A = rng.uniform(0.5, 0.99, (n_steps, n_state))
    else:
        A = 0.5 / np.sqrt(n_state) * rng.standard_normal((n_steps, n_state, n_state))
    return A.astype(dtype), b.astype(dtype)


def linear_loop(A: NDArray, b: NDArray) -> NDArray:
    """Step through a linear recurrence in plain NumPy."""
    y = np.empty_like(b)
    state = np.zeros_like(b[0])
    if A.ndim == b.ndim:
        for t in range(len(b)):
            state = A[t] * state + b[t]
            y[t] = state
    else:
        for t in range(len(b)):
            state = A[t] @ state + b[t]
            y[t] = state
    return y


def fastest(
    calls: dict[str, Callable[[], Any]],
    *,
    seconds: float = 1.0,
    timer: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Time several ways to do the same, in turn, and return the fastest time of each.

    Their order changes from round to round: what one leaves in the caches, or in the
    allocator, is no constant help to the next.

    Parameters
    ----------
    calls : dict of callable
        What to time. Each is called once before, to compile.
    seconds : float
        How long to go on; each is called three times at least.
    timer : callable
        The clock.

    Returns
    -------
    dict of float
        Seconds.
    """
    for call in calls.values():
        call()
    best = dict.fromkeys(calls, np.inf)
    order, shuffle = list(calls), random.Random(0).shuffle
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < 3 or time.perf_counter() < end:
        shuffle(order)
        for name in order:
            start = timer()
            calls[name]()
            best[name] = min(best[name], timer() - start)
        rounds += 1
    return best
