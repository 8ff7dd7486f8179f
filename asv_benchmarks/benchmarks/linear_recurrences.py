"""Linear recurrences: diagonal and dense, by every method."""

from __future__ import annotations

from typing import Any

from scipy.signal import lfilter

import seqsolve

from .common import BACKENDS, Benchmark, fastest, linear_problem

N_STEPS = 100_000
METHODS = ("auto", "scan", "cyclic_reduction")


class _Linear(Benchmark):
    structure: str

    def prepare(self, n: int, dtype: str, method: str) -> None:
        A, b = linear_problem(N_STEPS, n, self.structure, dtype)
        self.A, self.b = self.asarray(A), self.asarray(b)
        self.method = method
        self.solve()

    def solve(self) -> Any:
        y = seqsolve.linear_recurrence(self.A, self.b, backend=self.backend, method=self.method)
        self.backend.synchronize()
        return y

    def time_solve(self, *_: Any) -> None:
        self.solve()

    def peakmem_solve(self, *_: Any) -> None:
        self.solve()


class Diagonal(_Linear):
    structure = "diagonal"
    param_names = ("backend", "n", "dtype", "method")
    params = (BACKENDS, (1, 16), ("float32", "float64"), METHODS)


class Dense(_Linear):
    structure = "dense"
    param_names = ("backend", "n", "dtype", "method")
    params = (BACKENDS, (2, 4, 8, 16), ("float32",), METHODS)


class ConstantCoefficient(Benchmark):
    """Against `scipy.signal.lfilter`, where that can do it."""

    def prepare(self) -> None:
        A, b = linear_problem(N_STEPS, 1, "diagonal", "float64")
        self.host = b[:, 0]
        self.A, self.b = self.asarray(A[:1]), self.asarray(b)
        self.coefficient = float(A[0, 0])

    def solve(self) -> None:
        seqsolve.linear_recurrence(self.A, self.b, backend=self.backend)
        self.backend.synchronize()

    def track_speedup(self, backend: str) -> float:
        best = fastest(
            {
                "lfilter": lambda: lfilter([1.0], [1.0, -self.coefficient], self.host),
                "seqsolve": self.solve,
            }
        )
        return best["lfilter"] / best["seqsolve"]

    track_speedup.unit = "times"
