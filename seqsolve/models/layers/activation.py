"""Activations, with their derivatives where they have one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqsolve.backend import Array

__all__ = ["ACTIVATIONS", "Activation"]


@dataclass(frozen=True)
class Activation:
    """A function of single numbers.

    Parameters
    ----------
    name : str
        What it is called.
    function : callable
        Of an array.
    derivative : callable, optional
        ``derivative(z, h)``, given argument and value. None: there is none,
        and only likelihood-ratio gradients go through.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.models.layers import Activation
    >>> staircase = Activation("staircase", np.floor)
    >>> staircase(np.array([1.5, -0.5]))
    array([ 1., -1.])
    """

    name: str
    function: Callable[[Array], Array]
    derivative: Callable[[Array, Array], Array] | None = None

    def __call__(self, z: Array) -> Array:
        """Return the values."""
        return self.function(z)

    def pull(self, z: Array, h: Array, bar: Array) -> Array:
        """Return the cotangent of the argument, given that of the value."""
        if self.derivative is None:
            raise TypeError(
                f"`activation` {self.name!r} has no derivative: use "
                "likelihood_ratio.value_and_grad, or one that has."
            )
        return bar * self.derivative(z, h)


def find(activation: Any) -> Activation:
    """Return the activation of that name, or the one that is given."""
    if isinstance(activation, Activation):
        return activation
    if activation in ACTIVATIONS:
        return ACTIVATIONS[activation]
    raise ValueError(
        f"`activation` must be an Activation or one of {', '.join(map(repr, ACTIVATIONS))}; "
        f"got {activation!r}."
    )


def sigmoid(z: Array) -> Array:
    """Return the logistic function; nothing overflows."""
    return np.tanh(z * 0.5) * 0.5 + 0.5


#: The activations that have names.
ACTIVATIONS = {
    a.name: a
    for a in (
        Activation("identity", lambda z: z, lambda z, h: h * 0 + 1),
        Activation("relu", lambda z: np.maximum(z, 0), lambda z, h: (z > 0).astype(z.dtype)),
        Activation("tanh", np.tanh, lambda z, h: 1 - h * h),
        Activation("sigmoid", sigmoid, lambda z, h: h * (1 - h)),
        Activation("threshold", lambda z: (z > 0).astype(z.dtype)),
    )
}
