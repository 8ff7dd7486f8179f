"""The passes with noise, and what they say of the gradients."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from seqsolve.backend import Array, Backend
from seqsolve.likelihood_ratio import _credit
from seqsolve.likelihood_ratio._perturbation import (
    NoisyPass,
    Place,
    place_number,
    quiet_pass,
    ranges,
    weigh,
)
from seqsolve.likelihood_ratio._record import Loss, Record, evaluate, values
from seqsolve.likelihood_ratio._scales import for_each, root_mean_square
from seqsolve.likelihood_ratio.layer import Site
from seqsolve.likelihood_ratio.noise import Noise

#: Numbers of one array of a layer, for all copies that are evaluated together.
_VALUES_AT_ONCE = 2**22


class Estimator:
    """The passes with noise, after the one without.

    Parameters
    ----------
    clean : Record
        The pass without noise.
    loss : callable
        One value for each datum.
    noise : Noise
        What is added.
    backend : Backend
        Where the arrays live.
    chunk : int or None
        How many copies are evaluated together; None: as many as fit the cache.
    """

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
        self.copies = for_each(noise.copies, self.perturbed, "copies")
        sigmas = for_each(noise.sigma, self.perturbed, "sigma")
        self.sigmas = {i: self._scales(i, sigma) for i, sigma in sigmas.items()}
        self.places = self._places()
        self.chunk = chunk or self._chunk()
        self.flops = clean.flops

    def estimate(self) -> tuple[tuple[dict[str, Array], ...], tuple[Array | None, ...], int]:
        """Return gradients, deltas and operations, as `Estimate` has them."""
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
        return tuple(grads), clean.at_sites(deltas), self.flops

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
            sigma *= root_mean_square(i, perturbed)
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
