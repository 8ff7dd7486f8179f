"""Random recurrences of every structure, the plain loop, and functions that keep count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import settings

import seqsolve

#: For all property tests: the same examples in every run, no clock.
fixed = settings(derandomize=True, deadline=None, max_examples=60, database=None)

#: What a converged trajectory of a recurrence that contracts may be off, relative to its size.
TOLERANCE = {"float32": 2e-5, "complex64": 2e-5, "float64": 2e-11, "complex128": 2e-11}


STRUCTURES = ["diagonal", "block_diagonal", "dense"]
REAL, COMPLEX = ["float32", "float64"], ["complex64", "complex128"]
BATCHES = [(), (1,), (3,), (2, 3), (0,)]
LINEAR_SOLVERS = ["auto", "scan", "cyclic_reduction", "sequential"]


@dataclass
class Recurrence:
    """A recurrence with its exact Jacobian."""

    f: Callable[[Any, Any], Any]
    jac: Callable[[Any, Any], Any]
    x: Any
    y0: Any
    structure: str
    block_size: int | None = None

    @property
    def n_steps(self) -> int:
        return first_leaf(self.x).shape[0]


def random_recurrence(
    structure: str,
    rng: np.random.Generator,
    n_steps: int,
    batch: tuple[int, ...] = (),
    n_state: int = 4,
    dtype: str = "float64",
    gain: float = 0.6,
) -> Recurrence:
    """Return a recurrence that contracts perturbations at least by `gain` a step."""
    build = {
        "diagonal": _diagonal,
        "block_diagonal": _blocks,
        "dense": _dense,
    }[structure]
    return build(rng, n_steps, batch, n_state, np.dtype(dtype), gain)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    values = rng.uniform(-0.4, 0.4, shape)
    if dtype.kind == "c":
        values = values + 1j * rng.uniform(-0.4, 0.4, shape)
    return values.astype(dtype)


def _contraction(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], gain: float
) -> Any:
    W = _noise(rng, shape, dtype)
    return W * dtype.type(gain) / np.linalg.norm(W, 2, axis=(-2, -1), keepdims=True)


def _squash(dtype: np.dtype[Any]) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return a holomorphic function and its derivative, at most about 1 near the unit disc."""
    if dtype.kind == "c":
        return lambda z: z + 0.1 * z * z, lambda z: 1 + 0.2 * z
    return np.tanh, lambda z: 1 - np.tanh(z) ** 2


def _diagonal(rng, n_steps, batch, n, dtype, gain):
    squash, slope = _squash(dtype)
    w = dtype.type(gain) * _noise(rng, (n,), dtype) / dtype.type(0.6)

    def f(y, x):
        return squash(w * y + x)

    def jac(y, x):
        return slope(w * y + x) * w

    return _make(f, jac, rng, n_steps, batch, n, dtype, "diagonal")


def _dense(rng, n_steps, batch, n, dtype, gain):
    squash, slope = _squash(dtype)
    W = _contraction(rng, (n, n), dtype, gain)

    def f(y, x):
        return squash(y @ W.T + x)

    def jac(y, x):
        return slope(y @ W.T + x)[..., :, None] * W

    return _make(f, jac, rng, n_steps, batch, n, dtype, "dense")


def _blocks(rng, n_steps, batch, n, dtype, gain):
    k = 2 if n % 2 == 0 else n
    h = n // k
    squash, slope = _squash(dtype)
    W = _contraction(rng, (h, k, k), dtype, gain)

    def inner(y, x):
        heads = y.reshape(*y.shape[:-1], h, k)
        return (W @ heads[..., None])[..., 0].reshape(y.shape) + x

    def f(y, x):
        return squash(inner(y, x))

    def jac(y, x):
        return slope(inner(y, x)).reshape(*y.shape[:-1], h, k, 1) * W

    return _make(f, jac, rng, n_steps, batch, n, dtype, "block_diagonal", k)


def _make(f, jac, rng, n_steps, batch, n, dtype, structure, k=None):
    x = _noise(rng, (n_steps, *batch, n), dtype)
    y0 = _noise(rng, (*batch, n), dtype)
    return Recurrence(f, jac, x, y0, structure, k)


def leaky_rotation(
    rng: np.random.Generator, n_steps: int, batch: tuple[int, ...] = ()
) -> Recurrence:
    """Return an affine recurrence in two dimensions, its input a dict of uneven shapes."""
    angle, decay = rng.uniform(0, 1, n_steps), rng.uniform(0.3, 0.8, n_steps)
    R = decay[:, None, None] * np.stack(
        [np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=-1
    ).reshape(n_steps, 2, 2)
    x = {
        "R": R.reshape(n_steps, *(1 for _ in batch), 2, 2),
        "b": rng.standard_normal((n_steps, *batch, 2)),
    }

    def f(y, x):
        return (x["R"] @ y[..., None])[..., 0] + x["b"]

    def jac(y, x):
        return np.broadcast_to(x["R"], (*y.shape, 2)) + 0

    return Recurrence(f, jac, x, rng.standard_normal((*batch, 2)), "dense")


def first_leaf(tree: Any) -> Any:
    while isinstance(tree, dict | tuple | list):
        tree = next(iter(tree.values())) if isinstance(tree, dict) else tree[0]
    return tree


def at(tree: Any, t: int) -> Any:
    """Return a tree's leaves at one step."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {k: at(v, t) for k, v in tree.items()}
    if hasattr(tree, "_fields"):
        return type(tree)(*(at(v, t) for v in tree))
    if isinstance(tree, tuple | list):
        return type(tree)(at(v, t) for v in tree)
    return tree[t]


def loop(f: Callable[[Any, Any], Any], x: Any, y0: Any, n_steps: int | None = None) -> Any:
    """Return the trajectory by a plain loop that shares no code with the library."""
    y = np.asarray(y0)
    n_steps = first_leaf(x).shape[0] if n_steps is None else n_steps
    states = []
    with np.errstate(all="ignore"):
        for t in range(n_steps):
            y = np.asarray(f(y, at(x, t)))
            states.append(y)
    return np.array(states) if states else np.empty((0, *y.shape), y.dtype)


def residual(f: Callable[[Any, Any], Any], x: Any, y0: Any, y: Any) -> Any:
    """Return ``|y[t] - f(y[t-1], x[t])|``, step by step."""
    before = [np.asarray(y0), *y[:-1]]
    with np.errstate(all="ignore"):
        return np.array([abs(y[t] - f(before[t], at(x, t))) for t in range(len(y))])


class Counted:
    """A function that counts its calls and the points at which it is evaluated."""

    def __init__(self, fun: Callable[..., Any]) -> None:
        self.fun = fun
        self.calls = 0
        self.points = 0
        self.largest = 0

    def __call__(self, y: Any, x: Any) -> Any:
        self.calls += 1
        points = int(np.prod(y.shape[:-1]))
        self.points += points
        self.largest = max(self.largest, points)
        return self.fun(y, x)


def assert_solves(solution, f, x, y0, n_steps=None, *, slack=1.0):
    """Assert that a solution is the loop's, and that it says so."""
    expected = loop(f, x, y0, n_steps)
    assert solution.success, solution.message
    assert solution.y.shape == expected.shape
    assert np.isfinite(solution.y).all()
    dtype = solution.y.dtype.name
    scale = slack * TOLERANCE[dtype]
    np.testing.assert_allclose(solution.y, expected, rtol=scale, atol=scale)
    assert (solution.converged_steps == expected.shape[0]).all()
    assert solution.converged_steps.shape == solution.residual.shape == np.shape(y0)[:-1]


def logistic(y, x):
    return 4 * y * (1 - y)


def solve(f, y0, n_steps, **options):
    y0 = np.asarray(y0)
    options = {
        "jac": "3-point",
        "jac_structure": "diagonal" if y0.shape[-1] == 1 else None,
        "on_failure": "return",
        **options,
    }
    return seqsolve.deer(f, options.pop("jac"), None, y0, n_steps=n_steps, **options)
