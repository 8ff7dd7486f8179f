"""Which losses a perturbation can change, and what they weigh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqsolve.backend import Array
from seqsolve.likelihood_ratio._columns import sobol_shrinkage
from seqsolve.likelihood_ratio.layer import Layer, Site
from seqsolve.likelihood_ratio.noise import Noise


def reaches(layers: Sequence[Layer], shapes: Sequence[tuple[int, ...]]) -> list[Array | None]:
    """Return for each layer which losses its preactivations reach.

    Parameters
    ----------
    layers : sequence of Layer
        From input to output.
    shapes : sequence of tuple of int
        Shapes of their inputs, ``(*data, *features)``.

    Returns
    -------
    list of array or None
        ``(n_losses, n_positions)``, 0 or 1; None: each position its own loss.
    """
    found: list[Array | None] = []
    behind: Array | None = None
    for layer, shape in zip(reversed(layers), reversed(shapes), strict=True):
        before, after = layer.reach(shape)
        behind = _compose(behind, after)
        found.append(behind)
        behind = _compose(behind, before)
    return found[::-1]


def credit(losses: Array, reach: Array | None, n_axes: int) -> Array:
    """Return the sum of the losses that each position reaches.

    Parameters
    ----------
    losses : array, shape (copies, *data)
        One for each datum of the output.
    reach : array or None
        As `reaches` returns it.
    n_axes : int
        How many axes of data the positions have.

    Returns
    -------
    array, shape (copies, *positions)
        With `n_axes` axes besides the first.
    """
    if reach is None:
        return losses
    if losses.ndim == n_axes:
        losses = losses[:, None]
    rows = np.moveaxis(losses, 1, 0)
    summed = reach.T.astype(losses.dtype) @ rows.reshape(rows.shape[0], -1)
    return np.moveaxis(summed.reshape(reach.shape[1], *rows.shape[1:]), 0, 1)


def credit_of_data(losses: Array, reach: Array | None, site: Site) -> Array:
    """Return the sum of the losses that each datum reaches, from any of its steps.

    Parameters
    ----------
    losses : array, shape (copies, *data)
        One for each datum of the output.
    reach : array or None
        As `reaches` returns it.
    site : Site
        Where the noise enters.

    Returns
    -------
    array, shape (copies, *site.data)
        What noise in the parameters can change.
    """
    if site.steps is None:
        return credit(losses, reach, len(site.data))
    assert reach is not None
    return credit(losses, reach.max(axis=1)[:, None], len(site.data) + 1)[:, 0]


def weights(noise: Noise, losses: Array, clean: Array | None, sigma: float) -> Array:
    """Return what the noise of each draw weighs in the estimate of ``delta``.

    With these, ``delta = sum_k weights[k] eps[k]``. For leave-one-out that is
    ``(S1 - mean(L) S2) / (sigma (copies - 1))`` with ``S1 = sum L eps`` and
    ``S2 = sum eps``, without the cancellation.

    Parameters
    ----------
    noise : Noise
        Its baseline and kind count.
    losses : array, shape (copies, *data)
        The losses of the copies.
    clean : array, shape (1, *data), or None
        Those without noise, for the baseline of that name.
    sigma : float
        Scale of the noise.

    Returns
    -------
    array, shape (draws, *data)
        There are half as many draws as copies if they are antithetic.
    """
    copies = losses.shape[0]
    if noise.baseline == "antithetic":
        return (losses[: copies // 2] - losses[copies // 2 :]) * (1 / (sigma * copies))
    if noise.baseline == "clean":
        return (losses - clean) * (1 / (sigma * copies))
    if noise.baseline is None:
        return losses * (1 / (sigma * copies))
    centred = losses - losses.mean(axis=0)
    if noise.baseline == "mean":
        return centred * (1 / (sigma * copies))
    if noise.kind == "sobol":
        return centred * (1 / (sigma * copies * (1 - sobol_shrinkage(copies))))
    return centred * (1 / (sigma * (copies - 1)))


def _compose(second: Array | None, first: Array | None) -> Any:
    if second is None or first is None:
        return first if second is None else second
    return ((second @ first) > 0).astype(first.dtype)
