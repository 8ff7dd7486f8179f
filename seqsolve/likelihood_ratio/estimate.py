"""Gradients from forward passes alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from seqsolve import _checks
from seqsolve._placement import placed
from seqsolve.backend import Array
from seqsolve.likelihood_ratio._estimator import Estimator
from seqsolve.likelihood_ratio._perturbation import quiet_pass
from seqsolve.likelihood_ratio._record import Loss, record
from seqsolve.likelihood_ratio.noise import Noise

__all__ = ["Estimate", "value_and_grad"]


@dataclass(frozen=True, eq=False)
class Estimate:
    """A loss and its gradients.

    Parameters
    ----------
    value : float
        Mean loss of the data, without noise.
    grads : tuple of dict of str to array
        Gradients of the mean loss, for each layer and parameter.
    deltas : tuple of array or None
        Derivatives of the mean loss with respect to each layer's
        preactivations, ``(*data, *units)``; None where there are none.
    output : array, shape (*data, n_out)
        What the model returned, without noise.
    flops : int
        Operations in the matrix products of all forward passes.
    """

    value: float
    grads: tuple[dict[str, Array], ...]
    deltas: tuple[Array | None, ...]
    output: Array
    flops: int


@placed
def value_and_grad(
    model: Any,
    loss: Loss,
    noise: Noise,
    x: Any,
    target: Any,
    *,
    backend: Any = None,
    chunk: int | None = None,
) -> Estimate:
    """Return the mean loss of a model, and an estimate of its gradients from forward passes.

    No derivative is asked of the loss or of an activation: both may jump.

    Parameters
    ----------
    model : Model
        Layers one after the other, as in :class:`seqsolve.models.Stack`.
    loss : callable
        ``loss(output, target)``, the output with shape ``(copies, *data,
        n_out)``; returns one value for each datum, ``(copies, *data)``. The
        target is broadcast against the copies.
    noise : Noise
        What noise is added, where, and how often.
    x : array or tree of arrays
        Input, ``(*data, *features)``.
    target : array or tree of arrays
        What the loss needs besides.
    backend : str, optional
        Name of the backend. Default: the one of the arrays.
    chunk : int, optional
        How many copies are evaluated together. Default: as many as keep a
        layer's values within a few megabytes. It changes memory and speed,
        and roundings of the matrix products.

    Returns
    -------
    Estimate
        Its gradients are those of the mean loss, smoothed by the noise.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.
    FloatingPointError
        A loss is not finite.

    Notes
    -----
    With `copies` independent copies and `n` numbers perturbed together, the
    cosine between estimate and gradient is about
    ``sqrt(copies / (copies + n))``, for each datum.

    References
    ----------
    .. [1] Y. Peng et al., "A new likelihood ratio method for training
       artificial neural networks", INFORMS Journal on Computing 34, 2022.
    .. [2] J. Jiang et al., "One forward is enough for neural network training
       via likelihood ratio method", arXiv:2305.08960.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve import likelihood_ratio, models
    >>> rng = np.random.default_rng(0)
    >>> model = models.MLP.random((4, 8, 3), activation="threshold", rng=0)
    >>> x, labels = rng.standard_normal((32, 4)), rng.integers(0, 3, 32)
    >>> noise = likelihood_ratio.Noise(sigma=0.1, copies=64)
    >>> estimate = likelihood_ratio.value_and_grad(
    ...     model, likelihood_ratio.zero_one, noise, x, labels
    ... )
    >>> estimate.grads[0]["weight"].shape
    (8, 4)
    """
    if not isinstance(noise, Noise):
        raise TypeError(f"`noise` must be a Noise; got {type(noise).__name__}.")
    if chunk is not None:
        chunk = _checks.integer("chunk", chunk, 1)
    home = _checks.choose_backend(backend, x=x, params=getattr(model, "params", None))
    clean = record(model, loss, x, target, home, quiet_pass(noise, home))
    grads, deltas, flops = Estimator(clean, loss, noise, home, chunk).estimate()
    return Estimate(float(clean.losses.mean()), grads, deltas, clean.output[0], flops)
