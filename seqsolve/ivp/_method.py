"""What an integration method is: one step, its derivative, its error, its interpolant."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from seqsolve.backend import Backend
from seqsolve.ivp._rhs import RightHandSide
from seqsolve.ivp._tape import ParabolaTape, Tape

NDArray: TypeAlias = npt.NDArray[Any]


class Points(NamedTuple):
    """Where many steps begin, all independent of each other.

    Parameters
    ----------
    t, h : ndarray, shape (m,)
        Times and signed step sizes.
    y : ndarray, shape (m, n)
        States.
    lane : ndarray, shape (m,), or None
        Which of several trajectories each step belongs to.
    """

    t: NDArray
    h: NDArray
    y: NDArray
    lane: NDArray | None = None

    def rows(self, index: Any) -> Points:
        """Return some of the points."""
        return Points(*(None if a is None else a[index] for a in self))  # type: ignore[arg-type]

    def joined(self, other: Points) -> Points:
        """Return these points and others."""
        both = (
            None if a is None or b is None else np.concatenate([a, b])
            for a, b in zip(self, other, strict=True)
        )
        return Points(*both)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Attempt:
    """Many steps, made once, with their estimated errors.

    Parameters
    ----------
    y : ndarray, shape (m, n)
        New states.
    error : ndarray, shape (m, n) or (m, 2, n)
        Estimates of the local errors; NaN where a step could not be made.
    coefficients : ndarray, shape (degree + 1, m, n)
        Of the interpolating polynomials in ``(s - t) / h``, constants first.
    f : ndarray, shape (m, n), or None
        Derivatives at the new states, where the method has them.
    """

    y: NDArray
    error: NDArray
    coefficients: NDArray
    f: NDArray | None = None


class Method(ABC):
    """A one-step method, vectorised over independent steps.

    Attributes
    ----------
    name : str
        How `solve_ivp` calls it.
    order : int
        Order of convergence.
    error_order : int
        The estimated local error is proportional to ``h ** (error_order + 1)``.
    degree : int
        Of the interpolants.
    takes_mass : bool
        Whether it solves equations with a mass matrix, which may be singular.
    takes_bands : bool
        Whether it takes Jacobians as banded matrices, `RightHandSide.bands`.
    coefficients : tuple of str
        Names of the arrays it computes with. With these moved to a backend it
        makes its steps there; a method without makes them in host memory.
    """

    name: str
    order: int
    error_order: int
    degree: int = 2
    takes_mass: bool = False
    takes_bands: bool = False
    coefficients: tuple[str, ...] = ()

    def on(self, backend: Backend) -> Self:
        """Return the method with its coefficients in the arrays of a backend."""
        other = copy(self)
        for name in self.coefficients:
            setattr(other, name, backend.asarray(getattr(self, name)))
        return other

    @abstractmethod
    def step(self, rhs: RightHandSide, at: Points) -> NDArray:
        """Return the new states, shape ``(m, n)``."""

    @abstractmethod
    def linearize(self, rhs: RightHandSide, at: Points) -> tuple[NDArray, Callable[[], NDArray]]:
        """Return the new states, and a function that returns their Jacobians ``(m, n, n)``."""

    def taped(self, rhs: RightHandSide, at: Points, *, dense: bool) -> Tape:
        """Make the steps and keep their evaluations.

        Parameters
        ----------
        rhs : RightHandSide
            The equation.
        at : Points
            Where the steps begin.
        dense : bool
            Whether cotangents of the interpolants will be pulled back too.
        """
        whole = self.recorded(rhs, at)
        half = at._replace(h=at.h / 2)
        return ParabolaTape(whole, self.recorded(rhs, half)) if dense else whole

    @abstractmethod
    def recorded(self, rhs: RightHandSide, at: Points) -> Tape:
        """Make the steps and keep their evaluations, those of the new states alone."""

    def attempt(
        self, rhs: RightHandSide, at: Points, *, f: NDArray | None = None, dense: bool = True
    ) -> Attempt:
        """Make the steps, estimating errors by comparison with two steps of half the size.

        Parameters
        ----------
        rhs : RightHandSide
            The equation.
        at : Points
            Where the steps begin.
        f : ndarray, shape (m, n), optional
            Derivatives there, if known.
        dense : bool
            Whether the interpolant is needed to the method's order.
        """
        half = at.h / 2
        both = self.step(rhs, at.joined(at._replace(h=half)))
        whole, middle = both[: len(half)], both[len(half) :]
        end = self.step(rhs, Points(at.t + half, half, middle, at.lane))
        error = (end - whole) * (2**self.order / (2**self.order - 1))
        coefficients, f_new = self.between(rhs, at, middle, whole, f)
        return Attempt(whole, error, coefficients, f_new)

    def between(
        self, rhs: RightHandSide, at: Points, middle: NDArray, y_new: NDArray, f: NDArray | None
    ) -> tuple[NDArray, NDArray | None]:
        """Return the interpolants' coefficients, and the new derivatives if they are needed.

        Parabolas through the beginning, the middle and the end: of order 2, and
        without derivatives, which tell nothing about stiff trajectories.
        """
        to_middle, to_end = middle - at.y, y_new - at.y
        return np.stack([at.y, 4 * to_middle - to_end, 2 * to_end - 4 * to_middle]), None

    def norm(self, error: NDArray, scale: NDArray) -> NDArray:
        """Return the size of the errors, shape ``(m,)``: 1 is what is tolerated."""
        return rms(error / scale)


def rms(a: NDArray) -> NDArray:
    """Return the root mean square over the last axis."""
    size: NDArray = np.sqrt((np.abs(a) ** 2).mean(axis=-1))
    return size


def cubic(at: Points, y_new: NDArray, f: NDArray, f_new: NDArray) -> NDArray:
    """Return the coefficients of the cubics through both ends and their derivatives."""
    h = at.h[:, None]
    d, g0, g1 = y_new - at.y, h * f, h * f_new
    return np.stack([at.y, g0, 3 * d - 2 * g0 - g1, g0 + g1 - 2 * d])


def quartic(at: Points, middle: NDArray, y_new: NDArray, f: NDArray, f_new: NDArray) -> NDArray:
    """Return the coefficients of the quartics that also meet the middle."""
    c = cubic(at, y_new, f, f_new)
    # theta^2 (1 - theta)^2 vanishes with its derivative at both ends, and is 1/16 in the middle.
    bump = 16 * (middle - (c[0] + c[1] / 2 + c[2] / 4 + c[3] / 8))
    return np.stack([c[0], c[1], c[2] + bump, c[3] - 2 * bump, bump])
