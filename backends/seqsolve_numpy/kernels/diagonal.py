"""Diagonal recurrences: every lane (a sequence's state entry) on its own."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import types

from seqsolve_numpy.kernels.access import local, span
from seqsolve_numpy.kernels.compilation import Kernel, compiled, readable, real, writable
from seqsolve_numpy.kernels.steps import advance, advance_newton

#: Up to so many lanes are kept in registers, by a kernel of their own.
MAX_REGISTER_LANES = 16

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
        ``A``, ``b`` and ``y`` are ``(n_steps, n_batch, n_state)``, each step
        contiguous, ``state`` is a contiguous ``(n_batch, n_state)``, ``limit``
        the magnitude beyond which the Newton update repairs. With ``fresh``
        nothing precedes the first step, whatever ``A[0]`` and ``state`` hold.
    """
    lanes = n_lanes if n_lanes <= MAX_REGISTER_LANES else 0
    return _compile(dtype, lanes, newton)


@functools.cache
def _compile(dtype: np.dtype[Any], lanes: int, newton: bool) -> Kernel:
    function = _in_registers(lanes, newton) if lanes else _in_memory(newton)
    return compiled(
        function,
        readable(dtype, 3),
        readable(dtype, 3),
        writable(dtype, 3),
        writable(dtype, 2),
        real(dtype),
        types.boolean,
    )


def _in_registers(n: int, newton: bool) -> Any:
    def kernel(A: Any, b: Any, y: Any, state: Any, limit: Any, fresh: bool) -> None:
        s, all_lanes = local(n, state), span(state, 0, 0, n)
        for i in range(n):
            s[i] = all_lanes[i]
        for t in range(b.shape[0]):
            a, c, z = span(A, t, 0, n), span(b, t, 0, n), span(y, t, 0, n)
            if fresh and t == 0:
                for i in range(n):
                    s[i] = 0 if newton else c[i]
            else:
                for i in range(n):
                    s[i] = a[i] * s[i] if newton else c[i] + a[i] * s[i]
            if newton:
                advance_newton(s, c, z, s, limit)
            else:
                advance(s, z, s)
        for i in range(n):
            all_lanes[i] = s[i]

    return kernel


def _in_memory(newton: bool) -> Any:
    def kernel(A: Any, b: Any, y: Any, state: Any, limit: Any, fresh: bool) -> None:
        n_lanes = state.size
        for start in range(0, n_lanes, _TILE):
            n = min(_TILE, n_lanes - start)
            s = span(state, 0, start, n)
            for t in range(b.shape[0]):
                a, c, z = span(A, t, start, n), span(b, t, start, n), span(y, t, start, n)
                if fresh and t == 0:
                    for i in range(n):
                        s[i] = 0 if newton else c[i]
                else:
                    for i in range(n):
                        s[i] = a[i] * s[i] if newton else c[i] + a[i] * s[i]
                if newton:
                    advance_newton(s, c, z, s, limit)
                else:
                    advance(s, z, s)

    return kernel
