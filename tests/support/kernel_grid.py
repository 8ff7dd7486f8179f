"""Runs every kernel of the CuPy backend, in every regime, against loops.

    python tests/support/kernel_grid.py

On a GPU under compute-sanitizer, on the host under the address and undefined-behaviour
sanitizers: see `tests/support/check_on_gpu` and `tests/emulation/test_sanitized.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.append(str(Path(__file__).parent / "emulation"))  # an installed CuPy comes first

import cuda_host
import cupy
import numpy as np

import seqsolve
from seqsolve import random
from seqsolve_cupy import cyclic_reduction, residual, scans
from seqsolve_cupy.element import newton
from seqsolve_cupy.element.evaluate import BoundElementStep
from seqsolve_cupy.element.march import march
from seqsolve_cupy.element.program import Program, Programs
from seqsolve_cupy.noise import add_noise, weigh_noise
from seqsolve_cupy.plans import Tiles, Walk, Wide

#: Plan, dtype, states that are coupled (0: diagonal, of two states), sequences.
SCANS = (
    (Tiles(8, 64, reach=2), "float32", 0, 1),
    (Walk(64), "complex64", 0, 3),
    (Tiles(2, 32, reach=2), "float64", 2, 3),
    (Wide(32, n_chunks=4), "float32", 5, 2),
    (Wide(64, n_chunks=3), "float32", 33, 1),
)
CYCLIC = (("float32", 0, 3), ("complex128", 2, 2))
#: One step, a part of a tile, a tile, several; of large matrices only few.
STEPS = (1, 33, 500, 1700)
TOLERANCE = {"float32": 1e-5, "complex64": 1e-5, "float64": 1e-12, "complex128": 1e-12}


def noise(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    a = rng.uniform(-1, 1, shape)
    if np.dtype(dtype).kind == "c":
        a = (a + 1j * rng.uniform(-1, 1, shape)) / 1.5
    return a.astype(dtype)


def step(A: np.ndarray, v: np.ndarray) -> np.ndarray:
    return A * v if A.ndim == v.ndim else (A @ v[..., None])[..., 0]


def loop(A: np.ndarray, b: np.ndarray, y0: np.ndarray) -> np.ndarray:
    """The recurrence in double precision."""
    y, state = np.empty(b.shape, np.result_type(b, np.float64)), y0
    for t in range(len(b)):
        state = y[t] = step(A[t], state) + b[t]
    return y


def systems(dtype: str, n: int, n_batch: int) -> Iterator[tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(0)
    shape = (n_batch, n or 2)
    for n_steps in STEPS[: 4 if n < 16 else 2]:
        A = noise(rng, (n_steps, *shape, n) if n else (n_steps, *shape), dtype) / max(1, n**0.5)
        yield (
            A.astype(dtype),
            noise(rng, (n_steps, *shape), dtype),
            noise(rng, shape, dtype),
        )


def check(got: cupy.ndarray, expected: np.ndarray, what: object) -> None:
    scale = TOLERANCE[got.dtype.name] * (1 + np.abs(expected).max())
    difference = np.abs(got.get() - expected).max()
    assert difference <= scale, (what, difference)


def run_scans(plan: Walk | Tiles | Wide, dtype: str, n: int, n_batch: int) -> None:
    for A, b, y0 in systems(dtype, n, n_batch):
        y = cupy.empty(b.shape, dtype=dtype)
        arrays = [cupy.asarray(a) for a in (A, b, y0)]
        scans.launch(scans.Task.linear(*arrays, y), plan)
        check(y, loop(A, b, y0), (plan, len(b)))
        increments = loop(A, b - b[::-1], np.zeros_like(y0))
        expected = np.concatenate([b[:1], b[1:] + step(A[1:], increments[:-1])])
        y = cupy.asarray(np.ascontiguousarray(b[::-1]))
        scans.launch(scans.Task.newton(arrays[0], arrays[1], y), plan)
        check(y, expected, (plan, len(b), "newton"))


def run_cyclic_reduction(dtype: str, n: int, n_batch: int) -> None:
    for A, b, y0 in systems(dtype, n, n_batch):
        y = cupy.empty(b.shape, dtype=dtype)
        arrays = [cupy.asarray(a) for a in (A, b, y0)]
        cyclic_reduction.solve(*arrays, reverse=False, transpose=False, out=y)
        check(y, loop(A, b, y0), ("cyclic reduction", n, len(b)))


def run_residual_test(dtype: str) -> None:
    rng = np.random.default_rng(1)
    y = noise(rng, (300, 3, 2), dtype)
    fy = y.copy()
    fy[77, 1, 1] += 1
    first, largest = residual.residual_test(cupy.asarray(y), cupy.asarray(fy), 1e-3, cupy.zeros(2))
    assert first.tolist() == [300, 77, 300], first
    np.testing.assert_allclose(largest, [0, 1, 0], atol=1e-5)


def run_noise(kind: str, dtype: str) -> None:
    rng = np.random.default_rng(2)
    stream = random.NoiseStream((1, 2), 3, kind, False, None)
    z, w = noise(rng, (1, 3, 37), dtype), noise(rng, (19, 3), dtype)
    copies = range(5, 24)
    expected = random.add_noise(np, z, 0.5, stream, copies)
    np.testing.assert_array_equal(add_noise(cupy.asarray(z), 0.5, stream, copies).get(), expected)
    out = cupy.zeros((3, 37), dtype=dtype)
    weigh_noise(cupy.asarray(w), stream, copies, out)
    total = np.zeros((3, 37), dtype)
    random.weigh_noise(np, w, stream, copies, total)
    np.testing.assert_array_equal(out.get(), total)


def rotating(y_prev, x, params, y_out):
    (W,) = params
    for i in range(2):
        total = x[i]
        for j in range(2):
            total += W[i, j] * y_prev[j]
        y_out[i] = total / (1.0 + total * total)


def rotating_jac(y_prev, x, params, jac_out):
    (W,) = params
    for i in range(2):
        total = x[i]
        for j in range(2):
            total += W[i, j] * y_prev[j]
        for j in range(2):
            jac_out[i, j] = (1.0 - total * total) / (1.0 + total * total) ** 2 * W[i, j]


def element_step(dtype: np.dtype, n_batch: int) -> tuple[Any, ...]:
    """Return a step, its program, input and trajectory."""
    rng = np.random.default_rng(2)
    W = 0.6 * noise(rng, (2, 2), dtype)
    cell = seqsolve.element_step(rotating, rotating_jac, n_state=2, params={"W": W.astype(dtype)})
    x, y0 = noise(rng, (300, n_batch, 2), dtype), noise(rng, (n_batch, 2), dtype)
    y, state = np.empty((301, n_batch, 2)), y0.astype(float)
    for t in range(301):
        y[t] = state
        if t < 300:
            state = cell(state, x[t])
    moved = cell.with_params({"W": cupy.asarray(W)})
    return moved, Program(moved, cupy.asarray(x), dtype), cupy.asarray(x), y


def run_element_newton(dtype: np.dtype, n_batch: int) -> None:
    step, program, x, expected = element_step(dtype, n_batch)
    y = cupy.zeros(expected.shape, dtype=dtype)
    y[0] = cupy.asarray(expected[0].astype(dtype))
    tolerance = TOLERANCE[dtype.name]
    plan = Tiles(1 if n_batch == 1 else 2, 32, reach=2)
    with mock.patch.object(newton, "plan", return_value=plan):
        outcome = newton.newton_windows(
            program,
            x,
            step.params,
            y,
            guessed=False,
            rtol=0.1 * tolerance,
            atol=cupy.full(2, 0.1 * tolerance),
            maxiter=30,
            scale=1.0,
            window=200,
        )
    assert outcome.converged.tolist() == [300] * n_batch, outcome
    check(y, expected, ("element_newton", n_batch))


def run_element_step(dtype: np.dtype, n_batch: int) -> None:
    step, program, x, expected = element_step(dtype, n_batch)
    y = cupy.zeros(expected.shape, dtype=dtype)
    y[0] = cupy.asarray(expected[0].astype(dtype))
    march(program, x, step.params, y)
    check(y, expected, ("element_march", n_batch))
    bound = BoundElementStep(step, x, Programs())
    fy, complete = bound.linearize(cupy.asarray(expected[:-1].astype(dtype)))
    check(fy, expected[1:], ("element_evaluate", n_batch))
    h = seqsolve.triangular_map(step, x, y[0], backend="cupy")
    swept = seqsolve.jacobi_gs(h, cupy.zeros(h.shape, dtype=dtype), block_size=40).y
    check(swept, expected[1:], ("element_sweep", n_batch))
    host = seqsolve.element_step(
        rotating, rotating_jac, n_state=2, params={"W": step.params["W"].get().astype(float)}
    )
    check(complete(), host.jac(expected[:-1], x.get().astype(float)), ("Jacobian", n_batch))


def main() -> None:
    """Run the grid, emulated with a few seeds of the scheduler."""
    emulated = hasattr(cupy, "is_emulated")
    if not emulated:
        cupy.cuda.set_allocator(None)  # no pool hides a write beside an array
    for seed in range(2 if emulated else 1):
        with cuda_host.schedule(seed=seed, resident=2 + 2 * seed, shuffle=bool(seed % 2)):
            for case in SCANS:
                run_scans(*case)
            for case in CYCLIC:
                run_cyclic_reduction(*case)
            for dtype in ("float32", "complex128"):
                run_residual_test(dtype)
            run_noise("normal", "float32")
            run_noise("sign", "float64")
            for dtype, n_batch in (("float32", 1), ("float64", 3)):
                run_element_newton(np.dtype(dtype), n_batch)
                run_element_step(np.dtype(dtype), n_batch)
    print("every kernel equals its loop")


if __name__ == "__main__":
    main()
