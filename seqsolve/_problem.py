"""A recurrence, checked: its step on its backend, its input, its initial state.

Inside the solvers every trajectory is ``(steps, sequences, n_state)``. The
user's functions see ``(steps, n_state)`` where `y0` had no batch axis, and
``(steps, sequences, n_state)`` with all batch axes flattened where it had.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from seqsolve import _checks, _probe, _registry
from seqsolve import jacobian as jacobians
from seqsolve._bound import BoundProblem
from seqsolve._protocol import offers
from seqsolve._tree import leaves, tree_map
from seqsolve.backend import Array, Backend, BindsElementSteps, FusedSteps
from seqsolve.element import ElementStep, check_input
from seqsolve.jacobian import Hutchinson, Structure
from seqsolve.step import Bindable, HasElementForm, Parametrised, Tree

Sequences = npt.NDArray[np.intp] | None
"""Indices of sequences; None for all of them."""


@dataclass
class Counts:
    """Evaluations so far."""

    nfev: int = 0
    njev: int = 0


class Problem:
    """The recurrence ``y[t] = f(y[t-1], x[t])``, ready to be solved.

    Parameters
    ----------
    f, jac, x, y0, backend, n_steps, jac_structure
        As the public solvers take them.
    """

    def __init__(
        self,
        f: Any,
        jac: Any,
        x: Tree,
        y0: Any,
        *,
        backend: Any = None,
        n_steps: int | None = None,
        jac_structure: Any = None,
    ) -> None:
        step = _checks.function("f", f)
        self.backend: Backend = _checks.choose_backend(backend, y0=y0, x=x)
        self.counts = Counts()
        self._take_initial_state(y0)
        self._take_input(x, n_steps)
        if offers(step, Parametrised):
            step = _moved(step, self.backend)
        self.step: Any = step
        self.binds = offers(step, Bindable)
        self._check_element_step()
        if jac_structure is None:
            jac_structure = getattr(step, "jac_structure", None)
        self.target = jacobians.parse_structure(jac_structure, self.n_state)
        self.jac = _jacobian_source(jac, step)
        self.tried = slice(0, 1), self.y0[None]
        """A step and a state in which user functions were tried, or can be."""
        _probe.try_step(self)
        if self.jac == "cs" and np.dtype(self.dtype).kind == "c":
            raise ValueError(
                "`jac` must not be 'cs' for a complex state: a complex step needs a real one; "
                f"got a state of {self.dtype}."
            )

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle holds: a registered backend by its name."""
        state = self.__dict__.copy()
        state.pop("element", None)
        if _registry.is_loaded(self.backend):
            state["backend"] = self.backend.name
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.backend = _checks.choose_backend(self.backend)

    def _take_initial_state(self, y0: Any) -> None:
        state = _checks.numeric("y0", y0, self.backend)
        if state.ndim == 0:
            raise ValueError(
                f"`y0` must have shape (n_state,) or (*batch, n_state); got a scalar ({y0!r})."
            )
        if state.shape[-1] == 0:
            raise ValueError(
                f"`y0` must have at least one state on its last axis; got shape {state.shape}."
            )
        if not bool(self.backend.xp.isfinite(state).all()):
            raise ValueError("`y0` must be finite; got NaN or infinity.")
        self.batch: tuple[int, ...] = state.shape[:-1]
        self.n_state: int = state.shape[-1]
        self.n_sequences = prod(self.batch)
        self.y0: Array = state.reshape(self.n_sequences, self.n_state)
        self.dtype = _checks.dtype_name(state.dtype)
        name = self.dtype
        allowed = self.backend.capabilities.dtypes
        if name not in allowed:
            raise TypeError(
                f"`y0` must have a dtype that backend {self.backend.name!r} supports "
                f"({', '.join(allowed)}); got {name}."
            )

    def _take_input(self, x: Tree, n_steps: int | None) -> None:
        if n_steps is not None:
            n_steps = _checks.integer("n_steps", n_steps, 0)
        named = {path: _checks.array(path, leaf) for path, leaf in leaves(x, "x")}
        values = iter(named.values())
        self.x = tree_map(lambda _: next(values), x)
        for path, leaf in named.items():
            if not leaf.shape:
                raise ValueError(
                    f"`{path}` must have a leading axis of n_steps; got a scalar ({leaf!r})."
                )
            if n_steps is None:
                n_steps = int(leaf.shape[0])
            if leaf.shape[0] != n_steps:
                raise ValueError(
                    f"`{path}` must have n_steps = {n_steps} elements on its first axis; "
                    f"got shape {tuple(leaf.shape)}."
                )
        if n_steps is None:
            raise ValueError("`n_steps` must be given where `x` is None or holds no array.")
        self.n_steps: int = n_steps

    def widen(self, dtype: str) -> None:
        """Compute in a dtype that holds what was computed in before."""
        self.dtype = dtype
        self.y0 = self.backend.asarray(self.y0, dtype=dtype)
        self.tried = slice(0, 1), self.y0[None]

    def _check_element_step(self) -> None:
        if not isinstance(self.step, ElementStep):
            return
        if self.step.n_state != self.n_state:
            raise ValueError(
                f"`y0` must have the {self.step.n_state} states of the element step on its last "
                f"axis; got {self.n_state}."
            )
        check_input(self.x, 1 + len(self.batch))

    @cached_property
    def element(self) -> ElementStep | None:
        """The step as the backend runs it compiled, or None.

        A step of another kind is replaced by its element form where the
        backend compiles that for everything, fused iterations included.
        """
        step, backend = self.step, self.backend
        if isinstance(step, ElementStep):
            return step if offers(backend, FusedSteps) else None
        if not (
            offers(backend, BindsElementSteps)
            and offers(backend, FusedSteps)
            and offers(step, HasElementForm)
            and (self.x is None or hasattr(self.x, "shape"))
        ):
            return None
        form = step.element_form()
        return form if backend.fuses(form, self.dtype) else None

    @property
    def fused(self) -> FusedSteps | None:
        """What the backend offers to run this step compiled, or None."""
        return None if self.element is None else self.backend  # type: ignore[return-value]

    def element_input(self, x: Tree) -> Array | None:
        """Return the input of an element step with its batch axis, whether `y0` has one or not."""
        return x if x is None or self.batch else x[:, None]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the trajectory, as the user sees it."""
        return (self.n_steps, *self.batch, self.n_state)

    def input(self, rows: slice, sequences: Sequences = None) -> Tree:
        """Return the input of some steps and sequences, on the backend."""
        return tree_map(lambda leaf: self._input_leaf(leaf, rows, sequences), self.x)

    def _input_leaf(self, leaf: Any, rows: slice, sequences: Sequences) -> Array:
        part, n = leaf[rows], len(self.batch)
        lead, rest = part.shape[1 : n + 1], part.shape[n + 1 :]
        follows_batch = len(lead) == n and all(
            a in (1, b) for a, b in zip(lead, self.batch, strict=True)
        )
        if n and follows_batch:
            if any(a != 1 for a in lead) and lead != self.batch:
                part = self.backend.asarray(part)
                part = self.backend.xp.broadcast_to(part, (part.shape[0], *self.batch, *rest))
                lead = self.batch
            part = part.reshape(part.shape[0], prod(lead), *rest)
            if sequences is not None and part.shape[1] == self.n_sequences != 1:
                part = self.take(part, sequences)
        return self.backend.asarray(part)

    def input_cotangent(self, leaf: Any, bar: Array) -> Array:
        """Return the cotangent of some rows of an input leaf, in the leaf's shape.

        The reverse of `input`: sums over the batch axes along which the leaf
        was broadcast.
        """
        lead, rest = tuple(leaf.shape[1:]), tuple(bar.shape[2:])
        if tuple(bar.shape[1:]) == lead:
            return bar
        if bar.shape[1] == 1:
            return bar.reshape(bar.shape[0], *lead)
        bar = bar.reshape(bar.shape[0], *self.batch, *rest)
        broadcast = tuple(1 + i for i, size in enumerate(self.batch) if lead[i] == 1 and size != 1)
        return bar.sum(axis=broadcast, keepdims=True) if broadcast else bar

    def take(self, a: Array, sequences: Sequences) -> Array:
        """Return the columns of some sequences."""
        if sequences is None:
            return a
        index = sequences if isinstance(a, np.ndarray) else self.backend.asarray(sequences)
        return a[:, index]

    def bind(self, rows: slice, sequences: Sequences = None) -> BoundProblem:
        """Return the step with the input of some steps and sequences fixed."""
        return BoundProblem(self, self.input(rows, sequences))

    def blocks(self, window: int) -> Iterator[slice]:
        """Yield the windows in the order of time."""
        for t in range(0, self.n_steps, window):
            yield slice(t, min(t + window, self.n_steps))

    def window(self, n_jacobian: int) -> int:
        """Return how many steps the backend wants to solve together."""
        if self.element is not None and self.fused is not None:
            if self.element.jac_function is None:
                return 1
            return self.fused.element_window(
                self.element,
                n_steps=self.n_steps,
                n_batch=self.n_sequences,
                n_jacobian=n_jacobian,
                dtype=self.dtype,
            )
        return max(
            1,
            self.backend.default_window(
                n_steps=self.n_steps,
                n_batch=self.n_sequences,
                n_state=self.n_state,
                n_jacobian=n_jacobian,
                dtype=self.dtype,
            ),
        )

    def parallel_window(self, structure: Structure) -> int:
        """Return how many steps to take together where stepping through time is no choice.

        The backend's window, or a few megabytes of Jacobians where it would
        rather step.
        """
        n_jacobian = self.n_jacobian(structure)
        bytes_per_step: int = self.n_sequences * n_jacobian * np.dtype(self.dtype).itemsize
        return max(self.window(n_jacobian), 2**22 // max(1, bytes_per_step), 1)

    @cached_property
    def natural(self) -> Structure:
        """The structure of the exact Jacobian, as its source gives it."""
        if self.jac == "step" and isinstance(self.step, ElementStep):
            return jacobians.structure_of(self.step.jac_shape, (self.n_state,))
        target = self.target
        if isinstance(self.jac, str) and self.jac != "step":
            if target is not None and target.kind == "block_diagonal" and not target.block_size:
                raise ValueError(
                    "`jac_structure` must give the block size where the Jacobian is computed "
                    f"by {self.jac!r}: pass BlockDiagonal(block_size); got 'block_diagonal'."
                )
            if not _probe.differentiable(self):
                raise ValueError(_NO_DERIVATIVE["cs" if self.jac == "cs" else "complex"])
            if target is None or _probe.couples_beyond(self, target):
                return Structure("dense")
            return target
        if isinstance(self.jac, Hutchinson) or self.n_steps == 0:
            return Structure("dense")
        A = _probe.first_jacobian(self)
        self.counts.njev += 1
        lead = (1, self.n_sequences) if self.batch else (1,)
        return jacobians.structure_of(A.shape, (*lead, self.n_state))

    @cached_property
    def structure(self) -> Structure:
        """The structure that the solvers iterate with."""
        if isinstance(self.jac, Hutchinson):
            if self.target is not None and self.target.kind != "diagonal":
                raise ValueError(
                    "`jac_structure` must be 'diagonal' (or None) with Hutchinson's estimate; "
                    f"got {self.target}."
                )
            return Structure("diagonal")
        return jacobians.meet(self.natural, self.target)

    def n_jacobian(self, structure: Structure) -> int:
        """Return how many entries a Jacobian of that structure stores."""
        return self.n_state * structure.width(self.n_state)

    def lanes(self, a: Array, structure: Structure) -> Array:
        """View states ``(steps, sequences, n)`` as the linear solvers take them."""
        if structure.kind != "block_diagonal":
            return a
        return a.reshape(a.shape[0], -1, structure.width(self.n_state))

    def cast(self, fy: Array) -> Array:
        """Return states that the step gave in the dtype that is computed in."""
        if fy.dtype == self.dtype:
            return fy
        if np.dtype(self.dtype).kind == "f" and np.dtype(str(fy.dtype)).kind == "c":
            raise TypeError(f"`f` must stay real, as at the first step; got {fy.dtype}.")
        return self.backend.asarray(fy, dtype=self.dtype)


_NO_DERIVATIVE = {
    "cs": (
        "`jac` must not be 'cs' where `f` is not analytic: its complex steps and its differences "
        "disagree, as those of `abs` and `.real` do. Use '2-point' or '3-point', or give the "
        "Jacobian."
    ),
    "complex": (
        "`f` must be complex-differentiable where the state is complex and its Jacobian is "
        "computed: along the real and the imaginary axis it changes differently, as `abs`, "
        "`conj` and `.real` do. Make the real and the imaginary part two real states."
    ),
}


def _moved(step: Parametrised, backend: Backend) -> Parametrised:
    """Return the step with its parameters on a backend: itself if they are there."""
    params = step.params
    moved = {name: backend.asarray(p) for name, p in params.items()}
    return step if all(moved[name] is p for name, p in params.items()) else step.with_params(moved)


def _jacobian_source(jac: Any, step: Any) -> Any:
    """Return "step", a scheme of differences, Hutchinson's estimate or the user's function."""
    if jac is None:
        own = offers(step, Bindable) or callable(getattr(step, "jac", None))
        return "step" if own else "2-point"
    if isinstance(jac, str):
        return _checks.one_of("jac", jac, jacobians.DIFFERENCES)
    if isinstance(jac, Hutchinson):
        return jac
    return _checks.function("jac", jac)
