"""The ways to a gradient that are compared."""

from __future__ import annotations

from typing import Any

from seqsolve import _checks
from seqsolve import likelihood_ratio as lr

#: What each method is called on the slides, and what it is here.
METHODS = {
    "bp": "exact back-propagation",
    "lr-f": "all layers perturbed together, antithetic copies",
    "lr-l": "one layer at a time, antithetic copies",
    "lr-m": "one layer at a time, leave-one-out, copies allotted to layers, half precision",
}

#: Operations that a copy costs for each perturbed number, besides its matrix products.
_OVERHEAD = 32


def noise_of(
    method: str, model: Any, x: Any, *, sigma: float, copies: int, seed: int = 0
) -> lr.Noise | None:
    """Return the noise of a method.

    Parameters
    ----------
    method : {"bp", "lr-f", "lr-l", "lr-m"}
        The method, as `seqsolve.training.methods.METHODS` describes it.
    model : Model
        What is trained.
    x : array
        Input of a batch.
    sigma : float
        Scale of the noise, relative to the root mean square of what it is added to.
    copies : int
        Copies of every datum, an even number; for "lr-m" the mean, weighted by cost:
        :func:`~seqsolve.likelihood_ratio.allocate` distributes them over the layers.
    seed : int, optional
        Seed of the noise.

    Returns
    -------
    Noise or None
        None for "bp", which needs none.

    Raises
    ------
    ValueError
        If the method is unknown or `copies` is not even.

    Notes
    -----
    Antithetic pairs and layer-wise perturbation are those of Jiang et al., arXiv:2305.08960. The
    slides of Zhang, whose letters these are, do not define them.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve import models, training
    >>> model = models.MLP.random((64, 32, 10), rng=0)
    >>> training.noise_of("lr-m", model, np.zeros((8, 64)), sigma=0.03, copies=16).copies
    (14, 18)
    """
    _checks.one_of("method", method, METHODS)
    if method == "bp":
        return None
    if _checks.integer("copies", copies, 2) % 2:
        raise ValueError(f"`copies` must be even; got {copies}.")
    common = {"kind": "sign", "scale": "rms", "key": seed}
    if method == "lr-f":
        return lr.full(sigma, copies, baseline="antithetic", **common)
    if method == "lr-l":
        return lr.layerwise(sigma, copies, baseline="antithetic", **common)
    overhead = float(_OVERHEAD * model(x)[..., 0].size)
    layers = lr.sites(model, x)
    budget = copies * sum(layer.cost + overhead * layer.units for layer in layers)
    return lr.mixed(sigma, lr.allocate(layers, budget, overhead=overhead), **common)
