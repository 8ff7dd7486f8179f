"""Step-function protocols: what a recurrence ``y[t] = f(y[t-1], x[t])`` may bring.

A plain function is enough. An object that is called the same way may carry
more, and every solver uses what it finds: its Jacobian, its structure, work
shared between ``f`` and its Jacobian, its vector-Jacobian product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    NamedTuple,
    Protocol,
    Self,
    TypeAlias,
    runtime_checkable,
)

from seqsolve.backend import Array

if TYPE_CHECKING:
    from seqsolve.element import ElementStep

__all__ = [
    "ArrayStep",
    "Bindable",
    "BoundStep",
    "Differentiable",
    "ElementStepError",
    "HasElementForm",
    "Parametrised",
    "StepCotangents",
    "StepFunction",
    "Steppable",
    "Tree",
]

#: Arrays in tuples, lists and dicts; None where a recurrence is autonomous.
Tree: TypeAlias = Any


class StepFunction(Protocol):
    """One step of the recurrence, vectorised over every leading axis."""

    def __call__(self, y_prev: Array, x: Tree, /) -> Array:
        """Return the new state.

        Parameters
        ----------
        y_prev : array, shape (steps, n_state) or (steps, sequences, n_state)
            The states before.
        x : tree
            The input of these steps: leaves of shape ``(steps, ...)``, with 1 in
            place of the sequences where they share it; None: autonomous.

        Returns
        -------
        array
            Of the shape of `y_prev`; not `y_prev` itself, changed.
        """
        ...


class StepCotangents(NamedTuple):
    """What a step's vector-Jacobian product returns.

    Parameters
    ----------
    y_prev : array or None
        ``(df/dy_prev)^T lam``, of the shape of the state.
    x : tree or None
        ``(df/dx)^T lam``, of the shapes of `x`.
    params : mapping or None
        ``sum (df/dparams)^T lam`` over all leading axes.
    """

    y_prev: Array | None
    x: Tree
    params: Mapping[str, Array] | None


@runtime_checkable
class Differentiable(Protocol):
    """A step that supplies its own vector-Jacobian product."""

    def vjp(self, y_prev: Array, x: Tree, lam: Array, /) -> StepCotangents:
        """Return the cotangents of the step's inputs, given its output's.

        Parameters
        ----------
        y_prev, x
            What the step was called with.
        lam : array
            The cotangent of the new state, of its shape.

        Returns
        -------
        StepCotangents
            Of the state before, of the input and of the parameters.
        """
        ...


@runtime_checkable
class Parametrised(Protocol):
    """A step with parameters, which the solvers move to the backend they run on."""

    @property
    def params(self) -> Mapping[str, Array]:
        """The parameters by name."""
        ...

    def with_params(self, params: Mapping[str, Array], /) -> Self:
        """Return the same step with other parameters."""
        ...


class ElementStepError(TypeError):
    """An element step does what it must not; the message shows where."""


class BoundStep(Protocol):
    """A step with its input fixed, for the iterations of one window."""

    def __call__(self, y_prev: Array, /) -> Array:
        """Return the new states."""
        ...

    def linearize(self, y_prev: Array, /) -> tuple[Array, Callable[[], Array]]:
        """Return the new states, and a function that completes the Jacobian.

        The function is called at most once, before the next call of this
        object, and not at all if the states turn out to be converged. The
        Jacobian may live in a buffer that the next call overwrites.
        """
        ...


@runtime_checkable
class Steppable(Protocol):
    """A bound step that can also be taken for one step alone, where that is cheaper."""

    def step(self, t: int, y_prev: Array, /) -> Array:
        """Return the new states of step `t` of those whose input is fixed.

        `y_prev` has a leading axis of 1, as if the input were ``x[t : t + 1]``.
        """
        ...


@runtime_checkable
class Bindable(Protocol):
    """A step that can do the work that depends on its input alone beforehand."""

    def bind(self, x: Tree, /) -> BoundStep:
        """Return the step with its input fixed.

        Parameters
        ----------
        x : tree
            The input of a window, as the step takes it.
        """
        ...


@runtime_checkable
class HasElementForm(Protocol):
    """A step on arrays that can also be written for one position.

    The solvers use that form where the backend fuses it with the solver;
    everywhere else, gradients included, they use the step itself.
    """

    def element_form(self) -> ElementStep:
        """Return the same step as an element step, to the same precision."""
        ...


@dataclass(frozen=True)
class ArrayStep:
    """A plain step function, bundled with what is known of it.

    Parameters
    ----------
    f : callable
        ``f(y_prev, x) -> y``.
    jac : callable, optional
        ``jac(y_prev, x)``, the Jacobian with respect to `y_prev`.
    vjp : callable, optional
        ``vjp(y_prev, x, lam) -> StepCotangents``.
    jac_structure : str or Structure, optional
        ``"diagonal"``, ``"dense"`` or ``BlockDiagonal(block_size)``.

    Examples
    --------
    >>> import numpy as np, seqsolve
    >>> from seqsolve.step import ArrayStep, StepCotangents
    >>> leaky = ArrayStep(
    ...     lambda y, x: 0.5 * y + np.tanh(x),
    ...     jac=lambda y, x: np.full_like(y, 0.5),
    ...     vjp=lambda y, x, lam: StepCotangents(0.5 * lam, lam / np.cosh(x) ** 2, None),
    ... )
    >>> x = np.linspace(0, 1, 50)[:, None]
    >>> solution = seqsolve.deer(leaky, None, x, [0.0])
    >>> seqsolve.vjp(solution, np.ones_like(solution.y)).x.shape
    (50, 1)
    """

    f: Callable[[Array, Tree], Array]
    jac: Callable[[Array, Tree], Array] | None = None
    vjp: Callable[[Array, Tree, Array], StepCotangents] | None = None
    jac_structure: Any = None

    def __call__(self, y_prev: Array, x: Tree, /) -> Array:
        """Return the new state."""
        return self.f(y_prev, x)
