"""How many copies each layer deserves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seqsolve import _checks
from seqsolve._placement import placed
from seqsolve._tree import tree_map
from seqsolve.likelihood_ratio._record import on_backend, values
from seqsolve.likelihood_ratio.layer import CLEAN

__all__ = ["LayerCost", "allocate", "sites"]


class LayerCost(NamedTuple):
    """What the copies of a layer have to find out, and what each costs.

    Parameters
    ----------
    layer : int
        Number of the layer.
    units : int
        Numbers that are perturbed together, for each datum.
    cost : int
        Operations in matrix products behind the noise, for one copy of all data.
    """

    layer: int
    units: int
    cost: int


@placed
def sites(model: Any, x: Any, *, backend: Any = None) -> tuple[LayerCost, ...]:
    """Return the layers to which noise is added, with units and cost.

    Parameters
    ----------
    model : Model
        Layers one after the other.
    x : array or tree of arrays
        Input of the size of a batch.
    backend : str, optional
        Name of the backend. Default: the one of the arrays.

    Returns
    -------
    tuple of LayerCost
        From input to output.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve import likelihood_ratio, models
    >>> model = models.MLP.random((4, 8, 3), rng=0)
    >>> for site in likelihood_ratio.sites(model, np.zeros((32, 4))):
    ...     print(site)
    LayerCost(layer=0, units=8, cost=1536)
    LayerCost(layer=1, units=3, cost=0)
    """
    home = _checks.choose_backend(backend, x=x, params=getattr(model, "params", None))
    model = on_backend(model, home)
    flow: Any = tree_map(lambda a: home.asarray(a)[None], x)
    shapes = []
    for layer in model.layers:
        shapes.append(tuple(values(flow).shape[1:]))
        flow = layer.finish(layer.project(flow, CLEAN), CLEAN)
    found, cost = [], 0
    for i in reversed(range(len(shapes))):
        layer, shape = model.layers[i], shapes[i]
        project, finish = layer.flops(shape)
        site = layer.site(shape)
        if site is not None:
            found.append(LayerCost(i, site.n_units, cost + finish))
        cost += project + finish
    return tuple(found[::-1])


def allocate(
    layers: Sequence[LayerCost], budget: float, *, minimum: int = 2, overhead: float = 0.0
) -> tuple[int, ...]:
    """Return how many copies each layer should have, given what all may cost.

    The variance of a layer's estimate is about ``units / copies`` times its
    squared gradient. The sum of these ratios is smallest, for a given cost,
    where the copies are proportional to ``sqrt(units / cost)``.

    Parameters
    ----------
    layers : sequence of LayerCost
        As `sites` returns them.
    budget : float
        What the copies of all layers may cost together, in the unit of their costs.
    minimum : int
        Copies that a layer has at least.
    overhead : float
        What a copy costs besides its matrix products, for each of the layer's
        units, in the same unit: noise and activations.

    Returns
    -------
    tuple of int
        Even numbers, for `Noise`. They cost no more than the budget, unless
        the minimum does.

    Examples
    --------
    >>> from seqsolve.likelihood_ratio import LayerCost, allocate
    >>> allocate([LayerCost(0, 64, 4000), LayerCost(1, 16, 1000)], 100_000)
    (20, 20)
    """
    if not layers:
        raise ValueError("`layers` must hold a layer at least; got none.")
    budget = _checks.real("budget", budget, 0.0)
    minimum = _checks.integer("minimum", minimum, 1)
    minimum += minimum % 2
    units = np.array([layer.units for layer in layers], float)
    costs = np.array([layer.cost for layer in layers], float) + overhead * units
    costs = np.maximum(costs, costs.max() * 1e-2 if costs.max() > 0 else 1.0)
    copies = np.full(len(layers), float(minimum))
    free = np.ones(len(layers), bool)
    while free.any():
        left = budget - (copies * costs)[~free].sum()
        share = np.sqrt(units / costs)
        wanted = max(left, 0.0) * share / (share * costs)[free].sum()
        short = free & (wanted < minimum)
        if not short.any():
            copies[free] = wanted[free]
            break
        free &= ~short
    return tuple(int(c) - int(c) % 2 for c in copies)
