"""Tells which arrays the kernels take as they are, and copies the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

NDArray: TypeAlias = npt.NDArray[Any]

#: Tells whether a kernel can take an array with the strides it has.
Layout: TypeAlias = Callable[[NDArray], bool]


def has_contiguous_rows(a: NDArray) -> bool:
    """Return whether neighbours along the last axis are neighbours in memory."""
    return a.strides[-1] == a.itemsize or a.shape[-1] == 1


def has_contiguous_steps(a: NDArray) -> bool:
    """Return whether every ``a[t]``, ``(n_batch, n_state)``, is contiguous."""
    _, n_batch, n_state = a.shape
    _, batch_stride, state_stride = a.strides
    return (n_state == 1 or state_stride == a.itemsize) and (
        n_batch == 1 or batch_stride == n_state * a.itemsize
    )


def fit(a: NDArray, dtype: np.dtype[Any], layout: Layout) -> NDArray:
    """Return `a` if it has the dtype and the layout, else a copy that has."""
    if a.dtype == dtype and layout(a):
        return a
    return np.array(a, dtype, order="C")


def is_interleaved(a: NDArray) -> bool:
    """Return whether the sequences of `a` alternate in memory, step by step."""
    return abs(a.strides[0]) >= abs(a.strides[1])
