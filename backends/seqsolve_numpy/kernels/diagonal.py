"""Diagonal recurrences: every lane (a sequence's state entry) on its own."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import types

from seqsolve_numpy.kernels.access import local, row
from seqsolve_numpy.kernels.compilation import Kernel, compiled, readable, real, writable
from seqsolve_numpy.kernels.scalars import within

#: Up to so many lanes are kept in registers, by a kernel of their own.
MAX_REGISTER_LANES = 8

_TILE = 2048


@functools.cache
def diagonal_kernel(dtype: np.dtype[Any], n_lanes: int, newton: bool) -> Kernel:
    """Return the kernel ``(A, b, y, state, limit, fresh)`` for `n_lanes` lanes.

    Parameters
    ----------
    dtype : dtype
        Of all arrays.
    n_lanes : int
        Number of lanes.
    newton : bool
        False: ``y[t] = A[t] y[t-1] + b[t]``; ``state`` is ``y[-1]`` on entry
        and ``y[n_steps-1]`` on return. True: the Newton update of ``y`` with
        ``b`` the function values; ``state`` is the increment of the step
        before on entry and that of the last step on return.

    Returns
    -------
    callable
        ``A``, ``b`` and ``y`` are ``(n_steps, n_lanes)`` with contiguous rows,
        ``state`` is ``(n_lanes,)``, ``limit`` a real number. With ``fresh``
        nothing precedes the first step, whatever ``A[0]`` and ``state`` hold.
    """
    lanes = n_lanes if n_lanes <= MAX_REGISTER_LANES else 0
    return _compile(dtype, lanes, newton)


@functools.cache
def _compile(dtype: np.dtype[Any], lanes: int, newton: bool) -> Kernel:
    function = _in_registers(lanes, newton) if lanes else _in_memory(newton)
    return compiled(
        function,
        readable(dtype, 2),
        readable(dtype, 2),
        writable(dtype, 2),
        types.Array(writable(dtype, 1).dtype, 1, "C"),
        real(dtype),
        types.boolean,
    )


def _in_registers(n: int, newton: bool) -> Any:
    def kernel(A: Any, b: Any, y: Any, state: Any, limit: Any, fresh: bool) -> None:
        s = local(n, state)
        for i in range(n):
            s[i] = state[i]
        for t in range(b.shape[0]):
            a, c, z = row(A, (t,)), row(b, (t,)), row(y, (t,))
            if fresh and t == 0:
                for i in range(n):
                    s[i] = c[i]
            else:
                for i in range(n):
                    s[i] = c[i] + a[i] * s[i]
            if newton:
                good = True
                for i in range(n):
                    good &= within(s[i], limit)
                if not good:
                    for i in range(n):
                        if not within(s[i], limit):
                            s[i] = c[i] if np.isfinite(c[i]) else z[i]
                for i in range(n):
                    old = z[i]
                    z[i] = s[i]
                    s[i] -= old
            else:
                for i in range(n):
                    z[i] = s[i]
        for i in range(n):
            state[i] = s[i]

    return kernel


def _in_memory(newton: bool) -> Any:
    def kernel(A: Any, b: Any, y: Any, state: Any, limit: Any, fresh: bool) -> None:
        for start in range(0, b.shape[1], _TILE):
            tile = slice(start, start + _TILE)
            A_tile, b_tile, y_tile, s = A[:, tile], b[:, tile], y[:, tile], state[tile]
            n = s.shape[0]
            for t in range(b.shape[0]):
                a, c, z = row(A_tile, (t,)), row(b_tile, (t,)), row(y_tile, (t,))
                if fresh and t == 0:
                    for i in range(n):
                        s[i] = c[i]
                else:
                    for i in range(n):
                        s[i] = c[i] + a[i] * s[i]
                if newton:
                    for i in range(n):
                        v, old = s[i], z[i]
                        if not within(v, limit):
                            v = c[i] if np.isfinite(c[i]) else old
                        z[i] = v
                        s[i] = v - old
                else:
                    for i in range(n):
                        z[i] = s[i]

    return kernel
