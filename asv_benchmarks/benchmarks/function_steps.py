"""Element steps with elementary functions: the backend's own, or those of the C library."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

import seqsolve
from seqsolve_numba import elementary, pipeline, replaced, specialization
from seqsolve_numba.translate import Translator

from .common import Benchmark, NDArray


def sine(n: int) -> Any:
    """Damped states, each pulled by its sine."""

    def step(y_prev: Any, x: Any, params: Any, y_out: Any) -> None:
        for i in range(len(y_prev)):
            y_out[i] = 0.5 * y_prev[i] + 0.4 * math.sin(y_prev[i]) + x[0]

    return seqsolve.element_step(step, n_state=n)


def circle(n: int) -> Any:
    """Circle maps, which never forget their phase."""

    def step(y_prev: Any, x: Any, params: Any, y_out: Any) -> None:
        for i in range(len(y_prev)):
            y_out[i] = y_prev[i] + 0.6 - 0.5 * math.sin(y_prev[i]) + 0.01 * x[0]

    return seqsolve.element_step(step, n_state=n)


def ricker(n: int) -> Any:
    """Populations with the theta-Ricker law, chaotic."""

    def step(y_prev: Any, x: Any, params: Any, y_out: Any) -> None:
        for i in range(len(y_prev)):
            y_out[i] = y_prev[i] * math.exp(2.4 * (1.0 - y_prev[i] ** 1.3) + 0.01 * x[0])

    return seqsolve.element_step(step, n_state=n)


def kuramoto(n: int) -> Any:
    """Oscillators, each pulled by all, one Euler step."""

    def step(y_prev: Any, x: Any, params: Any, y_out: Any) -> None:
        for i in range(len(y_prev)):
            pull = x[0]
            for j in range(len(y_prev)):
                pull += math.sin(y_prev[j] - y_prev[i])
            y_out[i] = y_prev[i] + 0.05 * (1.0 + 0.1 * i + pull)

    return seqsolve.element_step(step, n_state=n)


def gelu(n: int) -> Any:
    """Units with the activation GELU."""

    def step(y_prev: Any, x: Any, params: Any, y_out: Any) -> None:
        for i in range(len(y_prev)):
            z = 0.8 * y_prev[i] + x[0]
            y_out[i] = 0.5 * z * (1.0 + math.erf(z * 0.7071067811865476))

    return seqsolve.element_step(step, n_state=n)


def phase(n: int) -> Any:
    """Phases that are drawn to that of the input."""

    def step(y_prev: Any, x: Any, params: Any, y_out: Any) -> None:
        for i in range(len(y_prev)):
            along = math.cos(y_prev[i]) + 0.2 * x[0]
            y_out[i] = math.atan2(math.sin(y_prev[i]) + 0.1, along)

    return seqsolve.element_step(step, n_state=n)


STEPS: dict[str, Callable[[int], Any]] = {
    f.__name__: f for f in (sine, circle, ricker, kuramoto, gelu, phase)
}


def problem(
    name: str, n: int, n_steps: int, batch: int, dtype: str
) -> tuple[Any, NDArray, NDArray]:
    """Return an element step, its input and its initial states."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n_steps, batch, 1), dtype=np.float32).astype(dtype)
    return STEPS[name](n), x, rng.uniform(0.4, 0.9, (batch, n)).astype(dtype)


@contextmanager
def exponentials_only() -> Iterator[None]:
    """Compile steps that call the C library, but for exponentials and logarithms."""
    names = {"minimum", "maximum", *(f.__name__ for f in elementary.FUNCTIONS)}
    mapping = {f: g for f, g in replaced.REPLACED.items() if f.__name__ in names}
    with (
        mock.patch.object(specialization, "REPLACED", mapping),
        mock.patch.object(pipeline, "OPERATORS", {}),
        mock.patch.object(Translator, "content", None),  # nothing of this is kept on disk
    ):
        yield


class Functions(Benchmark):
    """Steps with angles, powers and the error function; one sequence, and sixty-four."""

    param_names = ("backend", "step", "n_batch")
    params = (("numba",), tuple(STEPS), (1, 64))

    def prepare(self, name: str, n_batch: int) -> None:
        n_steps = 100_000 if n_batch == 1 else 10_000
        self.step, self.x, self.y0 = problem(name, 2, n_steps, n_batch, "float64")
        self.time_sequential()

    def time_sequential(self, *_: Any) -> None:
        seqsolve.sequential(self.step, self.x, self.y0, backend=self.backend)
