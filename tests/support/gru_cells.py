"""GRU cells of every form, PyTorch's equations, and arrays of a library that is not NumPy."""

from __future__ import annotations

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from seqsolve.models import GRU, MultiHeadGRU

CELLS = {
    "n=1": {"n_inputs": 1, "n_units": 1},
    "n=2": {"n_inputs": 3, "n_units": 2},
    "n=5": {"n_inputs": 2, "n_units": 5},
    "n=33": {"n_inputs": 4, "n_units": 33},
    "no bias": {"n_inputs": 2, "n_units": 4, "bias": False},
    "h=1": {"n_inputs": 2, "n_units": 3, "n_heads": 1},
    "h=3,k=2": {"n_inputs": 4, "n_units": 6, "n_heads": 3},
    "h=2,k=5": {"n_inputs": 1, "n_units": 10, "n_heads": 2},
    "elementwise": {"n_inputs": 3, "n_units": 7, "n_heads": 7},
    "heads, no bias": {"n_inputs": 3, "n_units": 6, "n_heads": 2, "bias": False},
}
LEADS = [(), (1,), (6,), (4, 3), (1, 5), (2, 1, 3), (0,), (3, 0)]


def make(name, dtype="float64", rng=0):
    options = CELLS[name]
    return (MultiHeadGRU if "n_heads" in options else GRU).random(**options, dtype=dtype, rng=rng)


def draw(gru, lead, dtype="float64", seed=1):
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((*lead, gru.n_units)).astype(dtype)
    return y, rng.standard_normal((*lead, gru.n_inputs)).astype(dtype)


def heads_of(gru):
    """Yield the parameters of each head and the slice of its states."""
    named = {
        name: gru.params.get(name) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    if isinstance(gru, GRU):
        named = {name: None if a is None else a[None] for name, a in named.items()}
    k = named["weight_hh"].shape[-1]
    for i in range(named["weight_hh"].shape[0]):
        head = {name: None if a is None else a[i] for name, a in named.items()}
        yield head, slice(i * k, (i + 1) * k)


def logistic(a):
    return 1 / (1 + np.exp(-a))


def oracle(gru, y_prev, x):
    """PyTorch's equations, one step and head after the other."""
    lead = np.broadcast_shapes(y_prev.shape[:-1], x.shape[:-1])
    y_prev = np.broadcast_to(y_prev, (*lead, gru.n_units))
    x = np.broadcast_to(x, (*lead, gru.n_inputs))
    y = np.empty(y_prev.shape, np.result_type(y_prev, x, *gru.params.values()))
    for step in np.ndindex(*lead):
        for p, own in heads_of(gru):
            h = y_prev[step][own]
            k = h.size
            zero = np.zeros(3 * k)
            gi = p["weight_ih"] @ x[step] + (zero if p["bias_ih"] is None else p["bias_ih"])
            gh = p["weight_hh"] @ h + (zero if p["bias_hh"] is None else p["bias_hh"])
            r = logistic(gi[:k] + gh[:k])
            z = logistic(gi[k : 2 * k] + gh[k : 2 * k])
            nn = np.tanh(gi[2 * k :] + r * gh[2 * k :])
            y[step][own] = (1 - z) * nn + z * h
    return y


def as_dense(gru, jacobian):
    """Return a Jacobian of either form as ``(..., n, n)``."""
    if isinstance(gru, GRU):
        return jacobian
    dense = np.zeros((*jacobian.shape[:-3], gru.n_units, gru.n_units), jacobian.dtype)
    k = gru.head_size
    for i in range(gru.n_heads):
        own = slice(i * k, (i + 1) * k)
        dense[..., own, own] = jacobian[..., i, :, :]
    return dense


def complex_step(f, a, direction, h=1e-30):
    """The derivative of `f` at `a` along `direction`."""
    return f(a + 1j * h * direction).imag / h


class ForeignArray(NDArrayOperatorsMixin):
    """An array of another library: it refuses NumPy arrays, as CuPy's do."""

    _ATTRIBUTES = frozenset(
        ["shape", "ndim", "dtype", "T", "reshape", "swapaxes", "transpose", "copy", "astype", "sum"]
    )

    def __init__(self, data):
        self.data = data

    def __getattr__(self, name):
        if name not in self._ATTRIBUTES:
            raise AttributeError(name)
        value = getattr(self.data, name)
        if callable(value):
            return lambda *args, **kwargs: ForeignArray(value(*args, **kwargs))
        return ForeignArray(value) if name == "T" else value

    def __getitem__(self, index):
        return ForeignArray(self.data[index])

    def __setitem__(self, index, value):
        self.data[index] = self._unwrap(value)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        assert method == "__call__"
        if out is not None:
            kwargs["out"] = tuple(self._unwrap(a) for a in out)
        result = ufunc(*(self._unwrap(a) for a in inputs), **kwargs)
        return out[0] if out is not None else ForeignArray(result)

    def __array_function__(self, func, types, args, kwargs):
        assert func in (np.empty_like, np.zeros_like, np.broadcast_to)
        return ForeignArray(func(self._unwrap(args[0]), *args[1:], **kwargs))

    @staticmethod
    def _unwrap(a):
        assert isinstance(a, ForeignArray | int | float)
        return a.data if isinstance(a, ForeignArray) else a
