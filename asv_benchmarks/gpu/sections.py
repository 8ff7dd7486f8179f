"""The parts of the report: what they measure, and their share of the time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Section:
    """A part of the report, which runs in a process of its own.

    Parameters
    ----------
    title : str
        Of its table.
    module, function : str
        What measures it: called with a `Session`.
    share : float
        Of the time, relative to the others'.
    """

    title: str
    module: str
    function: str
    share: float

    def load(self) -> Callable[[Any], None]:
        """Return what measures it; loads what it is measured with."""
        function: Callable[[Any], None] = getattr(import_module(self.module), self.function)
        return function


SECTIONS = {
    "memory": Section(
        "Primitives at the speed of memory", "gpu.kernels", "measure_primitives", 2.0
    ),
    "deer": Section("GRU by deer, float32", "gpu.solvers", "measure_deer", 5.0),
    "linear": Section("Linear recurrences", "gpu.linear", "measure_linear", 0.5),
    "parts": Section("Parts of an iteration of deer", "gpu.solvers", "measure_parts", 0.5),
    "reduction": Section("Cyclic reduction", "gpu.kernels", "measure_reduction", 1.0),
    "element": Section("Compiled element steps", "gpu.element", "measure_element_steps", 1.5),
    "noise": Section("Noise of likelihood ratios", "gpu.noise", "measure_noise", 0.5),
    "tuning": Section(
        "Plans and constants beside their neighbours", "gpu.tuning", "measure_tuning", 3.0
    ),
}
