"""Gradient descent, on trees of arrays of any library.

Small on purpose: what optimizer libraries there are belong to an autodiff
framework each, and take that framework's arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from seqsolve import _checks
from seqsolve._tree import leaves, tree_map
from seqsolve.backend import Array

__all__ = ["SGD", "Adam", "AdamState"]


@dataclass(frozen=True)
class SGD:
    """Gradient descent with momentum.

    ``v = momentum v + g``, ``params = params - learning_rate v``.

    Parameters
    ----------
    learning_rate : float
        More than 0.
    momentum : float
        From 0 to less than 1.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.likelihood_ratio import SGD
    >>> optimizer = SGD(0.1, momentum=0.5)
    >>> params = {"w": np.array([1.0])}
    >>> state = optimizer.init(params)
    >>> for _ in range(20):
    ...     params, state = optimizer.step(params, {"w": 2 * params["w"]}, state)
    >>> bool(abs(params["w"][0]) < 1e-2)
    True
    """

    learning_rate: float
    momentum: float = 0.9

    def __post_init__(self) -> None:
        _positive("learning_rate", self.learning_rate)
        _checks.real("momentum", self.momentum, 0.0, 1.0)

    def init(self, params: Any) -> Any:
        """Return the state to begin with.

        Parameters
        ----------
        params : tree of arrays
            The parameters.

        Returns
        -------
        tree of arrays
            Zeros.
        """
        return tree_map(np.zeros_like, params)

    def step(self, params: Any, grads: Any, state: Any) -> tuple[Any, Any]:
        """Return new parameters and state; nothing given is changed.

        Parameters
        ----------
        params, grads : tree of arrays
            Parameters and their gradients, of one shape.
        state : tree of arrays
            What `init` or the last step returned.

        Returns
        -------
        params, state : tree of arrays
            New arrays.
        """
        _check_shapes(params, grads)
        velocity = tree_map(lambda v, g: v * self.momentum + g, state, grads)
        return tree_map(lambda p, v: p - v * self.learning_rate, params, velocity), velocity


class AdamState(NamedTuple):
    """What `Adam` keeps: mean and mean square of the gradients, and the number of steps.

    Parameters
    ----------
    mean, square : tree of arrays
        Of the parameters' shapes.
    steps : int
        How many there were.
    """

    mean: Any
    square: Any
    steps: int


@dataclass(frozen=True)
class Adam:
    """Adam: steps of the mean gradient over its root mean square.

    Parameters
    ----------
    learning_rate : float
        More than 0.
    beta1, beta2 : float
        How much of the mean gradient, and of the mean square, a step keeps.
    eps : float
        Added to the root mean square.

    References
    ----------
    .. [1] D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization",
       arXiv:1412.6980, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.likelihood_ratio import Adam
    >>> optimizer = Adam(0.1)
    >>> params = (np.array([1.0, -1.0]),)
    >>> params, state = optimizer.step(params, (np.array([3.0, -1e-3]),), optimizer.init(params))
    >>> params[0].round(3)
    array([ 0.9, -0.9])
    """

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _positive("learning_rate", self.learning_rate)
        _checks.real("beta1", self.beta1, 0.0, 1.0)
        _checks.real("beta2", self.beta2, 0.0, 1.0)
        _positive("eps", self.eps)

    def init(self, params: Any) -> AdamState:
        """Return the state to begin with.

        Parameters
        ----------
        params : tree of arrays
            The parameters.

        Returns
        -------
        AdamState
            Zeros.
        """
        zeros = tree_map(np.zeros_like, params)
        return AdamState(zeros, zeros, 0)

    def step(self, params: Any, grads: Any, state: AdamState) -> tuple[Any, AdamState]:
        """Return new parameters and state; nothing given is changed.

        Parameters
        ----------
        params, grads : tree of arrays
            Parameters and their gradients, of one shape.
        state : AdamState
            What `init` or the last step returned.

        Returns
        -------
        params : tree of arrays
            New arrays.
        state : AdamState
            For the next step.
        """
        _check_shapes(params, grads)
        b1, b2, steps = self.beta1, self.beta2, state.steps + 1
        mean = tree_map(lambda m, g: m * b1 + g * (1 - b1), state.mean, grads)
        square = tree_map(lambda s, g: s * b2 + g * g * (1 - b2), state.square, grads)
        rate, root = self.learning_rate / (1 - b1**steps), (1 - b2**steps) ** -0.5

        def moved(p: Array, m: Array, s: Array) -> Array:
            return p - m * rate / (s**0.5 * root + self.eps)

        return tree_map(moved, params, mean, square), AdamState(mean, square, steps)


def _positive(name: str, value: Any) -> None:
    if not _checks.real(name, value, 0.0) > 0:
        raise ValueError(f"`{name}` must be more than 0; got {value!r}.")


def _check_shapes(params: Any, grads: Any) -> None:
    wanted = {path: tuple(a.shape) for path, a in leaves(params, "")}
    given = {path: tuple(a.shape) for path, a in leaves(grads, "")}
    for path in [*wanted, *given]:
        if wanted.get(path) != given.get(path):
            raise ValueError(
                f"`grads{path}` must have shape {wanted.get(path)}, as its parameter; "
                f"got {given.get(path)}."
            )
