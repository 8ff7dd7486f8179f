"""Brings arrays of any strides into the forms that kernels take, if possible without copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

NDArray: TypeAlias = npt.NDArray[Any]


#: Returns a view of an array in the form that a kernel takes, or None if there is none.
View: TypeAlias = Callable[[NDArray], NDArray | None]


def as_rows(a: NDArray) -> NDArray | None:
    """Return `a` if neighbours along its last axis are neighbours in memory."""
    return a if a.shape[-1] <= 1 or a.strides[-1] == a.itemsize else None


def as_lanes(a: NDArray) -> NDArray | None:
    """Return `a`, ``(n_steps, n_batch, n_state)``, with its last two axes as one.

    Returns
    -------
    array, shape (n_steps, n_batch * n_state), or None
        A view with contiguous rows; None if there is none.
    """
    n_steps, n_batch, n_state = a.shape
    if not a.flags.c_contiguous:
        _, batch_stride, state_stride = a.strides
        if n_state > 1 and state_stride != a.itemsize:
            return None
        if n_batch > 1 and batch_stride != n_state * a.itemsize:
            return None
    return a.reshape(n_steps, n_batch * n_state)


def fit(a: NDArray, dtype: np.dtype[Any], view: View) -> NDArray:
    """Return `a` in the form that `view` makes and of `dtype`: a view, or else a copy."""
    if a.dtype == dtype:
        fitting = view(a)
        if fitting is not None:
            return fitting
    copy = view(np.array(a, dtype, order="C"))
    assert copy is not None
    return copy


def fits(a: NDArray, dtype: np.dtype[Any], view: View) -> bool:
    """Return whether `fit` needs no copy."""
    return a.dtype == dtype and view(a) is not None


def is_interleaved(a: NDArray) -> bool:
    """Return whether the sequences of `a` alternate in memory, step by step."""
    return abs(a.strides[0]) >= abs(a.strides[1])
