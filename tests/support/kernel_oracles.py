"""Arrays in awkward layouts, and the primitives' contract transcribed in extended precision."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import seqsolve_numpy
from seqsolve.portable import PortableBackend

BACKEND = seqsolve_numpy.make_backend()
PORTABLE = PortableBackend("portable", np)

DTYPES = ("float32", "float64", "complex64", "complex128")

properties = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# --- arrays in awkward layouts -------------------------------------------------------------


def _every_second(a, axis):
    buffer = np.full([2 * s if i == axis else s for i, s in enumerate(a.shape)], np.nan, a.dtype)
    view = buffer[tuple(slice(None, None, 2) if i == axis else slice(None) for i in range(a.ndim))]
    view[...] = a
    return view


def _with_axis_order(a, order):
    return np.ascontiguousarray(a.transpose(order)).transpose(np.argsort(order))


def _read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def _misaligned(a):
    buffer = np.empty(a.nbytes + 1, np.uint8)[1:]
    view = buffer.view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


LAYOUTS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "time reversed": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "state reversed": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "every second step": lambda a: _every_second(a, 0),
    "every second sequence": lambda a: _every_second(a, 1),
    "every second entry": lambda a: _every_second(a, a.ndim - 1),
    "sequence by sequence": lambda a: _with_axis_order(a, (1, 0, *range(2, a.ndim))),
    "last axis first": lambda a: _with_axis_order(a, (a.ndim - 1, *range(a.ndim - 1))),
    "last axes swapped": lambda a: _with_axis_order(
        a, (*range(a.ndim - 2), a.ndim - 1, a.ndim - 2)
    ),
    "misaligned": _misaligned,
    "read-only": _read_only,
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
}

# These change the values, so they are for inputs only, before the oracle sees them.
BROADCASTS = {
    "constant in time": lambda a: np.broadcast_to(a[:1], a.shape),
    "constant in the state": lambda a: np.broadcast_to(a[..., :1], a.shape),
    "constant": lambda a: np.broadcast_to(a[:1, :1, ..., :1], a.shape),
}

inputs = st.sampled_from(sorted(LAYOUTS | BROADCASTS))
results = st.sampled_from(sorted(set(LAYOUTS) - {"read-only"}))


def lay_out(a, layout):
    if layout in LAYOUTS or a.size == 0:
        return LAYOUTS.get(layout, np.asarray)(a)
    return BROADCASTS[layout](a)


def random(rng, shape, dtype):
    a = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        a = a + 1j * rng.standard_normal(shape)
    return a.astype(dtype)


def random_matrices(rng, n_steps, n_batch, n_state, dense, dtype):
    if not dense:
        return random(rng, (n_steps, n_batch, n_state), dtype)
    return random(rng, (n_steps, n_batch, n_state, n_state), dtype) / max(1, n_state) ** 0.5


def problems(*dtypes):
    """Sizes and dtypes. Every kernel takes time to compile, so there are few of either."""
    return st.fixed_dictionaries(
        {
            "n_steps": st.sampled_from((0, 1, 2, 7, 40)),
            "n_batch": st.sampled_from((0, 1, 2)),
            "n_state": st.sampled_from((0, 1, 2, 17)),
            "dense": st.booleans(),
            "dtype": st.sampled_from(dtypes),
        }
    )


seeds = st.integers(0, 2**32 - 1)


# --- the contract, transcribed, in extended precision, with a bound on rounding ---------------


def _product(A, v):
    return (A @ v[..., None])[..., 0] if A.ndim > v.ndim else A * v


def _unit(dtype, n_state):
    return 8 * (n_state + 2) * float(np.finfo(dtype).eps)


def recurrence_oracle(A, b, y0, *, reverse, transpose):
    """Return the solution and what a plain loop in the dtype of `b` may be off."""
    unit = _unit(b.dtype, b.shape[-1])
    A, b = A.astype(np.clongdouble), b.astype(np.clongdouble)
    if transpose and A.ndim == 4:
        A = A.swapaxes(-1, -2)
    y, bound = b.copy(), np.zeros(b.shape)
    steps = range(len(b))[::-1] if reverse else range(len(b))
    previous = None if y0 is None else y0.astype(np.clongdouble)
    error = np.zeros(b.shape[1:])
    for t in steps:
        if previous is not None:
            y[t] += _product(A[t], previous)
            error = _product(abs(A[t]), error + unit * abs(previous)) + unit * abs(b[t])
            bound[t] = error
        previous = y[t]
    return y, bound


def newton_oracle(A, fy, y):
    """Return the new iterate, a bound on rounding, and where the test for repair is clear."""
    unit = _unit(y.dtype, y.shape[-1])
    limit = np.longdouble(np.finfo(y.dtype).max) ** 0.5
    A, fy, y = (a.astype(np.clongdouble) for a in (A, fy, y))
    new, bound, clear = y.copy(), np.zeros(y.shape), np.ones(y.shape[:2], bool)
    with np.errstate(all="ignore"):
        for t in range(len(y)):
            v, error = fy[t], np.zeros(y.shape[1:])
            if t > 0:
                d = new[t - 1] - y[t - 1]
                d_error = bound[t - 1] + unit * (abs(new[t - 1]) + abs(y[t - 1]))
                v = fy[t] + _product(A[t], d)
                error = _product(abs(A[t]), d_error + unit * abs(d)) + unit * abs(fy[t])
            within = abs(v) <= limit
            doubtful = np.isfinite(v) & (abs(abs(v) - limit) <= error)
            clear[t] = ~doubtful.any(axis=-1) & (clear[t - 1] if t > 0 else True)
            new[t] = np.where(within, v, np.where(np.isfinite(fy[t]), fy[t], y[t]))
            bound[t] = np.where(within, error, 0)
    return new, bound, clear


def residual_oracle(y, fy, rtol, atol):
    n_steps, n_batch, _ = y.shape
    first, largest = np.full(n_batch, n_steps), np.zeros(n_batch)
    with np.errstate(all="ignore"):
        r = abs(y - fy)
        fails = ~(r <= atol + rtol * abs(y))
    for k in range(n_batch):
        for t in range(n_steps):
            if fails[t, k].any():
                first[k] = min(first[k], t)
            for value in r[t, k]:
                largest[k] = max(largest[k], np.inf if np.isnan(value) else value)
    return first, largest


def assert_within(actual, expected, bound, where=...):
    with np.errstate(all="ignore"):
        off = abs(actual.astype(np.clongdouble) - expected)
        exact = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    ok = exact | (off <= bound)
    assert ok[where].all(), (actual[where][~ok[where]], expected[where][~ok[where]])
