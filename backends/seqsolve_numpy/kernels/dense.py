"""Dense recurrences."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import types

from seqsolve_numpy.kernels.access import local, row
from seqsolve_numpy.kernels.compilation import Kernel, compiled, readable, real, writable
from seqsolve_numpy.kernels.steps import (
    add_long_product_by_columns,
    add_long_product_by_rows,
    add_product_by_columns,
    add_product_by_rows,
    advance,
    advance_newton,
)

#: States up to this size are kept in registers, by a kernel of their own.
MAX_REGISTER_STATE = 8


@functools.cache
def dense_kernel(
    dtype: np.dtype[Any], n_state: int, by_rows: bool, interleaved: bool, newton: bool
) -> Kernel:
    """Return the kernel ``(A, b, y, state, limit, fresh)`` for states of size `n_state`.

    Parameters
    ----------
    dtype : dtype
        Of all arrays.
    n_state : int
        Size of the state.
    by_rows : bool
        Whether ``A[t, k, i]`` is row ``i`` of the matrix, or its column ``i``.
    interleaved : bool
        Whether to take all sequences through a step before the next step, or
        one sequence after the other through all steps.
    newton : bool
        As for the diagonal kernel.

    Returns
    -------
    callable
        ``A`` is ``(n_steps, n_batch, n_state, n_state)``, ``b`` and ``y`` are
        ``(n_steps, n_batch, n_state)``, all with contiguous last axes, and
        ``state`` is ``(n_batch, n_state)``. Otherwise as the diagonal kernel.
    """
    if n_state > MAX_REGISTER_STATE:
        return _compile(dtype, 0, by_rows, True, newton)
    return _compile(dtype, n_state, by_rows, interleaved, newton)


@functools.cache
def _compile(
    dtype: np.dtype[Any], n: int, by_rows: bool, interleaved: bool, newton: bool
) -> Kernel:
    if n == 0:
        function = _long(by_rows, newton)
    elif interleaved:
        function = _interleaved(n, by_rows, newton)
    else:
        function = _in_registers(n, by_rows, newton)
    return compiled(
        function,
        readable(dtype, 4),
        readable(dtype, 3),
        writable(dtype, 3),
        writable(dtype, 2),
        real(dtype),
        types.boolean,
    )


def _in_registers(n: int, by_rows: bool, newton: bool) -> Any:
    def kernel(A: Any, b: Any, y: Any, state: Any, limit: Any, fresh: bool) -> None:
        s, new = local(n, state), local(n, state)
        for k in range(b.shape[1]):
            for i in range(n):
                s[i] = state[k, i]
            for t in range(b.shape[0]):
                c, z = row(b, (t, k)), row(y, (t, k))
                for i in range(n):
                    new[i] = 0 if newton else c[i]
                if not (fresh and t == 0):
                    if by_rows:
                        add_product_by_rows(A, t, k, s, new)
                    else:
                        add_product_by_columns(A, t, k, s, new)
                if newton:
                    advance_newton(new, c, z, s, limit)
                else:
                    advance(new, z, s)
            for i in range(n):
                state[k, i] = s[i]

    return kernel


def _interleaved(n: int, by_rows: bool, newton: bool) -> Any:
    def kernel(A: Any, b: Any, y: Any, state: Any, limit: Any, fresh: bool) -> None:
        s, new = local(n, state), local(n, state)
        for t in range(b.shape[0]):
            for k in range(b.shape[1]):
                c, z = row(b, (t, k)), row(y, (t, k))
                for i in range(n):
                    s[i] = state[k, i]
                    new[i] = 0 if newton else c[i]
                if not (fresh and t == 0):
                    if by_rows:
                        add_product_by_rows(A, t, k, s, new)
                    else:
                        add_product_by_columns(A, t, k, s, new)
                if newton:
                    advance_newton(new, c, z, s, limit)
                else:
                    advance(new, z, s)
                for i in range(n):
                    state[k, i] = s[i]

    return kernel


def _long(by_rows: bool, newton: bool) -> Any:
    def kernel(A: Any, b: Any, y: Any, state: Any, limit: Any, fresh: bool) -> None:
        n = b.shape[2]
        new = np.empty(n, state.dtype)
        for t in range(b.shape[0]):
            for k in range(b.shape[1]):
                c, z, s = row(b, (t, k)), row(y, (t, k)), row(state, (k,))
                for i in range(n):
                    new[i] = 0 if newton else c[i]
                if not (fresh and t == 0):
                    if by_rows:
                        add_long_product_by_rows(A, t, k, s, new)
                    else:
                        add_long_product_by_columns(A, t, k, s, new)
                if newton:
                    advance_newton(new, c, z, s, limit)
                else:
                    advance(new, z, s)

    return kernel
