"""Wrong inputs, states and options: what is wrong, what came instead, before any work."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from support.calls import check_error, deer, f, jac, read_only, recurrence, sequential
from support.steps import Counted

import seqsolve
from seqsolve import _registry

LONG = 10**6


class Frame:
    """A table with a column that holds no numbers."""

    shape = (6, 3)

    def __array__(self, dtype=None, copy=None):
        return np.full(self.shape, "a", dtype=object)


class Recorded:
    """A tensor of a library that differentiates, and gives its values only if asked to forget."""

    dtype, shape = "torch.float64", (6, 3)

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().")


ROWS = {
    # The input
    "x that records": (
        deer(x=Recorded()),
        TypeError,
        "`x` must .*requires grad. Use tensor.detach",
    ),
    "y0 that records": (deer(y0=Recorded()), TypeError, "`y0` must .*Use tensor.detach"),
    "f returns what records": (
        deer(f=lambda y, x: Recorded()),
        TypeError,
        "`f` must return an array of numbers; got torch.float64 values .*Use tensor.detach",
    ),
    "x a table of objects": (deer(x=Frame()), TypeError, "`x` must .*numbers; got object values"),
    "x a scalar": (deer(x=1.0), ValueError, r"`x` must have a leading axis of n_steps; .*1\."),
    "x a string": (deer(x="abc"), (TypeError, ValueError), "`x` must .*abc"),
    "x of objects": (deer(x=np.array([{}] * 6)), TypeError, "`x` must .*object"),
    "x of strings": (deer(x=np.array(["a"] * 6)), TypeError, "`x` must .*numbers; got <U1"),
    "x a set": (deer(x={1, 2}), (TypeError, ValueError), "`x` must"),
    "x None without n_steps": (deer(x=None), ValueError, "`n_steps` must be given .*`x` is None"),
    "x empty without n_steps": (deer(x=()), ValueError, "`n_steps` must be given"),
    "x ragged": (
        deer(x=[[1.0, 2.0], [3.0]]),
        TypeError,
        r"`x` must be an array of numbers; got \(\(1.0, 2.0\), \(3.0\)\) .*inhomogeneous",
    ),
    "leaf ragged": (deer(x={"a": [[1], [1, 2]]}), TypeError, r"`x\['a'\]` must be an array of"),
    "x masked": (
        deer(x=np.ma.masked_equal(np.eye(6, 3), 1)),
        ValueError,
        "`x` must not be masked: fill what is missing.*got an array with 3 masked values",
    ),
    "y0 masked": (
        sequential(y0=np.ma.masked_array([0.0, 5.0, 0.0], [0, 1, 0])),
        ValueError,
        "`y0` must not be masked.*1 masked values",
    ),
    "x long": (deer(x=[[1]] * 10**5 + [[]]), TypeError, r"`x` must be .*got \((\(1\), ){6}…\) \("),
    "lengths of leaves differ": (
        deer(x=(np.ones((6, 3)), np.ones((5, 3)))),
        ValueError,
        r"`x\[1\]` must have n_steps = 6 .*got shape \(5, 3\)",
    ),
    "lengths of leaves of dicts differ": (
        deer(x={"W": np.ones((6, 3)), "b": [np.ones(6), np.ones((5, 3))]}),
        ValueError,
        r"`x\['b'\]\[1\]` must have n_steps = 6 .*got shape \(5, 3\)",
    ),
    "leaf a scalar": (
        deer(x={"a": np.ones((6, 3)), "b": np.float64(2)}),
        ValueError,
        r"`x\['b'\]` must have a leading axis",
    ),
    "n_steps disagrees": (
        deer(n_steps=7),
        ValueError,
        r"`x` must have n_steps = 7 .*got shape \(6, 3\)",
    ),
    "n_steps negative": (
        deer(x=None, n_steps=-1),
        ValueError,
        "`n_steps` must be at least 0; got -1",
    ),
    "n_steps a float": (
        deer(x=None, n_steps=6.0),
        TypeError,
        r"`n_steps` must be an integer; got 6\.0",
    ),
    "n_steps True": (sequential(n_steps=True), TypeError, "`n_steps` must be an integer; got True"),
    "x has the batch's axes in the wrong place": (
        deer(x=np.ones((6, 3)), y0=np.zeros((4, 3))),
        ValueError,
        "shape|treat|broadcast",
    ),
    # The initial state
    "y0 a scalar": (deer(y0=0.0), ValueError, r"`y0` must have shape \(n_state,\).*scalar \(0\.0"),
    "y0 empty": (deer(y0=[]), ValueError, r"`y0` must have at least one state .*\(0,\)"),
    "y0 of strings": (deer(y0=["a"] * 3), TypeError, r"`y0` must .*numbers; got \('a'"),
    "y0 None": (deer(y0=None), TypeError, "`y0` must be an array of numbers; got None"),
    "y0 ragged": (deer(y0=[[1, 2], [3]]), TypeError, "`y0` must be an array of numbers"),
    "y0 of objects": (deer(y0=np.array([{}] * 3)), TypeError, "`y0` must .*got object"),
    "y0 a date": (
        deer(y0=np.zeros(3, "datetime64[s]")),
        TypeError,
        "`y0` must .*got datetime64",
    ),
    "y0 of long doubles": (
        sequential(y0=np.zeros(3, np.longdouble)),
        TypeError,
        "`y0` must .*got (float128|longdouble|float96)",
    ),
    "y0 NaN": (deer(y0=[0, np.nan, 0]), ValueError, "`y0` must be finite; got NaN"),
    "y0 infinite": (sequential(y0=[0, np.inf, 0]), ValueError, "`y0` must be finite; got .*inf"),
    # Options
    "unknown option": (deer(tol=1e-3), TypeError, "tol"),
    "backend unknown": (
        deer(backend="jax"),
        ValueError,
        "`backend` must name an installed backend .*'numpy'.*got 'jax'",
    ),
    "backend a number": (deer(backend=1), TypeError, "`backend` must be .*got 1"),
    "backend unavailable": (
        deer(backend="broken"),
        seqsolve.BackendUnavailableError,
        "'broken' cannot run here: no driver found",
    ),
    "backend without primitives": (
        sequential(backend="hollow"),
        seqsolve.BackendUnavailableError,
        "'hollow' does not keep the contract: it lacks .*linear_recurrence",
    ),
    "get_backend of a number": (
        lambda: seqsolve.get_backend(1),
        TypeError,
        "`name` must be a string; got int",
    ),
    "window 0": (deer(window=0), ValueError, "`window` must be at least 1; got 0"),
    "window a float": (deer(window=8.0), TypeError, r"`window` must be an integer; got 8\.0"),
    "maxiter 0": (deer(maxiter=0), ValueError, "`maxiter` must be at least 1; got 0"),
    "maxiter a string": (deer(maxiter="many"), TypeError, "`maxiter` must .*'many'"),
    "damping 1": (deer(damping=1.0), ValueError, r"`damping` must .*in \[0, 1\); got 1\.0"),
    "damping negative": (deer(damping=-0.1), ValueError, r"`damping` must .*got -0\.1"),
    "damping None": (deer(damping=None), TypeError, "`damping` must be a real number; got None"),
    "rtol negative": (deer(rtol=-1e-3), ValueError, r"`rtol` must be .*at least 0; got -0\.001"),
    "rtol NaN": (deer(rtol=np.nan), ValueError, "`rtol` must be finite .*got nan"),
    "rtol a string": (deer(rtol="1e-3"), TypeError, "`rtol` must be a real number; got '1e-3'"),
    "rtol an array": (deer(rtol=np.ones(3)), TypeError, "`rtol` must be a real number"),
    "atol negative": (deer(atol=-1.0), ValueError, r"`atol` must be finite and at least 0.*-1\.0"),
    "atol negative for one state": (
        deer(atol=[1e-6, -1e-6, 1e-6]),
        ValueError,
        r"`atol` must be finite and at least 0",
    ),
    "atol NaN for one state": (
        deer(atol=[1e-6, np.nan, 1e-6]),
        ValueError,
        "`atol` must be finite",
    ),
    "atol infinite": (deer(atol=np.inf), ValueError, "`atol` must be finite.*inf"),
    "atol of another length": (
        deer(atol=[1e-3, 1e-3]),
        ValueError,
        r"`atol` must be a scalar or have shape \(3,\); got \(2,\)",
    ),
    "atol complex": (deer(atol=[1e-3j] * 3), TypeError, "`atol` must be a real number or an array"),
    "atol a string": (deer(atol="tight"), TypeError, "`atol` must .*'tight'"),
    "linear_solver unknown": (
        deer(linear_solver="lu"),
        ValueError,
        "`linear_solver` must be one of 'auto', .*'scan'.*; got 'lu'",
    ),
    "linear_solver of deeppcr": (
        lambda: seqsolve.deeppcr(f, jac, np.ones((6, 3)), np.zeros(3), linear_solver="scan"),
        TypeError,
        "`linear_solver` is not an argument of deeppcr",
    ),
    "on_failure unknown": (
        deer(on_failure="ignore"),
        ValueError,
        "`on_failure` must be one of 'return', 'warn', 'raise', 'sequential'; got 'ignore'",
    ),
    "on_failure None": (deer(on_failure=None), ValueError, "`on_failure` must .*got None"),
    "callback a string": (deer(callback="print"), TypeError, "`callback` must be callable.*print"),
    "progress a string": (deer(progress="yes"), TypeError, "`progress` must be True or False"),
    "guess of another shape": (
        deer(initial_guess=np.zeros((5, 3))),
        ValueError,
        r"`initial_guess` must have shape \(6, 3\); got \(5, 3\)",
    ),
    "guess ragged": (
        deer(initial_guess=[[1, 2], [3]]),
        TypeError,
        "`initial_guess` must be an array of numbers",
    ),
    "guess a scalar": (
        deer(initial_guess=0.0),
        ValueError,
        r"`initial_guess` must have shape \(6, 3\); got \(\)",
    ),
    "guess of strings": (
        deer(initial_guess=np.full((6, 3), "a")),
        TypeError,
        "`initial_guess` must .*got <U1 values",
    ),
    "guess complex for a real state": (
        deer(initial_guess=np.zeros((6, 3), complex)),
        TypeError,
        "`initial_guess` must be real.*complex128",
    ),
    "out of another shape": (
        deer(out=np.empty((6, 2))),
        ValueError,
        r"`out` must be an array of shape \(6, 3\); got \(6, 2\)",
    ),
    "out a list": (
        deer(out=[[0] * 3] * 6),
        ValueError,
        r"`out` must be an array of shape \(6, 3\); got a list",
    ),
    "out of integers": (
        deer(out=np.empty((6, 3), int)),
        ValueError,
        "`out` must hold float64 values; got an array of int64",
    ),
    "out real for complex values": (
        sequential(out=np.empty((6, 3)), y0=np.zeros(3, complex)),
        ValueError,
        "`out` must hold complex128 values; got an array of float64",
    ),
    "out read-only": (
        deer(out=read_only((6, 3))),
        ValueError,
        "`out` must be writeable; got a read-only array",
    ),
    "sequential takes no Jacobian": (sequential(jac_structure="dense"), TypeError, "jac_structure"),
    "backend of a recurrence": (
        recurrence(backend="broken"),
        seqsolve.BackendUnavailableError,
        "no driver found",
    ),
}


class FakeEntryPoint(SimpleNamespace):
    dist = None

    def load(self):
        return self.make


def no_driver():
    raise RuntimeError("no driver found")


@pytest.fixture
def fake_backends(monkeypatch):
    """Two backends more: one that cannot start, one that keeps no contract."""
    real = _registry.entry_points

    def entry_points(group):
        return [
            *real(group=group),
            FakeEntryPoint(name="broken", make=no_driver),
            FakeEntryPoint(name="hollow", make=lambda: SimpleNamespace(name="hollow")),
        ]

    monkeypatch.setattr(_registry, "entry_points", entry_points)
    monkeypatch.setattr(_registry, "_loaded", dict(_registry._loaded))


@pytest.mark.usefixtures("fake_backends")
@pytest.mark.parametrize(("call", "error", "message"), ROWS.values(), ids=ROWS)
def test_wrong_call(call, error, message):
    check_error(call, error, message)


@pytest.mark.usefixtures("fake_backends")
def test_unavailable_backends_are_listed_as_such():
    assert "numpy" in seqsolve.available_backends()
    assert not {"broken", "hollow"} & set(seqsolve.available_backends())
    status = seqsolve.backend_status("broken")
    assert not status.available
    assert "no driver found" in status.reason


# Before any work

EARLY = {
    "window": {"window": 0},
    "maxiter": {"maxiter": 0},
    "damping": {"damping": 1.0},
    "rtol": {"rtol": -1.0},
    "atol": {"atol": [1.0, 2.0]},
    "linear_solver": {"linear_solver": "lu"},
    "on_failure": {"on_failure": "ignore"},
    "callback": {"callback": 1},
    "progress": {"progress": "yes"},
    "initial_guess": {"initial_guess": np.zeros((5, 3))},
    "complex guess": {"initial_guess": np.broadcast_to(0j, (LONG, 3))},
    "out": {"out": np.empty((5, 3))},
    "out's dtype": {"out": np.broadcast_to(0, (LONG, 3))},
    "jac_structure": {"jac_structure": "sparse"},
    "jac": {"jac": lambda y, x: np.ones((*y.shape[:-1], 5))},
    "jac complex": {"jac": lambda y, x: 1j * y},
    "blocks": {"jac": "cs", "jac_structure": "block_diagonal"},
    "f": {"f": lambda y, x: y[..., :2]},
    "f that mixes steps": {"f": lambda y, x: y - y.mean(axis=0) + x + 1},
    "y0": {"y0": [np.nan, 0, 0]},
    "backend": {"backend": "jax"},
}


@pytest.mark.parametrize("changes", EARLY.values(), ids=EARLY)
def test_bad_input_raises_before_any_work(changes):
    counted = Counted(changes.get("f", f))
    changes = {"x": np.broadcast_to(1.0, (LONG, 3)), **changes, "f": counted}
    with pytest.raises((TypeError, ValueError)):
        deer(**changes)()
    assert counted.calls <= 4
    assert counted.points <= 5


@pytest.mark.parametrize(
    "changes",
    [{"maxiter": 0}, {"on_failure": "ignore"}, {"out": np.empty(3)}, {"callback": 1}, {"rtol": -1}],
)
def test_bad_input_raises_before_any_sweep(changes):
    positions = []

    def counted(s, rows):
        positions.append(len(range(*rows.indices(LONG))))
        return np.zeros((positions[-1], 1))

    with pytest.raises((TypeError, ValueError), match=f"`{next(iter(changes))}`"):
        seqsolve.jacobi(counted, np.zeros((LONG, 1)), **changes)
    assert sum(positions) <= 5
