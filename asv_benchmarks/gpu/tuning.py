"""What the backend chooses, timed beside its neighbours; each result is verified."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import seqsolve
from gpu.figures import CHOSEN, Case, Session
from gpu.kernels import (
    SHAPES,
    Shape,
    measure_recurrence,
    measure_residual_test,
    measured_newton_update,
    measured_recurrence,
    sized,
    system,
)
from gpu.measure import release
from gpu.solvers import Problem
from seqsolve_cupy import cyclic_reduction, residual, scans, wide
from seqsolve_cupy.plans import Tiles

Measure = Callable[[], dict[str, Any]]

#: Scans that are tuned first, the targets', and last.
FIRST, LAST = SHAPES[:7], SHAPES[9:14]

#: Module, constant, factors, and the shapes whose time depends on it.
CONSTANTS: list[tuple[ModuleType, str, tuple[float, ...], list[Shape]]] = [
    (
        cyclic_reduction,
        "WHOLE_CHUNK_STEPS",
        (0.5, 2, 4),
        [Shape(2**20, 1, 4, dense=True), Shape(2**17, 1, 12, dense=True)],
    ),
    (cyclic_reduction, "CHUNK_STEPS", (0.5, 2), [Shape(1024, 64, 4, dense=True)]),
    (cyclic_reduction, "BLOCKS_PER_MULTIPROCESSOR", (0.5, 2), [Shape(2**20, 1, 4, dense=True)]),
    (wide, "RADIX", (0.5, 2), [Shape(1024, 1, 256, dense=True), Shape(1024, 1, 64, dense=True)]),
]
RESIDUALS = [("_BLOCKS_PER_MULTIPROCESSOR", (0.5, 2)), ("_THREADS", (0.5, 2))]

#: Units, sequences and steps whose window is varied.
WINDOWS = [(1, 16, 10**6), (16, 1, 10**5), (32, 1, 10**5)]


def measure_tuning(session: Session) -> None:
    """Measure plans of scans, constants and windows, the targets' plans first."""
    _tune_scans(session, session.cases(FIRST, 1))
    _tune_constants(session)
    for n_units, n_batch, n_steps in session.cases(WINDOWS, 1):
        sizes = {"n_units": n_units, "n_batch": n_batch, "n_steps": session.size(n_steps)}
        case = {"what": "window of deer", **sizes}
        session.attempt(case, _tune_window, session, case, sizes)
    _tune_scans(session, session.cases(LAST, 0))


def neighbours(plan: Any) -> Iterator[Any]:
    """Return the plans that differ in one number, twice or half as large or more."""
    for field in dataclasses.fields(plan):
        value = getattr(plan, field.name)
        for other in (value // 4, value // 2, 2 * value, 4 * value):
            candidate = dataclasses.replace(plan, **{field.name: other})
            if other != value and _is_possible(candidate):
                yield candidate


def _is_possible(plan: Any) -> bool:
    most_threads = 256 if isinstance(plan, Tiles) else 1024  # a tile's are in shared memory
    return (
        32 <= plan.threads <= most_threads
        and 1 <= getattr(plan, "lanes", 1) <= 32
        and getattr(plan, "reach", 1) >= 1
        and getattr(plan, "n_chunks", 1) >= 1
    )


def _tune_scans(session: Session, shapes: Sequence[Shape]) -> None:
    for shape in shapes:
        shape = sized(session, shape)
        for kind in ("linear_recurrence", "newton_update"):
            case = {"what": kind, **shape.case()}
            session.attempt(case, _tune_scan, session, shape, case)


def _tune_scan(session: Session, shape: Shape, case: Case) -> None:
    newton = case["what"] == "newton_update"
    measure = measured_newton_update if newton else measured_recurrence

    def task(A: Any, b: Any, y: Any) -> scans.Task:
        return scans.Task.newton(A, b, y) if newton else scans.Task.linear(A, b, None, y)

    A, b = system(shape, 0.9)
    chosen = scans.plan_for(task(A, b, b))
    del A, b
    for plan in [chosen, *session.cases(list(neighbours(chosen)), 1)]:
        mark = f" ({CHOSEN})" if plan == chosen else ""

        def launching(*arrays: Any, plan: Any = plan) -> Callable[[], None]:
            return partial(scans.launch, task(*arrays), plan)

        session.add(case, f"{plan}{mark}", partial(measure, session, shape, launching), 4.0)
        release()


def _tune_constants(session: Session) -> None:
    backend = seqsolve.get_backend("cupy")
    for module, name, factors, shapes in CONSTANTS:
        for shape in session.cases(shapes, 1):
            shape = sized(session, shape)
            measure: Measure = partial(
                measure_recurrence, session, backend, shape, "cyclic_reduction"
            )
            _tune_constant(session, module, name, factors, shape, measure)
    for name, factors in RESIDUALS:
        shape = sized(session, SHAPES[0])
        measure = partial(measure_residual_test, session, backend, shape)
        _tune_constant(session, residual, name, factors, shape, measure)


def _tune_constant(
    session: Session,
    module: ModuleType,
    name: str,
    factors: tuple[float, ...],
    shape: Shape,
    measure: Measure,
) -> None:
    case = {"what": f"{module.__name__.rpartition('.')[2]}.{name}", **shape.case()}
    value = getattr(module, name)
    session.add(case, f"{value} ({CHOSEN})", measure, 4.0)
    for factor in session.cases(factors, 1):
        other = type(value)(value * factor)

        def changed_measure(other: Any = other) -> dict[str, Any]:
            with changed(module, name, other):
                return measure()

        session.add(case, str(other), changed_measure, 4.0)
    release()


def _tune_window(session: Session, case: Case, sizes: dict[str, int]) -> None:
    problem = Problem(**sizes)
    session.add(case, f"by memory ({CHOSEN})", partial(problem.deer, session, problem.cell), 5.0)
    for factor in (2, 4, 16, 64):
        window = max(1, sizes["n_steps"] // factor)
        call = partial(problem.deer, session, problem.cell, window=window)
        session.add(case, f"{window:,} steps", call, 5.0)
    release()


@contextmanager
def changed(module: ModuleType, name: str, value: Any) -> Iterator[None]:
    """Give a constant of a module another value."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)
