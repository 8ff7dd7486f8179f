"""Integration one step after the other, with adaptive steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqsolve.ivp._control import Control
from seqsolve.ivp._method import Attempt, NDArray, Points


@dataclass(frozen=True)
class Piece:
    """A stretch of the trajectory.

    Parameters
    ----------
    t : ndarray, shape (n_steps + 1,)
        The mesh.
    y : ndarray, shape (n_steps + 1, n)
        States on it.
    coefficients : ndarray, shape (degree + 1, n_steps, n)
        Of the interpolating polynomials.
    errors : ndarray, shape (n_steps,)
        Local errors, in units of the tolerance.
    next_step : float
        The step to continue with, positive.
    complete : bool
        Whether it reaches as far as it was to; False where steps shrank to
        nothing.
    """

    t: NDArray
    y: NDArray
    coefficients: NDArray
    errors: NDArray
    next_step: float
    complete: bool

    def head(self, n_steps: int) -> Piece:
        """Return the first steps."""
        return Piece(
            self.t[: n_steps + 1],
            self.y[: n_steps + 1],
            self.coefficients[:, :n_steps],
            self.errors[:n_steps],
            float(abs(self.t[n_steps] - self.t[n_steps - 1])),
            self.complete,
        )


def march(
    control: Control,
    t: float,
    y: NDArray,
    h: float,
    *,
    n_steps: int | None = None,
    stop: float | None = None,
) -> Piece:
    """Integrate step by step.

    Parameters
    ----------
    control : Control
        What to integrate, how accurately.
    t, y, h
        Where to begin, and the size of the first step.
    n_steps : int, optional
        Steps at most.
    stop : float, optional
        Where to stop; by default the end of the integration.
    """
    end = control.end if stop is None else stop
    ts, ys = [t], [y]
    made: list[NDArray] = []
    errors: list[float] = []
    f: NDArray | None = None
    complete = True
    while (end - ts[-1]) * control.direction > 0 and (n_steps is None or len(made) < n_steps):
        attempt, step, error, h = _one(control, ts[-1], ys[-1], h, f, end)
        if attempt is None:
            complete = False
            break
        ts.append(step)
        ys.append(attempt.y[0])
        made.append(attempt.coefficients)
        errors.append(error)
        f = attempt.f
    return Piece(
        np.array(ts),
        np.array(ys),
        np.concatenate(made, axis=1) if made else np.empty((2, 0, y.size), y.dtype),
        np.array(errors),
        h,
        complete,
    )


def _one(
    control: Control,
    t: float,
    y: NDArray,
    h: float,
    f: NDArray | None,
    end: float,
) -> tuple[Attempt | None, float, float, float]:
    """Return an accepted step, its end, its error, and the size of the next step."""
    smallest = float(control.smallest_step(np.array(t)))
    h = max(min(h, control.max_step), smallest)
    rejected = np.array([False])
    while h >= smallest:
        t_new = t + control.direction * h
        if (t_new - end) * control.direction > 0:
            t_new = end
        at = Points(np.array([t]), np.array([t_new - t]), y[None])
        attempt = control.attempt(at, f=f)
        error = control.errors(at, attempt)
        h = float(control.next_sizes(np.abs(at.h), error, rejected)[0])
        if error[0] <= 1:
            return attempt, t_new, float(error[0]), h
        rejected = error > 1
    return None, t, np.inf, h


def joined(parts: list[Piece]) -> Piece:
    """Return stretches that follow each other as one."""
    return Piece(
        np.concatenate([parts[0].t[:1], *(p.t[1:] for p in parts)]),
        np.concatenate([parts[0].y[:1], *(p.y[1:] for p in parts)]),
        np.concatenate([p.coefficients for p in parts], axis=1),
        np.concatenate([p.errors for p in parts]),
        parts[-1].next_step,
        parts[-1].complete,
    )
