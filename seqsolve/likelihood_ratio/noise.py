"""What noise is added, where, and how often."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from seqsolve import _checks

__all__ = ["Noise", "full", "layerwise", "mixed"]

Kind = Literal["gaussian", "sign", "sobol", "orthogonal"]
Baseline = Literal["loo", "mean", "antithetic", "clean"]


@dataclass(frozen=True)
class Noise:
    """Noise of likelihood-ratio gradients.

    Preactivations become ``z + sigma eps``, in a number of copies of every
    datum, and the copies' losses ``L`` give ``delta = dL/dz`` as
    ``E[(L - baseline) eps] / sigma``.

    Parameters
    ----------
    sigma : float or tuple of float
        Scale of the noise, more than 0; a tuple has one for each perturbed
        layer. Small, because the estimate belongs to the loss smoothed by the
        noise; not too small, because the difference of losses is rounded.
    copies : int or tuple of int
        How many copies of every datum; a tuple has one for each perturbed
        layer, and needs ``order="layer"``.
    kind : {"gaussian", "sign", "sobol", "orthogonal"}
        Normal numbers; -1 or 1; scrambled quasi-random normal numbers, the
        copies a power of two; -1 or 1 in columns that are orthogonal over
        every block of so many copies as there are units, rounded up to a
        power of two. With a mean of copies as the baseline, a power of four is
        best: then no column's mean takes more away than another's.
    baseline : {"loo", "mean", "antithetic", "clean"} or None
        What is subtracted from a copy's loss: the mean of the other copies;
        the mean of all, which shrinks the estimate by ``1 - 1/copies``; the
        loss of the copy with the opposite noise; the loss without noise.
    at : {"output", "weight"}
        Whether noise is added to the preactivations, or to the parameters,
        which takes the memory of a set of parameters for each copy of each
        datum.
    order : {"layer", "all"}
        One layer after the other, each with copies of its own; or all together.
    scale : {"absolute", "rms"}
        Whether `sigma` is the scale itself, or is multiplied by the root mean
        square of what the noise is added to.
    precision : {"same", "half"}
        Operands of matrix products in forward passes: as they are, or rounded
        to float16. Noise, sums and losses keep their precision.
    key : int or tuple of two int
        Seed, at least 0; or seed and iteration. The same key gives the same
        noise on every backend.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described, or does not go with another.

    Examples
    --------
    >>> from seqsolve.likelihood_ratio import Noise
    >>> noise = Noise(sigma=0.03, copies=16)
    >>> noise.iteration(5).key
    (0, 5)
    """

    sigma: float | tuple[float, ...]
    copies: int | tuple[int, ...]
    kind: Kind = "gaussian"
    baseline: Baseline | None = "loo"
    at: Literal["output", "weight"] = "output"
    order: Literal["layer", "all"] = "layer"
    scale: Literal["absolute", "rms"] = "absolute"
    precision: Literal["same", "half"] = "same"
    key: int | tuple[int, int] = 0

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            _checks.one_of(name, getattr(self, name), choices)
        if self.baseline is not None:
            _checks.one_of("baseline", self.baseline, get_args(Baseline))
        object.__setattr__(self, "sigma", _each("sigma", self.sigma, _positive))
        object.__setattr__(self, "copies", _each("copies", self.copies, self._number_of_copies))
        if isinstance(self.copies, tuple) and self.order == "all":
            raise ValueError(f"`copies` must be a number if `order` is 'all'; got {self.copies!r}.")
        _checks.integer("key", self.words[0], 0)
        _checks.integer("key", self.words[1], 0)
        if self.words[0] >= 2**64 or self.words[1] >= 2**48:
            raise ValueError(
                f"`key` must be a seed below 2**64 and an iteration below 2**48; got {self.key!r}."
            )

    @property
    def words(self) -> tuple[int, int]:
        """Seed and iteration."""
        if isinstance(self.key, tuple):
            if len(self.key) != 2:
                raise ValueError(f"`key` must be a seed, or seed and iteration; got {self.key!r}.")
            return self.key
        return self.key, 0

    def iteration(self, i: int) -> Noise:
        """Return the same noise with other random numbers.

        Parameters
        ----------
        i : int
            Number of the iteration, from 0.

        Returns
        -------
        Noise
            With the key ``(seed, i)``.
        """
        return replace(self, key=(self.words[0], i))

    def _number_of_copies(self, name: str, value: Any) -> int:
        number = _checks.integer(name, value, 1)
        if self.baseline in ("loo", "mean") and number < 2:
            raise ValueError(
                f"`{name}` must be at least 2 with `baseline` {self.baseline!r}, "
                f"which compares copies with each other; got {number}."
            )
        draws = number
        if self.baseline == "antithetic":
            if number % 2:
                raise ValueError(
                    f"`{name}` must be even with `baseline` 'antithetic'; got {number}."
                )
            draws = number // 2
        if self.kind == "sobol" and draws & (draws - 1):
            raise ValueError(f"`{name}` must be a power of two with `kind` 'sobol'; got {number}.")
        return number


def full(sigma: Any, copies: Any, **others: Any) -> Noise:
    """Return the noise of LR-F: all layers are perturbed together.

    Parameters
    ----------
    sigma : float or tuple of float
        Scale of the noise, as for `Noise`.
    copies : int
        Copies of every datum.
    **others
        Other arguments of `Noise`.

    Returns
    -------
    Noise
        With ``order="all"``.

    Raises
    ------
    TypeError, ValueError
        As `Noise`.

    Examples
    --------
    >>> from seqsolve import likelihood_ratio
    >>> likelihood_ratio.full(0.03, 16).order
    'all'
    """
    return Noise(sigma, copies, order="all", **others)


def layerwise(sigma: Any, copies: Any, **others: Any) -> Noise:
    """Return the noise of LR-L: one layer is perturbed at a time.

    The layers before it are computed once, and only those after it for all
    copies.

    Parameters
    ----------
    sigma : float or tuple of float
        Scale of the noise, as for `Noise`.
    copies : int or tuple of int
        Copies of every datum, as for `Noise`.
    **others
        Other arguments of `Noise`.

    Returns
    -------
    Noise
        With ``order="layer"``.

    Raises
    ------
    TypeError, ValueError
        As `Noise`.

    Examples
    --------
    >>> from seqsolve import likelihood_ratio
    >>> likelihood_ratio.layerwise(0.03, 16, baseline=None).order
    'layer'
    """
    return Noise(sigma, copies, order="layer", **others)


def mixed(sigma: Any, copies: Any, **others: Any) -> Noise:
    """Return the noise of LR-M: one layer at a time, half-precision products.

    A baseline, leave-one-out unless another is named, reduces the variance.

    Parameters
    ----------
    sigma : float or tuple of float
        Scale of the noise, as for `Noise`.
    copies : int or tuple of int
        Copies of every datum, as for `Noise`.
    **others
        Other arguments of `Noise`; `baseline` must not be None.

    Returns
    -------
    Noise
        With ``order="layer"`` and ``precision="half"``.

    Raises
    ------
    TypeError, ValueError
        As `Noise`; and `baseline` is None.

    Examples
    --------
    >>> from seqsolve import likelihood_ratio
    >>> likelihood_ratio.mixed(0.03, 16).precision
    'half'
    """
    noise = Noise(sigma, copies, order="layer", precision="half", **others)
    if noise.baseline is None:
        raise ValueError("`baseline` must be named for mixed noise; got None.")
    return noise


def _each(name: str, value: Any, check: Any) -> Any:
    """Check a number, or each of a tuple."""
    if isinstance(value, tuple | list):
        if not value:
            raise ValueError(
                f"`{name}` must be a number or have one for each layer; got {value!r}."
            )
        return tuple(check(f"{name}[{i}]", v) for i, v in enumerate(value))
    return check(name, value)


def _positive(name: str, value: Any) -> float:
    number = _checks.real(name, value, 0.0)
    if number == 0:
        raise ValueError(f"`{name}` must be more than 0; got {value!r}.")
    return number


_CHOICES = {
    "kind": get_args(Kind),
    "at": ("output", "weight"),
    "order": ("layer", "all"),
    "scale": ("absolute", "rms"),
    "precision": ("same", "half"),
}
