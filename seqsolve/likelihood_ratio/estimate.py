"""Gradients from forward passes alone."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from seqsolve import _checks
from seqsolve.backend import Array, Backend
from seqsolve.likelihood_ratio import _credit
from seqsolve.likelihood_ratio._perturbation import (
    NoisyPass,
    Place,
    add,
    place_number,
    quiet_pass,
    ranges,
    weigh,
)
from seqsolve.likelihood_ratio._record import Loss, Record, evaluate, record, values
from seqsolve.likelihood_ratio.layer import Site
from seqsolve.likelihood_ratio.noise import Noise

__all__ = ["Estimate", "error", "perturb", "value_and_grad"]

#: Numbers of one array of a layer, for all copies that are evaluated together.
_VALUES_AT_ONCE = 2**22


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
    return _Estimator(clean, loss, noise, home, chunk).estimate()


class _Estimator:
    """The passes with noise, after the one without."""

    def __init__(
        self, clean: Record, loss: Loss, noise: Noise, backend: Backend, chunk: int | None
    ) -> None:
        self.clean, self.loss, self.noise, self.backend = clean, loss, noise, backend
        self.perturbed = [i for i, site in enumerate(clean.sites) if site is not None]
        self._check()
        self.reaches = [
            backend.asarray(reach) if isinstance(reach, np.ndarray) else reach
            for reach in _credit.reaches(clean.layers, clean.shapes)
        ]
        self.copies = _for_each(noise.copies, self.perturbed, "copies")
        sigmas = _for_each(noise.sigma, self.perturbed, "sigma")
        self.sigmas = {i: self._scales(i, sigma) for i, sigma in sigmas.items()}
        self.places = self._places()
        self.chunk = chunk or self._chunk()
        self.flops = clean.flops

    def estimate(self) -> Estimate:
        clean, at_output = self.clean, self.noise.at == "output"
        found: dict[int, Any] = {}
        if self.noise.order == "all":
            losses = self._losses(self.perturbed)
            for i in self.perturbed:
                found[i] = self._gradient(i, losses)
        else:
            for i in self.perturbed:
                found[i] = self._gradient(i, self._losses([i]))
        scale = 1 / clean.losses.size
        deltas: list[Any] = [None] * len(clean.layers)
        grads: list[dict[str, Array]] = [{} for _ in clean.layers]
        for i in reversed(range(len(clean.layers))):
            layer, tape = clean.layers[i], clean.tapes[i]
            if i in found and not at_output:
                grads[i] = {name: g * scale for name, g in found[i].items()}
            elif i in found:
                deltas[i] = found[i] * scale
            elif self._needs_delta(i):
                deltas[i] = layer.backward(
                    tape, clean.layers[i + 1].pull(clean.tapes[i + 1], deltas[i + 1])
                )
            if deltas[i] is not None and layer.params:
                grads[i] = layer.gradients(tape, deltas[i])
        return Estimate(
            float(clean.losses.mean()),
            tuple(grads),
            clean.at_sites(deltas),
            clean.output[0],
            self.flops,
        )

    def _check(self) -> None:
        last = max(self.perturbed, default=-1)
        for i, layer in enumerate(self.clean.layers):
            if layer.params and i not in self.perturbed:
                if i > last:
                    raise ValueError(
                        f"`model` must have a layer with noise behind layer {i}, whose gradient "
                        f"comes from there; got {type(layer).__name__} at the end."
                    )
                if self.noise.at == "weight":
                    raise ValueError(
                        f"`noise` must be at the output where a layer has none of its own, as "
                        f"layer {i}, {type(layer).__name__}; got at='weight'."
                    )
        if not self.perturbed:
            raise ValueError("`model` must have a layer with noise; got none.")

    def _needs_delta(self, i: int) -> bool:
        """Tell whether layer `i`, or one without noise right before it, has parameters."""
        if self.noise.at == "weight":
            return False
        while i >= 0 and i not in self.perturbed:
            if self.clean.layers[i].params:
                return True
            i -= 1
        return False

    def _scales(self, i: int, sigma: float) -> dict[str, float]:
        at_output, layer = self.noise.at == "output", self.clean.layers[i]
        if self.noise.scale == "rms":
            perturbed = [self.clean.tapes[i].z] if at_output else layer.params.values()
            sigma *= _rms(i, perturbed)
        return dict.fromkeys([""] if at_output else layer.params, sigma)

    def _places(self) -> dict[int, dict[str, Place]]:
        places: dict[int, dict[str, Place]] = {}
        column = 0
        for i in self.perturbed:
            site = self.clean.sites[i]
            assert site is not None
            if self.noise.order == "layer":
                column = 0
            if self.noise.at == "output":
                sizes = {"": prod(site.units)}
            else:
                sizes = {name: a.size for name, a in self.clean.layers[i].params.items()}
            coupled = self.reaches[i] is not None and site.steps is None
            positions = site.data[0] if coupled else 1
            places[i] = {}
            for slot, (name, n_units) in enumerate(sizes.items()):
                number = slot if self.noise.at == "output" else slot + 1
                place = Place(place_number(i, number), prod(site.data), n_units, column, positions)
                places[i][name] = place
                column += place.n_columns * (site.steps or 1 if name == "" else 1)
        return places

    def _chunk(self) -> int:
        """Return how many copies to evaluate together."""
        largest = 1
        for i, site in enumerate(self.clean.sites):
            if site is not None:
                largest = max(largest, prod(site.shape))
                if self.noise.at == "weight":
                    sizes = (a.size for a in self.clean.layers[i].params.values())
                    largest = max(largest, prod(site.data) * max(sizes, default=1))
        return max(1, _VALUES_AT_ONCE // largest)

    def _losses(self, noisy: list[int]) -> Array:
        """Return the losses of all copies, with noise in the layers named."""
        copies = self.copies[noisy[0]]
        mirrored = self.noise.baseline == "antithetic"
        parts = [
            self._chunk_losses(noisy, part, sign)
            for sign in ((1.0, -1.0) if mirrored else (1.0,))
            for part in ranges(copies // 2 if mirrored else copies, self.chunk)
        ]
        self.flops += copies * self._flops_behind(noisy[0])
        return self.backend.xp.concatenate(parts)

    def _chunk_losses(self, noisy: list[int], part: range, sign: float) -> Array:
        clean, first = self.clean, noisy[0]
        quiet = quiet_pass(self.noise, self.backend)
        flow: Any = None
        for i in range(first, len(clean.layers)):
            layer, p = clean.layers[i], quiet
            if i in noisy:
                sigmas = {name: sign * s for name, s in self.sigmas[i].items()}
                p = NoisyPass(self.backend, self.noise, self.places[i], sigmas, part)
            if i > first:
                u = layer.project(flow, p)
            elif self.noise.at == "output":
                u = clean.tapes[i].u
            else:
                u = layer.project(clean.inputs[i], p)
            flow = layer.finish(u, p)
        losses = evaluate(self.loss, values(flow), clean.target)
        if losses.shape[0] == 1 < len(part):  # no layer had noise that reached the output
            losses = losses.repeat(len(part), axis=0)
        return losses

    def _flops_behind(self, first: int) -> int:
        """Return the operations of one copy, from layer `first` on."""
        pairs = list(zip(self.clean.layers, self.clean.shapes, strict=True))[first:]
        costs = [layer.flops(shape) for layer, shape in pairs]
        own = costs[0][1] + (costs[0][0] if self.noise.at == "weight" else 0)
        return own + sum(a + b for a, b in costs[1:])

    def _gradient(self, i: int, losses: Array) -> Any:
        """Return layer `i`'s delta or, for noise at the weights, its gradients; sums over data."""
        site, clean = self.clean.sites[i], self.clean
        assert site is not None
        reach = self.reaches[i]
        if self.noise.at == "output":
            n_axes = len(site.data) + (site.steps is not None)
            credited = [_credit.credit(a, reach, n_axes) for a in (losses, clean.losses)]
            return self._delta(i, site, *credited)
        credited = [_credit.credit_of_data(a, reach, site) for a in (losses, clean.losses)]
        grads = {}
        for name, place in self.places[i].items():
            sigma = self.sigmas[i][name]
            w = _credit.weights(self.noise, credited[0], credited[1], sigma)
            total = self._weigh(place, 0, w.reshape(w.shape[0], -1)).sum(axis=0)
            grads[name] = total.reshape(clean.layers[i].params[name].shape)
        return grads

    def _delta(self, i: int, site: Site, losses: Array, clean: Array) -> Array:
        w = _credit.weights(self.noise, losses, clean, self.sigmas[i][""])
        mask = self.clean.tapes[i].mask
        if mask is not None:
            w = w * mask.astype(w.dtype)
        w = w.reshape(w.shape[0], site.steps or 1, -1)
        place = self.places[i][""]
        deltas = [self._weigh(place, t, w[:, t]) for t in range(w.shape[1])]
        return self.backend.xp.stack(deltas).reshape(site.shape)

    def _weigh(self, place: Place, step: int, w: Array) -> Array:
        out = self.backend.xp.zeros((place.n_data, place.n_units), dtype=self.clean.output.dtype)
        w = w.astype(out.dtype)
        for part in ranges(w.shape[0], self.chunk):
            weigh(self.backend, self.noise, place, step, part, w[part.start : part.stop], out)
        return out


def perturb(z: Any, noise: Noise, *, layer: int = 0, step: int = 0, backend: Any = None) -> Array:
    """Return copies of preactivations with noise.

    For computations that are not a `Model`: perturb, go on to one loss for
    each copy and datum, and ask `error` for the derivative. The noise is
    generated again there, so nothing of it is kept.

    Parameters
    ----------
    z : array, shape (n_data, *units)
        Preactivations, the same for all copies.
    noise : Noise
        With noise at the output.
    layer, step : int
        What distinguishes this noise from that at other places.
    backend : str, optional
        Name of the backend. Default: the one of `z`.

    Returns
    -------
    array, shape (copies, n_data, *units)
        With antithetic noise, the second half has the opposite of the first.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.likelihood_ratio import Noise, error, perturb
    >>> z = np.array([[0.5, -1.0]])
    >>> noise = Noise(sigma=0.01, copies=4096)
    >>> losses = (perturb(z, noise) ** 2).sum(axis=-1)
    >>> delta = error(losses, z, noise)
    >>> bool(abs(delta - 2 * z).max() < 0.2)
    True
    """
    home, array, place, copies, sigma = _alone(z, noise, layer, step, backend)
    flat = array.reshape(1, place.n_data, place.n_units)
    if noise.baseline == "antithetic":
        parts = [
            add(home, noise, place, step, range(copies // 2), flat, s) for s in (sigma, -sigma)
        ]
        noisy = home.xp.concatenate(parts)
    else:
        noisy = add(home, noise, place, step, range(copies), flat, sigma)
    return noisy.reshape(copies, *array.shape)


def error(
    losses: Any,
    z: Any,
    noise: Noise,
    *,
    clean: Any = None,
    layer: int = 0,
    step: int = 0,
    backend: Any = None,
) -> Array:
    """Return the estimate of ``delta``, the derivative of each datum's loss.

    Parameters
    ----------
    losses : array, shape (copies, n_data)
        What became of the copies that `perturb` returned.
    z : array, shape (n_data, *units)
        What `perturb` was given.
    noise : Noise
        The same as there.
    clean : array, shape (n_data,), optional
        Losses without noise; the baseline ``"clean"`` needs them.
    layer, step : int
        The same as there.
    backend : str, optional
        Name of the backend. Default: the one of `z`.

    Returns
    -------
    array, shape (n_data, *units)
        The noise, weighed by the losses less their baseline.

    Raises
    ------
    ValueError
        Shapes do not fit, or the clean losses lack.

    Examples
    --------
    See :func:`perturb`.
    """
    home, array, place, copies, sigma = _alone(z, noise, layer, step, backend)
    given = home.asarray(losses)
    if given.shape != (copies, place.n_data):
        raise ValueError(
            f"`losses` must have one value for each copy and datum, shape "
            f"({copies}, {place.n_data}); got {tuple(given.shape)}."
        )
    if noise.baseline == "clean":
        if clean is None:
            raise ValueError("`clean` must be given with `baseline` 'clean'; got None.")
        clean = home.asarray(clean)
        if clean.shape != (place.n_data,):
            raise ValueError(f"`clean` must have shape ({place.n_data},); got {clean.shape}.")
        clean = clean[None]
    w = _credit.weights(noise, given.astype(array.dtype), clean, sigma)
    out = home.xp.zeros((place.n_data, place.n_units), dtype=array.dtype)
    weigh(home, noise, place, step, range(w.shape[0]), w.astype(array.dtype), out)
    return out.reshape(array.shape)


def _alone(
    z: Any, noise: Noise, layer: int, step: int, backend: Any
) -> tuple[Backend, Array, Place, int, float]:
    """Return backend, preactivations, place, copies and scale of one place."""
    if not isinstance(noise, Noise):
        raise TypeError(f"`noise` must be a Noise; got {type(noise).__name__}.")
    layer, step = _checks.integer("layer", layer, 0), _checks.integer("step", step, 0)
    home = _checks.choose_backend(backend, z=z)
    array = _checks.numeric("z", z, home)
    if array.ndim < 2:
        raise ValueError(f"`z` must have shape (n_data, *units); got {tuple(array.shape)}.")
    if str(array.dtype).startswith("complex"):
        raise TypeError(f"`z` must be real; got {array.dtype}.")
    n_data, n_units = array.shape[0], prod(array.shape[1:])
    copies = _for_each(noise.copies, range(layer + 1), "copies", longer=True)[layer]
    sigma = _for_each(noise.sigma, range(layer + 1), "sigma", longer=True)[layer]
    if noise.scale == "rms":
        sigma *= _rms(layer, [array])
    return home, array, Place(place_number(layer), n_data, n_units, 0, 1), copies, sigma


def _for_each(value: Any, layers: Any, name: str, *, longer: bool = False) -> dict[int, Any]:
    """Return a value for each layer: the same for all, or one each."""
    if not isinstance(value, tuple):
        return dict.fromkeys(layers, value)
    if len(value) < len(layers) or (len(value) > len(layers) and not longer):
        raise ValueError(
            f"`{name}` must be a number or have one for each of {len(layers)} layers with noise; "
            f"got {len(value)}."
        )
    return dict(zip(layers, value, strict=False))


def _rms(layer: int, arrays: Iterable[Array]) -> float:
    squares = [(float((a * a).sum()), a.size) for a in arrays]
    size = math.sqrt(sum(s for s, _ in squares) / sum(n for _, n in squares))
    if not size > 0:
        raise ValueError(
            f"`scale` must be 'absolute' where what noise is added to is zero or not finite, as "
            f"in layer {layer}; got 'rms'."
        )
    return size
