"""The clean pass through a model, with everything that estimates and exact gradients start from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from seqsolve import _checks
from seqsolve._tree import tree_map
from seqsolve.backend import Array, Backend
from seqsolve.likelihood_ratio.layer import Layer, Model, Padded, Pass, Site, Tape

#: A loss: ``loss(output, target)``, one value for each datum.
Loss = Callable[[Array, Any], Array]


class Record(NamedTuple):
    """A clean pass.

    Parameters
    ----------
    layers : tuple of Layer
        With parameters on the backend.
    inputs : list of array or Padded
        What each layer was given, with an axis of one copy.
    shapes : list of tuple of int
        Shapes of the inputs without that axis.
    sites : list of Site or None
        Where noise can enter.
    tapes : list of Tape
        What each layer kept.
    output : array, shape (1, *data, n_out)
        Of the last layer.
    losses : array, shape (1, *data)
        Of all data.
    target : tree of arrays
        On the backend.
    """

    layers: tuple[Layer, ...]
    inputs: list[Any]
    shapes: list[tuple[int, ...]]
    sites: list[Site | None]
    tapes: list[Tape]
    output: Array
    losses: Array
    target: Any

    def at_sites(self, deltas: list[Any]) -> tuple[Array | None, ...]:
        """Return what belongs to layers that noise can enter; None elsewhere."""
        pairs = zip(self.sites, deltas, strict=True)
        return tuple(None if site is None else delta for site, delta in pairs)

    @property
    def flops(self) -> int:
        """Operations in matrix products of one forward pass."""
        pairs = zip(self.layers, self.shapes, strict=True)
        return sum(sum(layer.flops(shape)) for layer, shape in pairs)


def record(model: Any, loss: Loss, x: Any, target: Any, backend: Backend, p: Pass) -> Record:
    """Run a model without noise and keep what is needed."""
    model = on_backend(model, backend)
    _checks.function("loss", loss)
    target = tree_map(backend.asarray, target)
    flow: Any = tree_map(lambda a: backend.asarray(a)[None], x)
    inputs, shapes, sites, tapes = [], [], [], []
    for layer in model.layers:
        shape = tuple(values(flow).shape[1:])
        inputs.append(flow)
        shapes.append(shape)
        sites.append(layer.site(shape))
        flow, tape = layer.record(flow, p)
        tapes.append(tape)
    output = values(flow)
    if str(output.dtype).startswith("complex"):
        raise TypeError(f"`model` must be real; got an output of {output.dtype}.")
    if output.size == 0:
        raise ValueError(
            f"`x` must hold a datum at least; the output has shape {tuple(output.shape[1:])}."
        )
    losses = evaluate(loss, output, target)
    return Record(model.layers, inputs, shapes, sites, tapes, output, losses, target)


def on_backend(model: Any, backend: Backend) -> Any:
    """Return a model with its parameters on the backend."""
    if not isinstance(model, Model):
        raise TypeError(
            "`model` must have `layers`, `params` and `with_params`, as seqsolve.models.Stack; "
            f"got {type(model).__name__}."
        )
    return model.with_params(tree_map(backend.asarray, model.params))


def evaluate(loss: Loss, output: Array, target: Any) -> Array:
    """Return the losses of all data of all copies, checked."""
    losses = loss(output, target)
    expected = tuple(output.shape[:-1])
    if getattr(losses, "shape", None) != expected:
        shape = getattr(losses, "shape", None)
        got = _checks.describe(losses) if shape is None else tuple(shape)
        raise ValueError(
            f"`loss` must return one value for each datum: shape {expected} for an output of "
            f"shape {tuple(output.shape)}; got {got}."
        )
    if not bool(np.isfinite(losses).all()):
        raise FloatingPointError(
            "`loss` returned values that are not finite. Make learning rate or sigma smaller."
        )
    return losses


def values(flow: Any) -> Array:
    """Return the array of what flows between layers."""
    return flow.values if isinstance(flow, Padded) else flow
