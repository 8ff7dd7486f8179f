"""Wrong calls: what is wrong, what came instead, and all of that before any work."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
from support.steps import Counted

import seqsolve
from seqsolve import _registry
from seqsolve.step import ArrayStep, StepCotangents

LONG = 10**6


def f(y, x):
    return 0.5 * y + x


def jac(y, x):
    return np.full_like(y, 0.5)


def arguments(**changes):
    """The arguments of a right call, but for some."""
    call = {"f": f, "jac": jac, "x": np.ones((6, 3)), "y0": np.zeros(3), **changes}
    return (call.pop("f"), call.pop("jac"), call.pop("x"), call.pop("y0")), call


def deer(**changes):
    positional, named = arguments(**changes)
    return lambda: seqsolve.deer(*positional, **named)


def sequential(**changes):
    (f, _, x, y0), named = arguments(**changes)
    return lambda: seqsolve.sequential(f, x, y0, **named)


def recurrence(A=None, b=None, y0=None, **named):
    A = np.ones((6, 3)) if A is None else A
    b = np.ones((6, 3)) if b is None else b
    return lambda: seqsolve.linear_recurrence(A, b, y0, **named)


def h(s, rows):
    return 0.5 * np.concatenate([np.ones_like(s[:1]), s[:-1]])[rows]


def sweeps(solver="jacobi", h=h, guess=None, **named):
    guess = np.zeros((6, 3)) if guess is None else guess
    return lambda: getattr(seqsolve, solver)(h, guess, **named)


def gradient(cotangent=None, step=None, **changes):
    def call():
        positional, named = arguments(**changes)
        f, *rest = positional
        solution = seqsolve.deer(step or f, *rest, **named)
        return seqsolve.vjp(solution, np.ones((6, 3)) if cotangent is None else cotangent)

    return call


def step(vjp):
    return ArrayStep(f, jac=jac, vjp=vjp)


def read_only(shape):
    a = np.empty(shape)
    a.flags.writeable = False
    return a


BATCH = {"y0": np.zeros((2, 3)), "x": np.ones((6, 2, 3))}
WEIGHTS = np.arange(9.0).reshape(3, 3) / 20
ROWS = {
    # The step function
    "f None": (deer(f=None), TypeError, "`f` must be callable; got None"),
    "f a string": (sequential(f="tanh"), TypeError, "`f` must be callable; got 'tanh'"),
    "f returns None": (deer(f=lambda y, x: None), TypeError, "`f` must .*numbers; got None"),
    "f returns a string": (deer(f=lambda y, x: "no"), TypeError, "`f` must .*numbers; got 'no'"),
    "f returns a scalar": (
        deer(f=lambda y, x: 1.0),
        ValueError,
        r"`f` must return .* shape of `y_prev`, \(1, 3\); got \(\)",
    ),
    "f drops the state's axis": (
        deer(f=lambda y, x: y[..., 0]),
        ValueError,
        r"`f` must return .*\(1, 3\); got \(1,\)",
    ),
    "f drops the time": (
        sequential(f=lambda y, x: y[0]),
        ValueError,
        r"`f` must return .*\(1, 3\); got \(3,\)",
    ),
    "f returns another size": (
        deer(f=lambda y, x: y[..., :2]),
        ValueError,
        r"`f` must return .*\(1, 3\); got \(1, 2\)",
    ),
    "f returns ragged lists": (deer(f=lambda y, x: [[1, 2], [3]]), (TypeError, ValueError), "`f`"),
    "f returns objects": (
        deer(f=lambda y, x: (0.5 * y).astype(object)),
        TypeError,
        "`f` .*object",
    ),
    "f takes one argument": (deer(f=lambda y: y), TypeError, "positional argument"),
    "f sums over time": (
        deer(f=lambda y, x: y - y.mean(axis=0) + x + 1),
        ValueError,
        "`f` must treat every step and every sequence on its own.*first two steps together",
    ),
    "f sums over sequences": (
        deer(f=lambda y, x: y - y.mean(axis=-2, keepdims=True), **{**BATCH, "y0": np.eye(3)[:2]}),
        ValueError,
        "`f` must treat .* on its own.*all sequences together",
    ),
    "f closes over the whole input": (
        deer(f=lambda y, x: y + np.arange(6.0)[:, None], x=None, n_steps=6),
        ValueError,
        r"`f` must return .*\(1, 3\); got \(6, 3\)",
    ),
    "f takes the first step for all": (
        deer(f=lambda y, x: np.array([WEIGHTS @ y[0]]) + x),
        ValueError,
        "`f` must treat .* on its own.*first two steps together",
    ),
    "f takes the last step for all": (
        deer(f=lambda y, x: np.array([WEIGHTS @ y[-1]]) + x),
        ValueError,
        "`f` must treat .* on its own.*first two steps together",
    ),
    "f takes the first sequence for all": (
        deer(f=lambda y, x: 0.5 * y[:, :1] + x, **{**BATCH, "y0": np.eye(3)[:2]}),
        ValueError,
        "`f` must treat .* on its own.*all sequences together",
    ),
    "f takes the last sequence for all": (
        deer(f=lambda y, x: 0.5 * y[:, -1:] + x, **{**BATCH, "y0": np.eye(3)[:2]}),
        ValueError,
        "`f` must treat .* on its own.*all sequences together",
    ),
    "f mixes sequences that begin alike": (
        deer(
            f=lambda y, x: 0.5 * y[:, -1:] + x,
            x=np.random.default_rng(0).normal(size=(6, 2, 3)),
            y0=np.zeros((2, 3)),
        ),
        ValueError,
        "`f` must treat .* on its own.*all sequences together",
    ),
    "f is random": (
        deer(f=lambda y, x: np.random.default_rng().normal(size=y.shape)),
        ValueError,
        "`f` must treat",
    ),
    # The input
    "x a scalar": (deer(x=1.0), ValueError, r"`x` must have a leading axis of n_steps; .*1\."),
    "x a string": (deer(x="abc"), (TypeError, ValueError), "`x` must .*abc"),
    "x of objects": (deer(x=np.array([{}] * 6)), TypeError, "`x` must .*object"),
    "x of strings": (deer(x=np.array(["a"] * 6)), TypeError, "`x` must .*numbers; got <U1"),
    "x a set": (deer(x={1, 2}), (TypeError, ValueError), "`x` must"),
    "x None without n_steps": (deer(x=None), ValueError, "`n_steps` must be given .*`x` is None"),
    "x empty without n_steps": (deer(x=()), ValueError, "`n_steps` must be given"),
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
    "y0 of strings": (deer(y0=["a"] * 3), TypeError, "`y0` must .*dtypes .*got str"),
    "y0 None": (deer(y0=None), TypeError, "`y0` must .*None|`y0` must .*object"),
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
    # The Jacobian
    "jac a number": (deer(jac=0.5), TypeError, r"`jac` must be callable; got 0\.5"),
    "jac an unknown scheme": (
        deer(jac="autodiff"),
        ValueError,
        "`jac` must be one of 'cs', '2-point', '3-point'; got 'autodiff'",
    ),
    "jac an array": (deer(jac=np.eye(3)), TypeError, "`jac` must be callable"),
    "jac the class": (deer(jac=seqsolve.Hutchinson), (TypeError, ValueError), "`jac`"),
    "jac returns another shape": (
        deer(jac=lambda y, x: np.ones((*y.shape[:-1], 3, 2))),
        ValueError,
        r"`jac` must return \(…, 3\), \(…, h, k, k\) or \(…, 3, 3\); got \(1, 3, 2\)",
    ),
    "jac returns one matrix": (
        deer(jac=lambda y, x: 0.5 * np.eye(3)),
        ValueError,
        r"`jac` must return .*got \(3, 3\)",
    ),
    "jac returns a scalar": (deer(jac=lambda y, x: 0.5), ValueError, r"`jac` must return .*\(\)"),
    "jac returns None": (
        deer(jac=lambda y, x: None),
        TypeError,
        "`jac` must return an array of numbers; got None",
    ),
    "jac returns blocks that do not fit": (
        deer(jac=lambda y, x: np.ones((*y.shape[:-1], 2, 2, 2))),
        ValueError,
        r"`jac` must return .*\(1, 2, 2, 2\)",
    ),
    "jac complex for a real state": (
        deer(jac=lambda y, x: 0.5j * np.ones_like(y)),
        TypeError,
        "`jac` must be real for a real state; got complex128",
    ),
    "jac changes its structure": (
        deer(jac=lambda y, x: jac(y, x) if len(y) == 1 else jac(y, x)[..., None] * np.eye(3)),
        ValueError,
        r"`jac` must return one structure throughout: diagonal .* dense \(shape \(6, 3, 3\)\)",
    ),
    "jac raises": (deer(jac=lambda y, x: y @ np.ones((4, 4))), ValueError, "matmul"),
    "complex step of a complex state": (
        deer(jac="cs", y0=np.zeros(3, complex)),
        ValueError,
        "`jac` must not be 'cs' for a complex state.*complex128",
    ),
    "Hutchinson without products": (
        lambda: seqsolve.Hutchinson(products=0),
        ValueError,
        "`products` must be at least 1; got 0",
    ),
    "Hutchinson with a float": (
        lambda: seqsolve.Hutchinson(seed=0.5),
        TypeError,
        r"`seed` must be an integer; got 0\.5",
    ),
    "Hutchinson with dense structure": (
        deer(jac=seqsolve.Hutchinson(), jac_structure="dense"),
        ValueError,
        "`jac_structure` must be 'diagonal' .* with Hutchinson.*dense",
    ),
    "jac_structure nonsense": (
        deer(jac_structure="sparse"),
        ValueError,
        "`jac_structure` must be one of 'diagonal', 'block_diagonal', 'dense'; got 'sparse'",
    ),
    "jac_structure a number": (
        deer(jac_structure=2),
        TypeError,
        r"`jac_structure` must be .*BlockDiagonal\(block_size\) or None; got 2",
    ),
    "blocks that do not divide": (
        deer(jac_structure=seqsolve.BlockDiagonal(2)),
        ValueError,
        "`jac_structure` must have a block size that divides .*3 elements; got 2",
    ),
    "blocks of zero": (
        lambda: seqsolve.BlockDiagonal(0),
        ValueError,
        "`block_size` must be at least 1; got 0",
    ),
    "blocks of unknown size": (
        deer(jac="cs", jac_structure="block_diagonal"),
        ValueError,
        r"`jac_structure` must give the block size .*'cs'.*BlockDiagonal",
    ),
    "blocks of another size than jac's": (
        deer(
            jac=lambda y, x: np.zeros((*y.shape[:-1], 2, 2, 2)),
            jac_structure=seqsolve.BlockDiagonal(4),
            x=np.ones((6, 4)),
            y0=np.zeros(4),
        ),
        ValueError,
        "`jac_structure` asks for blocks of 4; `jac` returns blocks of 2",
    ),
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
    "rtol an array": (deer(rtol=np.ones(3)), TypeError, "`rtol` must be a real number"),
    "atol negative": (deer(atol=-1.0), ValueError, r"`atol` must be finite and at least 0.*-1\.0"),
    "atol infinite": (deer(atol=np.inf), ValueError, "`atol` must be finite.*inf"),
    "atol of another length": (
        deer(atol=[1e-3, 1e-3]),
        ValueError,
        r"`atol` must be a scalar or have shape \(3,\); got \(2,\)",
    ),
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
    "guess a scalar": (
        deer(initial_guess=0.0),
        ValueError,
        r"`initial_guess` must have shape \(6, 3\); got \(\)",
    ),
    "guess of strings": (
        deer(initial_guess=np.full((6, 3), "a")),
        TypeError,
        "`initial_guess` must .*got str",
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
    "out a list": (deer(out=[[0] * 3] * 6), ValueError, r"`out` must be an array .*got .*\(list\)"),
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
    # Linear recurrences
    "b without a state": (
        recurrence(A=np.ones(6), b=np.ones(6)),
        ValueError,
        r"`b` must have shape \(n_steps, \*batch, n_state\); got \(6,\)",
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
        r"`A` must have shape .*got \(3,\)",
    ),
    "A of strings": (recurrence(A=[["a"] * 3] * 6), TypeError, "`A` must .*got str"),
    "b of objects": (recurrence(b=np.full((6, 3), None)), TypeError, "`b` must .*got object"),
    "b None": (
        lambda: seqsolve.linear_recurrence(np.ones((6, 3)), None),
        TypeError,
        "`b` must .*object",
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
    "backend of a recurrence": (
        recurrence(backend="broken"),
        seqsolve.BackendUnavailableError,
        "no driver found",
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
    "cotangent of strings": (gradient([["a"] * 3] * 6), TypeError, "`cotangent` must .*got str"),
    "vjp returns a tuple": (
        gradient(step=step(lambda y, x, lam: (lam, lam, None))),
        TypeError,
        "`vjp` must return StepCotangents; got tuple",
    ),
    "vjp returns another shape": (
        gradient(step=step(lambda y, x, lam: StepCotangents(lam[..., :2], lam, None))),
        ValueError,
        r"`vjp` must return a cotangent of `y_prev` of shape \(6, 3\); got \(6, 2\)",
    ),
    "vjp returns another shape for x": (
        gradient(step=step(lambda y, x, lam: StepCotangents(0.5 * lam, lam.sum(0), None))),
        ValueError,
        r"`vjp` must return a cotangent of `x` of shape \(6, 3\); got \(3,\)",
    ),
    "vjp returns another tree for x": (
        gradient(step=step(lambda y, x, lam: StepCotangents(0.5 * lam, {"a": lam}, None))),
        ValueError,
        r"`vjp` must return cotangents of x; got x\['a'\]",
    ),
    "exponent of an array": (
        lambda: seqsolve.lyapunov_exponent(np.ones((6, 3))),
        TypeError,
        "`solution` must be a Solution; got ndarray",
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
    with pytest.raises(error) as caught:
        call()
    text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert re.search(message, text, re.DOTALL), text


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
        return 0.5 * s[rows]

    with pytest.raises((TypeError, ValueError)):
        seqsolve.jacobi(counted, np.zeros((LONG, 1)), **changes)
    assert sum(positions) <= 4


# The user's own errors


@pytest.mark.parametrize("solver", ["deer", "sequential", "triangular_map"])
def test_errors_of_the_step_function_say_what_it_was_called_with(solver):
    def broken(y, x):
        raise ZeroDivisionError("mine")

    call = {
        "deer": lambda: seqsolve.deer(broken, None, {"u": np.ones((6, 2))}, np.zeros(3)),
        "sequential": lambda: seqsolve.sequential(broken, {"u": np.ones((6, 2))}, np.zeros(3)),
        "triangular_map": lambda: seqsolve.triangular_map(
            broken, {"u": np.ones((6, 2))}, np.zeros(3)
        ),
    }[solver]
    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        call()
    (note,) = caught.value.__notes__
    assert "seqsolve called `f` with an array of shape (1, 3), {'u': an array of shape" in note
    assert "broadcast over every leading axis" in note


def test_errors_late_in_a_sequence_say_so_too():
    def late(y, x):
        if (x > 4).any():
            raise ZeroDivisionError("mine")
        return 0.5 * y

    x = np.arange(10.0)[:, None]
    for call in (
        lambda: seqsolve.deer(late, "2-point", x, [1.0], window=3),
        lambda: seqsolve.deer(late, "2-point", x, [1.0], window=1),
        lambda: seqsolve.sequential(late, x, [1.0]),
    ):
        with pytest.raises(ZeroDivisionError, match="mine") as caught:
            call()
        assert "seqsolve called `f`" in caught.value.__notes__[0]


def late_change(change):
    def changed(y, x):
        new = 0.5 * y + x
        return change(new) if (x == 5).any() else new

    return changed


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda y: y + 1j, TypeError, "`f` must stay real, as at the first step; got complex128"),
        (lambda y: y[..., :1], ValueError, r"`f` must return .*got \(\d, 1\)"),
        (lambda y: None, TypeError, "`f` must return an array of numbers; got None"),
    ],
    ids=["complex", "shape", "None"],
)
def test_steps_that_change_their_mind(window, change, error, message):
    x = np.broadcast_to(np.arange(10.0)[:, None], (10, 3))
    call = deer(f=late_change(change), x=x, window=window)
    with pytest.raises(error, match=message):
        call()


def test_jacobian_errors_carry_a_note():
    def broken(y, x):
        raise KeyError("mine")

    with pytest.raises(KeyError) as caught:
        deer(jac=broken)()
    assert "seqsolve called `jac` with an array of shape (1, 3)" in caught.value.__notes__[0]
