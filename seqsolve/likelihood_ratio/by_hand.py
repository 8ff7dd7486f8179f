"""Noise for computations that are not models: perturb, compute the losses, ask for the error."""

from __future__ import annotations

from math import prod
from typing import Any

from seqsolve import _checks
from seqsolve._placement import placed
from seqsolve.backend import Array, Backend
from seqsolve.likelihood_ratio import _credit
from seqsolve.likelihood_ratio._perturbation import Place, add, place_number, weigh
from seqsolve.likelihood_ratio._scales import for_each, root_mean_square
from seqsolve.likelihood_ratio.noise import Noise

__all__ = ["error", "perturb"]


@placed
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


@placed
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
    copies = for_each(noise.copies, range(layer + 1), "copies", longer=True)[layer]
    sigma = for_each(noise.sigma, range(layer + 1), "sigma", longer=True)[layer]
    if noise.scale == "rms":
        sigma *= root_mean_square(layer, [array])
    return home, array, Place(place_number(layer), n_data, n_units, 0, 1), copies, sigma
