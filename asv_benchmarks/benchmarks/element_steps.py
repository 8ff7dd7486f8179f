"""Compiled element steps: stepping through time, and fused Newton iterations."""

from __future__ import annotations

from typing import Any

import numpy as np

import seqsolve

from .common import Benchmark, gru_problem

N_STEPS = 100_000


class Element(Benchmark):
    """A GRU as an element step, one sequence."""

    param_names = ("backend", "n", "dtype")
    params = (("numba",), (1, 2, 4, 8, 16, 32), ("float32", "float64"))

    def prepare(self, n: int, dtype: str) -> None:
        cell, self.x, self.y0 = gru_problem(n, N_STEPS, dtype=dtype)
        self.step = cell.element_step()
        self.time_sequential()

    def time_sequential(self, *_: Any) -> None:
        seqsolve.sequential(self.step, self.x, self.y0, backend=self.backend)

    def peakmem_sequential(self, *_: Any) -> None:
        seqsolve.sequential(self.step, self.x, self.y0, backend=self.backend)


class FusedNewton(Benchmark):
    """The same by Newton's method; the update gates' bias shifted for a longer memory."""

    param_names = ("backend", "n", "shift", "dtype")
    params = (("numba",), (1, 2), (0.0, 5.0), ("float32", "float64"))

    def prepare(self, n: int, shift: float, dtype: str) -> None:
        cell, self.x, self.y0 = gru_problem(n, N_STEPS, dtype=dtype)
        bias = np.array(cell.params["bias_ih"])
        bias[n : 2 * n] += shift
        self.step = cell.with_params({"bias_ih": bias}).element_step()
        self.time_deer()

    def time_deer(self, *_: Any) -> None:
        self.solve()

    def solve(self) -> seqsolve.Solution:
        return seqsolve.deer(
            self.step,
            None,
            self.x,
            self.y0,
            backend=self.backend,
            window=4096,
            on_failure="raise",
        )

    def track_iterations(self, *_: Any) -> int:
        return self.solve().nit

    track_iterations.unit = "iterations"


class Batch(Benchmark):
    """Sixteen sequences, on threads."""

    param_names = ("backend", "n")
    params = (("numba",), (1, 4, 16))

    def prepare(self, n: int) -> None:
        cell, self.x, self.y0 = gru_problem(n, N_STEPS // 10, (16,))
        self.step = cell.element_step()
        self.time_sequential()

    def time_sequential(self, *_: Any) -> None:
        seqsolve.sequential(self.step, self.x, self.y0, backend=self.backend)


class Device(Benchmark):
    """A GRU as an element step on a CUDA device: all of it for one sequence, or for thousands."""

    param_names = ("backend", "n", "n_batch")
    params = (("numba-cuda",), (1, 4), (1, 4096))

    def prepare(self, n: int, n_batch: int) -> None:
        cell, x, y0 = gru_problem(n, N_STEPS if n_batch == 1 else N_STEPS // 100, (n_batch,))
        self.x, self.y0 = self.asarray(x), self.asarray(y0)
        self.step = cell.element_step()
        self.step = self.step.with_params(
            {name: self.asarray(a) for name, a in self.step.params.items()}
        )
        self.window = min(len(x), 4096)
        self.time_sequential()
        self.time_deer()
        self.time_jacobi()

    def time_sequential(self, *_: Any) -> None:
        seqsolve.sequential(self.step, self.x, self.y0, backend=self.backend)
        self.backend.synchronize()

    def solve(self) -> seqsolve.Solution:
        return seqsolve.deer(
            self.step,
            None,
            self.x,
            self.y0,
            backend=self.backend,
            window=self.window,
            on_failure="raise",
        )

    def time_deer(self, *_: Any) -> None:
        self.solve()
        self.backend.synchronize()

    def track_iterations(self, *_: Any) -> int:
        return self.solve().nit

    track_iterations.unit = "iterations"

    def time_jacobi(self, *_: Any) -> None:
        h = seqsolve.triangular_map(self.step, self.x, self.y0, backend=self.backend)
        guess = self.backend.xp.zeros(h.shape, dtype="float32")
        seqsolve.jacobi(h, guess, window=self.window, on_failure="raise")
        self.backend.synchronize()
