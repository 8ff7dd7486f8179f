"""The first position of a recurrence in plain Python: what compiled code does not check."""

from __future__ import annotations

import traceback
from typing import Any

import cupy
import numpy as np

from seqsolve.backend import Array
from seqsolve_cupy.element.source import refusal

__all__ = ["try_indices"]


def try_indices(step: Any, x: Array | None, y: Array) -> None:
    """Run a step's functions at the first position, for their indices.

    Parameters
    ----------
    step : ElementStep
        The step.
    x : cupy.ndarray, shape (n_steps, n_batch or 1, *item), or None
        Its input.
    y : cupy.ndarray, shape (at least 1, n_batch, n_state)
        States; those of the first position come first.

    Raises
    ------
    ElementStepError
        A function takes an element that is not there; the message shows the
        user's line.
    """
    if not y.size or (x is not None and 0 in x.shape[:2]):
        return
    params = tuple(cupy.asnumpy(p) if p.ndim else cupy.asnumpy(p)[()] for p in step.params.values())
    state, item = cupy.asnumpy(y[0, 0]), None if x is None else cupy.asnumpy(x[0, 0])
    item = item[()] if item is not None and not item.ndim else item
    functions = {"step": (step.function, (step.n_state,))}
    if step.jac_function is not None:
        functions["jac"] = (step.jac_function, step.jac_shape)
    for name, (function, shape) in functions.items():
        out = np.full(shape, np.nan, y.dtype)
        try:
            with np.errstate(all="ignore"):
                getattr(function, "py_func", function)(state, item, params, out)
        except IndexError as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"At the first position: {error}."
            raise refusal(name, place.filename, place.lineno or 0, reason) from None
        except Exception:
            return  # what Python raises for numbers, compiled functions do not
