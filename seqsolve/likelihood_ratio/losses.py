"""Losses, one value for each datum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from seqsolve.backend import Array

__all__ = [
    "DifferentiableLoss",
    "cross_entropy",
    "differentiable",
    "masked",
    "squared_error",
    "zero_one",
]


class DifferentiableLoss(Protocol):
    """A loss that exact gradients can be computed of."""

    def __call__(self, output: Array, target: Any, /) -> Array:
        """Return one value for each datum, ``output.shape[:-1]``."""
        ...

    def gradient(self, output: Array, target: Any, /) -> Array:
        """Return the derivative of each datum's loss, of the shape of `output`."""
        ...


def differentiable(
    gradient: Callable[[Array, Any], Array],
) -> Callable[[Callable[[Array, Any], Array]], Any]:
    """Return a decorator that gives a loss its derivative.

    Parameters
    ----------
    gradient : callable
        ``gradient(output, target)``: the derivative of each datum's loss, of
        the shape of `output`.

    Returns
    -------
    callable
        Decorator; the loss keeps the function as its attribute `gradient`.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.likelihood_ratio import differentiable
    >>> @differentiable(lambda output, target: np.sign(output - target))
    ... def absolute_error(output, target):
    ...     return abs(output - target).sum(axis=-1)
    >>> absolute_error.gradient(np.array([[3.0, -1.0]]), np.zeros(2))
    array([[ 1., -1.]])
    """

    def decorate(loss: Any) -> Any:
        loss.gradient = gradient
        return loss

    return decorate


def _cross_entropy_gradient(output: Array, target: Any) -> Array:
    p = np.exp(output - output.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True) - _is_label(output, target)


@differentiable(_cross_entropy_gradient)
def cross_entropy(output: Array, target: Any, /) -> Array:
    """Return the cross entropy of the softmax of logits, against labels.

    Parameters
    ----------
    output : array, shape (copies, *data, n_classes)
        Logits.
    target : array of int, shape data
        Labels.

    Returns
    -------
    array, shape (copies, *data)
        Minus the logarithm of the label's probability.

    Raises
    ------
    TypeError, ValueError
        A label is not one of the classes, or not each datum has one.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.likelihood_ratio import cross_entropy
    >>> cross_entropy(np.zeros((1, 1, 4)), np.array([2])).round(4)
    array([[1.3863]])
    """
    shifted = output - output.max(axis=-1, keepdims=True)
    chosen = (shifted * _is_label(output, target)).sum(axis=-1)
    return np.log(np.exp(shifted).sum(axis=-1)) - chosen


@differentiable(lambda output, target: output - _shaped(target, output.shape))
def squared_error(output: Array, target: Any, /) -> Array:
    """Return half the squared distance.

    Parameters
    ----------
    output : array, shape (copies, *data, n_out)
        What the model returned.
    target : array, shape (*data, n_out)
        What it should be.

    Returns
    -------
    array, shape (copies, *data)
        ``((output - target) ** 2).sum(axis=-1) / 2``.

    Raises
    ------
    ValueError
        The target does not have the shape of an output: one column, ``(n_data, 1)``, is not
        ``(n_data,)``.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.likelihood_ratio import squared_error
    >>> squared_error(np.array([[1.0, 2.0]]), np.zeros(2))
    array([2.5])
    """
    d = output - _shaped(target, output.shape)
    return (d * d).sum(axis=-1) * 0.5


def zero_one(output: Array, target: Any, /) -> Array:
    """Return 1 where the largest output is not at the label, else 0.

    It has no derivative, and needs none.

    Parameters
    ----------
    output : array, shape (copies, *data, n_classes)
        What the model returned.
    target : array of int, shape data
        Labels.

    Returns
    -------
    array, shape (copies, *data)
        Of the dtype of `output`.

    Raises
    ------
    ValueError
        Not each datum has one label.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.likelihood_ratio import zero_one
    >>> zero_one(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    array([0., 1.])
    """
    return (output.argmax(axis=-1) != _shaped(target, output.shape[:-1])).astype(output.dtype)


def masked(loss: Any) -> Any:
    """Return a loss whose data have weights.

    Parameters
    ----------
    loss : callable
        One value for each datum.

    Returns
    -------
    callable
        A loss whose target is ``(target, weights)``, the weights of shape
        `data`: 0 for data that do not count. The mean is still taken over all
        data, so ``n_data / n_counted`` for the others gives the mean of those.
        It has a gradient if `loss` has one.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.likelihood_ratio import masked, zero_one
    >>> target = (np.array([0, 1]), np.array([0.0, 2.0]))
    >>> masked(zero_one)(np.array([[0.1, 0.9], [0.8, 0.2]]), target)
    array([0., 2.])
    """

    def weighted(output: Array, target: Any, /) -> Array:
        inner, weights = target
        return loss(output, inner) * weights.astype(output.dtype)

    def gradient(output: Array, target: Any, /) -> Array:
        inner, weights = target
        return loss.gradient(output, inner) * weights.astype(output.dtype)[..., None]

    return differentiable(gradient)(weighted) if hasattr(loss, "gradient") else weighted


def _is_label(output: Array, target: Any) -> Array:
    """Return 1 at the labels, 0 elsewhere; of the dtype of `output`."""
    n_classes = output.shape[-1]
    _shaped(target, output.shape[:-1])
    if str(target.dtype)[:3] not in ("int", "uin"):
        raise TypeError(f"`target` must be integer labels; got an array of {target.dtype}.")
    if bool(((target < 0) | (target >= n_classes)).any()):
        raise ValueError(
            f"`target` must be labels from 0 to {n_classes - 1}; "
            f"got {int(target.min())} to {int(target.max())}."
        )
    classes = np.cumsum(np.ones_like(target, shape=(n_classes,)), axis=0) - 1
    return (target[..., None] == classes).astype(output.dtype)


def _shaped(target: Any, shape: tuple[int, ...]) -> Any:
    """Return `target` if it has that shape, with or without the axis of copies.

    Broadcasting would compare each datum with the targets of all.
    """
    if np.shape(target) not in (shape, shape[1:]):
        raise ValueError(
            f"`target` must have shape {shape}, or {shape[1:]} where the output's first axis "
            f"counts copies; got {np.shape(target)}."
        )
    return target
