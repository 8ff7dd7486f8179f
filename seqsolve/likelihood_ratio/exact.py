"""Exact gradients of the same layers, by back-propagation: what estimates are compared with."""

from __future__ import annotations

from typing import Any

from seqsolve import _checks
from seqsolve._placement import placed
from seqsolve._tree import leaves
from seqsolve.backend import Array
from seqsolve.likelihood_ratio._record import Loss, record
from seqsolve.likelihood_ratio.estimate import Estimate
from seqsolve.likelihood_ratio.layer import CLEAN

__all__ = ["backpropagate", "cosine"]


@placed
def backpropagate(model: Any, loss: Loss, x: Any, target: Any, *, backend: Any = None) -> Estimate:
    """Return the mean loss of a model and its exact gradients.

    Parameters
    ----------
    model : Model
        Layers one after the other, as in :class:`seqsolve.models.Stack`.
    loss : callable
        As for `value_and_grad`, and with a method ``gradient(output,
        target)``: the derivative of each datum's loss, of the output's shape.
    x, target : array or tree of arrays
        As for `value_and_grad`.
    backend : str, optional
        Name of the backend. Default: the one of the arrays.

    Returns
    -------
    Estimate
        Exact, up to rounding.

    Raises
    ------
    TypeError
        The loss or an activation has no derivative.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve import likelihood_ratio as lr, models
    >>> rng = np.random.default_rng(0)
    >>> model = models.MLP.random((4, 8, 3), rng=0)
    >>> x, labels = rng.standard_normal((32, 4)), rng.integers(0, 3, 32)
    >>> exact = lr.backpropagate(model, lr.cross_entropy, x, labels)
    >>> noise = lr.Noise(sigma=0.01, copies=256)
    >>> estimate = lr.value_and_grad(model, lr.cross_entropy, noise, x, labels)
    >>> lr.cosine(estimate.grads, exact.grads) > 0.95
    True
    """
    gradient = getattr(loss, "gradient", None)
    if gradient is None:
        raise TypeError(
            "`loss` must have a method `gradient(output, target)`; got "
            f"{getattr(loss, '__name__', type(loss).__name__)}, which has none. "
            "Use likelihood_ratio.value_and_grad for losses without derivative."
        )
    home = _checks.choose_backend(backend, x=x, params=getattr(model, "params", None))
    clean = record(model, loss, x, target, home, CLEAN)
    bar = gradient(clean.output, clean.target)[0] * (1 / clean.losses.size)
    deltas: list[Any] = []
    grads: list[dict[str, Array]] = []
    pairs = list(zip(clean.layers, clean.tapes, strict=True))
    for i, (layer, tape) in reversed(list(enumerate(pairs))):
        delta = layer.backward(tape, bar)
        deltas.append(delta)
        grads.append(layer.gradients(tape, delta) if layer.params else {})
        if any(earlier.params for earlier in clean.layers[:i]):
            bar = layer.pull(tape, delta)
        else:
            deltas += [None] * i
            grads += [{}] * i
            break
    return Estimate(
        float(clean.losses.mean()),
        tuple(grads[::-1]),
        clean.at_sites(deltas[::-1]),
        clean.output[0],
        clean.flops,
    )


def cosine(estimate: Any, exact: Any) -> float:
    """Return the cosine of the angle between two gradients.

    Parameters
    ----------
    estimate, exact : array or tree of arrays
        Of the same shapes: the gradients of a model, of a layer, or one array.

    Returns
    -------
    float
        Between -1 and 1; NaN if one of them is zero.

    Raises
    ------
    ValueError
        The shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.likelihood_ratio import cosine
    >>> round(cosine({"w": np.array([1.0, 1.0])}, {"w": np.array([1.0, 0.0])}), 4)
    0.7071
    """
    first = dict(leaves(estimate, "gradient"))
    second = dict(leaves(exact, "gradient"))
    shapes = [{path: tuple(a.shape) for path, a in tree.items()} for tree in (first, second)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"`estimate` must have the arrays of `exact`, {shapes[1]}; got {shapes[0]}."
        )
    inner = square = other = 0.0
    for path, a in first.items():
        b = second[path]
        inner += float((a * b).sum())
        square += float((a * a).sum())
        other += float((b * b).sum())
    norm = (square * other) ** 0.5
    return inner / norm if norm > 0 else float("nan")
