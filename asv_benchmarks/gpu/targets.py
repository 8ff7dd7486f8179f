"""The targets on an H200, each with what was measured for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpu.figures import Figure

#: What the sections call what they measure.
MEMORY, DEER, LOOP, RIVAL = (
    "memory",
    "seqsolve.deer",
    "loop over CuPy calls",
    "DEER by jax.lax.associative_scan",
)

#: Largest difference between states of a GRU, at most 1, of what computes the same.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Target:
    """What is asked of a figure.

    Parameters
    ----------
    name : str
        In words.
    least : float
        What is asked.
    unit : str
        Of both.
    measure : callable
        Returns what was measured, None if it was not.
    """

    name: str
    least: float
    unit: str
    measure: Callable[[Sequence[Figure]], float | None]

    def row(self, figures: Sequence[Figure]) -> list[str]:
        """Return name, what is asked, what was measured and whether that is enough."""
        value = self.measure(figures)
        asked = f"at least {self.least:g} {self.unit}"
        if value is None:
            return [self.name, asked, "", "not measured"]
        met = "met" if value >= self.least else "**not met**"
        return [self.name, asked, f"{value:.4g} {self.unit}", met]


def bandwidth(n_steps: int, n_batch: int, n_state: int, matrices: str) -> Target:
    """Return a target for the part of the copy bandwidth that a recurrence reaches."""
    case = {
        "n_steps": n_steps,
        "n_batch": n_batch,
        "n_state": n_state,
        "matrices": matrices,
        "dtype": "float32",
    }
    least = 60.0 if n_state == 4 else 85.0
    if n_steps == 2**28 or n_state == 2:
        least = 75.0

    def measure(figures: Sequence[Figure]) -> float | None:
        found = [f for f in figures if f.section == MEMORY and f.case == case and f.stands]
        rates = [100 * f.floor / f.seconds for f in found if f.floor and f.seconds]
        variants = {f.variant for f in found}
        return min(rates) if {"linear_recurrence", "newton_update"} <= variants else None

    sizes = f"{matrices}, {n_steps:,} steps, {n_batch:,} sequences, {n_state:,} states"
    return Target(f"recurrence and update, {sizes}", least, "% of copy bandwidth", measure)


def speedup(rival: str, n_units: int, n_batch: int, n_steps: int | None, least: float) -> Target:
    """Return a target for how many times faster than something else `deer` is.

    Without `n_steps`, the least of all lengths that were measured.
    """
    sizes = {"n_units": n_units, "n_batch": n_batch}

    def measure(figures: Sequence[Figure]) -> float | None:
        lengths = {f.case["n_steps"] for f in figures if f.variant == DEER}
        ratios = [
            ratio(figures, {**sizes, "n_steps": length}, rival)
            for length in lengths
            if n_steps in (None, length)
        ]
        return min((r for r in ratios if r is not None), default=None)

    length = "every length measured" if n_steps is None else f"T = {n_steps:,}"
    name = f"deer, GRU, n = {n_units}, B = {n_batch}, {length}, against {rival}"
    return Target(name, least, "times", measure)


def ratio(figures: Sequence[Figure], case: dict[str, int], rival: str) -> float | None:
    """Return how many times longer a rival takes, None unless both computed the same.

    The loop was measured on a few steps, and is scaled.
    """
    ours = _found(figures, case, DEER)
    theirs = _found(figures, case, rival)
    scale = 1.0
    if rival == LOOP:
        loops = [f for f in figures if f.variant == LOOP and _alike(f.case, case) and f.stands]
        theirs = loops[0] if loops else None
        scale = case["n_steps"] / theirs.case["n_steps"] if theirs else 1.0
    if ours is None or theirs is None or not ours.seconds or not theirs.seconds:
        return None
    if ours.deviation is None or theirs.deviation is None:
        return None
    return scale * theirs.seconds / ours.seconds


def _found(figures: Sequence[Figure], case: dict[str, int], variant: str) -> Figure | None:
    return next((f for f in figures if f.variant == variant and f.case == case and f.stands), None)


def _alike(a: dict[str, int], b: dict[str, int]) -> bool:
    return {**a, "n_steps": 0} == {**b, "n_steps": 0}


TARGETS = [
    bandwidth(2**24, 1, 1, "diagonal"),
    bandwidth(2**14, 1, 2**12, "diagonal"),
    bandwidth(2**28, 1, 1, "diagonal"),
    bandwidth(2**22, 1, 2, "dense"),
    bandwidth(2**12, 2**12, 2, "dense"),
    bandwidth(2**21, 1, 4, "dense"),
    bandwidth(2**10, 2**12, 4, "dense"),
    speedup(LOOP, 1, 16, 10**6, 1000.0),
    *(speedup(RIVAL, n, 1, None, 1.0) for n in (1, 2, 4, 8, 16, 32)),
    *(speedup(RIVAL, n, 16, None, 1.0) for n in (1, 2, 4, 8, 16, 32)),
]
