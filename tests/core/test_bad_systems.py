"""Wrong calls of the linear solvers, the Jacobi family, and what works on solutions."""

from __future__ import annotations

import numpy as np
import pytest
from support.calls import check_error, f, gradient, h, recurrence, sweeps

import seqsolve

ROWS = {
    # Linear recurrences
    "b without a state": (
        recurrence(A=np.ones(6), b=np.ones(6)),
        ValueError,
        r"`b` must have shape .*got \(6,\)\. One sequence of one state is `b\[:, None\]`",
    ),
    "A of another length": (
        recurrence(A=np.ones((5, 3))),
        ValueError,
        r"`A` must have shape \(6, 3\), \(6, 3, 3\) .*got \(5, 3\)",
    ),
    "A not square": (
        recurrence(A=np.ones((6, 3, 2))),
        ValueError,
        r"`A` must have matrices of shape \(3,\), \(3, 3\) .*got \(6, 3, 2\)",
    ),
    "A with blocks that do not fit": (
        recurrence(A=np.ones((6, 2, 2, 2))),
        ValueError,
        r"`A` must have matrices .*h \* k = 3.*got \(6, 2, 2, 2\)",
    ),
    "A with too many axes": (
        recurrence(A=np.ones((6, 1, 1, 1, 3))),
        ValueError,
        r"`A` must have shape .*got \(6, 1, 1, 1, 3\)",
    ),
    "A with too few axes": (
        recurrence(A=np.ones(3)),
        ValueError,
        r"`A` must have shape \(6, 3\), \(6, 3, 3\) or \(6, h, k, k\) with h \* k = 3.*with 1 in "
        r"place of what is shared; got \(3,\)",
    ),
    "A of strings": (recurrence(A=[["a"] * 3] * 6), TypeError, r"`A` must .*got \(\('a'"),
    "A masked": (
        recurrence(A=np.ma.masked_equal(np.ones((6, 3)), 1)),
        ValueError,
        "`A` must not be masked.*18 masked values",
    ),
    "b of objects": (recurrence(b=np.full((6, 3), None)), TypeError, "`b` must .*got object"),
    "b None": (
        lambda: seqsolve.linear_recurrence(np.ones((6, 3)), None),
        TypeError,
        "`b` must be an array of numbers; got None",
    ),
    "y0 of another shape": (
        recurrence(y0=np.ones(2)),
        ValueError,
        r"`y0` must have shape \(3,\), as a step of `b`; got \(2,\)",
    ),
    "method unknown": (
        recurrence(method="thomas"),
        ValueError,
        "`method` must be one of 'auto', .*; got 'thomas'",
    ),
    "reverse a string": (
        recurrence(reverse="yes"),
        TypeError,
        "`reverse` must be True or False; got 'yes'",
    ),
    "out of a recurrence": (
        recurrence(out=np.empty((6, 3), "int32")),
        ValueError,
        "`out` must hold float64 values; got an array of int32",
    ),
    "cyclic_reduction's matrices": (
        lambda: seqsolve.cyclic_reduction(np.ones((4, 2, 2)), np.ones((4, 3))),
        ValueError,
        r"`A` must .*got \(4, 2, 2\)",
    ),
    # Triangular systems
    "h a string": (sweeps(h="h"), TypeError, "`h` must be callable; got 'h'"),
    "guess without a state": (
        sweeps(guess=np.zeros(6)),
        ValueError,
        r"`guess` must have shape \(n_steps, \*batch, n_state\); got \(6,\)",
    ),
    "guess of objects": (
        sweeps(guess=np.full((6, 3), None)),
        TypeError,
        "`guess` must .*got object",
    ),
    "h returns everything": (
        sweeps(h=lambda s, rows: 0.5 * s),
        ValueError,
        r"`h` must return an array of shape \(1, 3\) for slice\(0, 1.*got \(6, 3\)",
    ),
    "h returns None": (sweeps(h=lambda s, rows: None), TypeError, "`h` must .*numbers; got None"),
    "h depends on what it is asked for": (
        sweeps(h=lambda s, rows: np.full_like(s[rows], rows.stop)),
        ValueError,
        "`h` must evaluate every position on its own",
    ),
    "h reads its own position": (
        sweeps(h=lambda s, rows: 0.5 * s[rows] + 1),
        ValueError,
        "`h` must not read positions at or behind those that it evaluates",
    ),
    "h reads later positions": (
        sweeps(h=lambda s, rows: h(s, rows) + s[-1:]),
        ValueError,
        "`h` must not read positions",
    ),
    "h writes": (
        sweeps(h=lambda s, rows: np.add(s, 1, out=s)[rows]),
        ValueError,
        "`h` must not write to `s`",
    ),
    "h raises": (
        sweeps(h=lambda s, rows: s[[[9]]]),
        IndexError,
        r"seqsolve called `h` with .* slice\(0, 1.*it must return new values of these positions",
    ),
    "h complex for a later position": (
        sweeps(h=lambda s, rows: h(s, rows) * (1j if rows.stop > 2 else 1)),
        TypeError,
        "`h` must stay real.*complex128",
    ),
    "block_size missing": (sweeps("gs_jacobi"), TypeError, "block_size"),
    "block_size 0": (
        sweeps("jacobi_gs", block_size=0),
        ValueError,
        "`block_size` must be at least 1; got 0",
    ),
    "block_size 0 of windows": (
        sweeps("gs_jacobi", block_size=0),
        ValueError,
        "`block_size` must be at least 1; got 0",
    ),
    "window of blocks": (
        sweeps("jacobi_gs", block_size=2, window=0),
        ValueError,
        "`window` must be at least 1; got 0",
    ),
    "window of sweeps": (sweeps(window=-3), ValueError, "`window` must be at least 1; got -3"),
    "maxiter of sweeps": (sweeps(maxiter=0), ValueError, "`maxiter` must be at least 1; got 0"),
    "on_failure of sweeps": (
        sweeps("gauss_seidel", on_failure="stop"),
        ValueError,
        "`on_failure` must be one of .*'stop'",
    ),
    "out of sweeps": (sweeps(out=np.empty((6, 4))), ValueError, r"`out` must .*got \(6, 4\)"),
    "callback of sweeps": (sweeps(callback=1), TypeError, "`callback` must be callable; got 1"),
    "guess of another shape than the map": (
        lambda: seqsolve.jacobi(
            seqsolve.triangular_map(f, np.ones((6, 3)), np.zeros(3)), np.zeros((5, 3))
        ),
        ValueError,
        r"`guess` must have the shape of the triangular map, \(6, 3\); got \(5, 3\)",
    ),
    "map without n_steps": (
        lambda: seqsolve.triangular_map(f, None, np.zeros(3)),
        ValueError,
        "`n_steps` must be given",
    ),
    # Gradients and exponents
    "solution an array": (
        lambda: seqsolve.vjp(np.ones((6, 3)), np.ones((6, 3))),
        TypeError,
        "`solution` must be a Solution; got ndarray",
    ),
    "cotangent of another shape": (
        gradient(np.ones((6, 2))),
        ValueError,
        r"`cotangent` must have the trajectory's shape \(6, 3\); got \(6, 2\)",
    ),
    "cotangent complex": (
        gradient(np.ones((6, 3), complex)),
        TypeError,
        "`cotangent` must be real, as the trajectory is; got complex128",
    ),
    "cotangent NaN": (
        gradient(np.full((6, 3), np.nan)),
        ValueError,
        "`cotangent` must be finite; got NaN or infinity",
    ),
    "cotangent of strings": (
        gradient([["a"] * 3] * 6),
        TypeError,
        r"`cotangent` must .*got \(\('a'",
    ),
    "exponent of an array": (
        lambda: seqsolve.lyapunov_exponent(np.ones((6, 3))),
        TypeError,
        "`solution` must be a Solution; got ndarray",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), ROWS.values(), ids=ROWS)
def test_wrong_call(call, error, message):
    check_error(call, error, message)
