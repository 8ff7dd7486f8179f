"""Further arguments of the right-hand side: shared, one per trajectory, or functions of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seqsolve import _checks
from seqsolve.backend import Backend, get_backend
from seqsolve.ivp._returned import as_numpy

NDArray = npt.NDArray[Any]


@dataclass(frozen=True)
class Batched:
    """An argument that differs from trajectory to trajectory.

    Parameters
    ----------
    values : array_like, shape ``(..., *batch)``
        Its values; the last axes are those of the batch, which `y0` has, or
        one axis where `y0` has none. The functions of `solve_ivp` receive it
        with shape ``(..., k)``, a value for each of the ``k`` points that they
        are called with.

    Examples
    --------
    Three rates of decay:

    >>> import numpy as np, seqsolve
    >>> result = seqsolve.solve_ivp(
    ...     lambda t, y, rate: -rate * y, (0, 1), [2.0],
    ...     args=(seqsolve.ivp.Batched([1.0, 2.0, 3.0]),), t_eval=[1.0], rtol=1e-8,
    ... )
    >>> result.y.shape
    (1, 1, 3)
    >>> bool(np.allclose(result.y[0, 0], 2 * np.exp([-1.0, -2.0, -3.0])))
    True
    """

    values: Any


@dataclass(frozen=True)
class Signal:
    """An argument that is a function of time, given by samples.

    Parameters
    ----------
    t : array_like, shape (n_samples,)
        Times of the samples, increasing. Beyond them the first and the last
        sample hold.
    values : array_like or Batched, shape (..., n_samples) or ``(..., n_samples, *batch)``
        The samples. The functions of `solve_ivp` receive the signal at their
        times, with shape ``(..., k)``.
    kind : {"linear", "cubic"}
        What lies between samples: straight lines, or the cubics through both
        neighbours with the slopes of the parabolas through three samples, so
        that the derivative is continuous. Straight lines have corners, at which
        no method is accurate: they cost short steps.

    Examples
    --------
    >>> import numpy as np, seqsolve
    >>> t = np.linspace(0, 2, 201)
    >>> force = seqsolve.ivp.Signal(t, np.cos(t), kind="cubic")
    >>> result = seqsolve.solve_ivp(
    ...     lambda t, y, u: u + 0 * y, (0, 2), [0.0], args=(force,), rtol=1e-8, atol=1e-10
    ... )
    >>> bool(np.isclose(result.y[0, -1], np.sin(2), atol=1e-6))
    True
    """

    t: Any
    values: Any
    kind: str = "linear"


class Arguments:
    """The further arguments of a right-hand side, ready to be asked for at points.

    Parameters
    ----------
    given : tuple
        Numbers, arrays and anything else, `Batched` and `Signal`.
    batch : tuple of int
        The batch that the initial states have, () if none.
    backend : Backend
        Where the functions run. Times and trajectories are NumPy arrays all the same.

    Attributes
    ----------
    batch : tuple of int
        The batch of initial states and arguments.
    """

    def __init__(
        self,
        given: tuple[Any, ...],
        batch: tuple[int, ...] = (),
        backend: Backend | None = None,
    ) -> None:
        backend = get_backend("numpy") if backend is None else backend
        self.batch = _batch(given, batch)
        self.parts: list[Constant] = []
        for i, argument in enumerate(given):
            name = f"args[{i}]"
            if isinstance(argument, Signal):
                self.parts.append(_sampled(name, argument, self.batch, backend))
            elif isinstance(argument, Batched):
                values = _array(f"{name}.values", argument.values, backend)
                values = _flat(name, values, self.batch)
                self.parts.append(PerTrajectory(values, backend, self.batch))
            else:
                moved = isinstance(argument, np.ndarray)
                values = backend.asarray(argument) if moved else argument
                self.parts.append(Constant(values, backend))

    def __len__(self) -> int:
        return len(self.parts)

    def at(self, t: Any, lane: Any) -> tuple[Any, ...]:
        """Return what the functions receive at times ``(k,)`` of trajectories ``(k,)``."""
        return tuple(part.at(t, lane) for part in self.parts)


class Constant:
    """An argument that is passed on as it is."""

    varies = False
    """Whether it differs from point to point; then its last axis is that of the points."""

    def __init__(self, values: Any, backend: Backend) -> None:
        self.values, self._backend = values, backend

    @property
    def on_host(self) -> NDArray:
        """The values as a NumPy array."""
        return as_numpy(self.values, self._backend)

    def at(self, t: Any, lane: Any) -> Any:
        """Return the argument at some points."""
        return self.values

    def pull(self, gradient: Any, t: Any, lane: Any, total: NDArray) -> None:
        """Add the gradient with respect to what `at` returned to that of the values."""
        total += gradient

    def shaped(self, total: NDArray) -> Any:
        """Return a gradient in the shape in which the values were given."""
        return total if total.ndim else total[()]


class PerTrajectory(Constant):
    """An argument of every trajectory, of shape ``(..., n_trajectories)``."""

    varies = True

    def __init__(self, values: Any, backend: Backend, batch: tuple[int, ...]) -> None:
        super().__init__(values, backend)
        self._batch = batch

    def at(self, t: Any, lane: Any) -> Any:
        """Return the argument at some points."""
        return self.values[..., self._backend.asarray(lane)]

    def shaped(self, total: NDArray) -> Any:
        """Return a gradient in the shape in which the values were given."""
        return total.reshape(*total.shape[:-1], *self._batch)

    def pull(self, gradient: Any, t: Any, lane: Any, total: NDArray) -> None:
        """Add the gradient with respect to what `at` returned to that of the values."""
        np.add.at(np.moveaxis(total, -1, 0), lane, np.moveaxis(gradient, -1, 0))


class Sampled(Constant):
    """A signal, of shape ``(..., n_samples)`` or ``(..., n_samples, n_trajectories)``."""

    varies = True

    def __init__(
        self,
        values: Any,
        backend: Backend,
        times: NDArray,
        kind: str,
        batch: tuple[int, ...] | None,
    ) -> None:
        super().__init__(values, backend)
        self._times, self._kind, self._batch = times, kind, batch

    def at(self, t: Any, lane: Any) -> Any:
        """Return the argument at some points."""
        moved = self._backend.asarray
        t = as_numpy(t, self._backend)
        weighted = [
            moved(w) * self.values[tuple(k if k is ... else moved(k) for k in self._place(i, lane))]
            for i, w in self._stencil(t)
        ]
        return sum(weighted[1:], weighted[0])

    def pull(self, gradient: Any, t: Any, lane: Any, total: NDArray) -> None:
        """Add the gradient with respect to what `at` returned to that of the values."""
        first = np.moveaxis(total, -1, 0)
        if self._batch is not None:
            first = np.moveaxis(total, (-2, -1), (0, 1))
        for i, w in self._stencil(t):
            place = self._place(i, lane)[1:]
            np.add.at(
                first, place, np.moveaxis(np.broadcast_to(gradient * w, gradient.shape), -1, 0)
            )

    def shaped(self, total: NDArray) -> Any:
        """Return a gradient in the shape in which the values were given."""
        return total if self._batch is None else total.reshape(*total.shape[:-1], *self._batch)

    def _place(self, i: Any, lane: Any) -> tuple[Any, ...]:
        return (..., i) if self._batch is None else (..., i, lane)

    def _stencil(self, t: Any) -> list[tuple[Any, Any]]:
        """Return the samples on which the values at `t` depend, and their weights."""
        times = self._times
        last = len(times) - 1
        i = (times.searchsorted(t, side="right") - 1).clip(0, max(last - 1, 0))
        if last == 0:
            return [(i, 1.0 + 0 * t)]
        h = times[i + 1] - times[i]
        s = ((t - times[i]) / h).clip(0, 1)
        if self._kind == "linear":
            return [(i, 1 - s), (i + 1, s)]
        stencil = [(i, (1 - s) ** 2 * (1 + 2 * s)), (i + 1, s**2 * (3 - 2 * s))]
        for j, weight in ((i, h * s * (1 - s) ** 2), (i + 1, -h * s**2 * (1 - s))):
            stencil += _slope(times, j, (j - 1).clip(0, last), (j + 1).clip(0, last), weight)
        return stencil


def _slope(times: Any, j: Any, low: Any, high: Any, weight: Any) -> list[tuple[Any, Any]]:
    """Return the slope at sample `j` of the parabola through it and its neighbours.

    At the ends, where there is one neighbour, that of the straight line.
    """
    a, b = times[j] - times[low], times[high] - times[j]
    inner = (a > 0) & (b > 0)
    one = 1.0 * ~inner
    safe_a, safe_b = a + (a == 0), b + (b == 0)
    to_left = inner * b / (safe_a * (a + b)) + one * (a > 0) / safe_a
    to_right = inner * a / (safe_b * (a + b)) + one * (b > 0) / safe_b
    return [(low, -weight * to_left), (j, weight * (to_left - to_right)), (high, weight * to_right)]


def _batch(given: tuple[Any, ...], batch: tuple[int, ...]) -> tuple[int, ...]:
    """Return the batch of the initial states, or else that of an argument."""
    for argument in given:
        sampled = isinstance(argument, Signal)
        values = argument.values if sampled else argument
        if not batch and isinstance(values, Batched):
            shape = tuple(np.shape(values.values))
            batch = shape[-1:]
            if batch in ((), (0,)):
                raise ValueError(
                    "`Batched` must hold an array with the axes of the batch, not empty; "
                    f"got {values.values!r}."
                )
    return batch


def _array(name: str, values: Any, backend: Backend) -> Any:
    try:
        array = backend.asarray(values)
        kind = np.dtype(str(array.dtype)).kind
    except (TypeError, ValueError) as error:
        raise TypeError(f"`{name}` must be an array of numbers; got {values!r}.") from error
    if kind not in "iufc":
        raise TypeError(f"`{name}` must be an array of numbers; got {array.dtype} values.")
    return array if kind in "fc" else array.astype(float)


def _flat(name: str, values: Any, batch: tuple[int, ...]) -> Any:
    """Return values whose batch axes are one."""
    lead = values.ndim - len(batch)
    if lead < 0 or tuple(values.shape[lead:]) != batch:
        raise ValueError(
            f"`{name}` must have the batch's shape {batch} on its last axes; "
            f"got shape {tuple(values.shape)}."
        )
    return values.reshape(*values.shape[:lead], -1)


def _sampled(name: str, signal: Signal, batch: tuple[int, ...], backend: Backend) -> Sampled:
    kind = _checks.one_of(f"{name}.kind", signal.kind, ("linear", "cubic"))
    per_trajectory = isinstance(signal.values, Batched)
    values = signal.values.values if isinstance(signal.values, Batched) else signal.values
    samples = _array(f"{name}.values", values, backend)
    times = backend.to_numpy(_array(f"{name}.t", signal.t, backend))
    if times.ndim != 1 or not times.shape[0]:
        raise ValueError(
            f"`{name}.t` must be 1-dimensional and not empty; got shape {tuple(times.shape)}."
        )
    if not bool((times[1:] > times[:-1]).all()):
        raise ValueError(f"`{name}.t` must increase strictly.")
    if per_trajectory:
        samples = _flat(f"{name}.values", samples, batch)
    axis = samples.ndim - 1 - per_trajectory
    if axis < 0 or samples.shape[axis] != times.shape[0]:
        raise ValueError(
            f"`{name}.values` must have the {times.shape[0]} samples of `{name}.t` on its "
            f"{'last axis before the batch' if per_trajectory else 'last axis'}; "
            f"got shape {tuple(np.shape(values))}."
        )
    return Sampled(samples, backend, times, kind, batch if per_trajectory else None)
