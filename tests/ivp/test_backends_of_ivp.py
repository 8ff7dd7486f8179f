"""`solve_ivp` and its gradients on every backend, with arrays that are no NumPy arrays."""

from __future__ import annotations

import loopback
import numpy as np
import pytest
from support.backends import ON_GPU

import seqsolve
from seqsolve import solve_ivp
from seqsolve.ivp import Batched, Signal, vjp

TIMES = np.linspace(0, 2, 5)
SAMPLES = np.linspace(0, 2, 21)
NAMES = [
    name
    for name in ("numpy", "numba", "loopback")
    if seqsolve.backend_status(name).available and name not in ON_GPU
]


def forced(t, y, rate, gain, force):
    if isinstance(y, np.ndarray):
        return [y[1], -rate * np.sin(y[0]) - gain * y[1] + force]
    return [y[1], -(rate * np.sin(y[0])) - y[1] * gain + force]


def weighted(t, y, W):
    return np.tanh(np.tensordot(W, y, 1))


def weighted_vjp(t, y, w, W):
    slope = w * (1 - np.tanh(np.tensordot(W, y, 1)) ** 2)
    return (np.tensordot(slope, y, ((1,), (1,))),)


def moved(backend, a):
    return seqsolve.get_backend(backend).asarray(a)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["RK45", "DOP853", "Radau", "Trapezoid", "DEER"])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_results_and_gradients_are_those_of_numpy(name, method, batch):
    rng = np.random.default_rng(0)
    y0 = rng.uniform(0.5, 1, (2, *batch))
    rate = Batched(rng.uniform(0.5, 2, batch)) if batch else 1.3
    loose = {"rtol": 1e-3, "atol": 1e-5} if method in ("Trapezoid", "DEER") else {"rtol": 1e-6}

    def run(backend):
        at = (lambda a: a) if backend is None else (lambda a: moved(backend, a))
        mine = Batched(at(rate.values)) if batch else rate
        force = Signal(at(SAMPLES), at(np.cos(SAMPLES)), "cubic")
        args = (mine, 0.2, force)
        result = solve_ivp(
            forced, (0, 2), at(y0), method, TIMES, args=args, backend=backend, **loose
        )
        g = np.cos(np.arange(result.y.size)).reshape(result.y.shape)
        return result, vjp(result, at(g))

    here, gradient = run(None)
    there, moved_gradient = run(name)
    kind = seqsolve.get_backend(name)
    assert type(there.y) is type(moved_gradient.y0) is type(moved(name, y0))
    # Iterations end at a part of the tolerance; there the last digits of backends differ.
    np.testing.assert_allclose(kind.to_numpy(there.y), here.y, rtol=0.1 * loose["rtol"])
    np.testing.assert_allclose(kind.to_numpy(there.t), here.t)
    np.testing.assert_allclose(kind.to_numpy(moved_gradient.y0), gradient.y0, rtol=1e-4)
    for a, b in zip(moved_gradient.args, gradient.args, strict=True):
        a = kind.to_numpy(a) if np.ndim(b) else a
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_the_backend_follows_the_arrays():
    y0 = loopback.asarray([1.0, 0.5])
    W = loopback.asarray([[-1.0, 0.5], [0.2, -0.7]])
    for start in (y0, [1.0, 0.5]):
        result = solve_ivp(weighted, (0, 1), start, args=(W,), rtol=1e-8, atol=1e-10)
        assert isinstance(result.y, loopback.Array)
    g = loopback.asarray(np.ones(result.y.shape))
    exact, differenced = vjp(result, g, weighted_vjp).args[0], vjp(result, g).args[0]
    assert isinstance(exact, loopback.Array)
    np.testing.assert_allclose(exact.get(), differenced.get(), rtol=1e-6)


@pytest.mark.parametrize("shape", [(2,), (2, 2)])
def test_events_and_functions_that_do_not_broadcast(shape):
    def fun(t, y):
        assert isinstance(y, loopback.Array)
        return [float(y[1]), -1.0] if y.ndim == 1 else [[1.0]]

    def ground(t, y):
        return y[0]

    ground.terminal, ground.direction = True, -1
    y0 = np.ones(shape)
    result = solve_ivp(fun, (0, 9), loopback.asarray(y0), events=ground, dense_output=True)
    assert np.all(result.success)
    times = result.t_events[0] if len(shape) == 1 else result.t_events[0][0]
    np.testing.assert_allclose(times, [1 + 3**0.5], rtol=1e-9)
    assert result.sol(1.0).shape == shape


def test_algebraic_equations():
    result = solve_ivp(
        lambda t, y: [y[1], y[0] ** 2 + y[1] ** 2 - 1], (0, 1), loopback.asarray([0.0, 1.0]),
        "Radau", mass=[1, 0], rtol=1e-6,
    )  # fmt: skip
    np.testing.assert_allclose(result.y.get()[:, -1], [np.sin(1), np.cos(1)], rtol=1e-5)


@pytest.mark.parametrize(
    "method", ["RK23", "RK45", "DOP853", "RK4", "Radau", "Trapezoid", "ImplicitEuler"]
)
def test_states_of_a_batch_stay_on_the_device(method, monkeypatch):
    """What travels in a round are sizes of steps and errors: a number for each trajectory.

    With an implicit method also which trajectories go on, in each iteration for the stages.
    """
    n, m, moved_bytes, downloads = 40, 30, [], []
    kind = type(seqsolve.get_backend("loopback"))
    up, down = kind.asarray, loopback.Array.get

    def asarray(self, a, dtype=None):
        if not isinstance(a, loopback.Array):
            moved_bytes.append(np.asarray(a).nbytes)
        return up(self, a, dtype)

    def get(self):
        moved_bytes.append(self.nbytes)
        downloads.append(self.nbytes)
        return down(self)

    y0 = loopback.asarray(np.random.default_rng(0).standard_normal((n, m)))
    W = loopback.asarray(np.eye(n, k=1) - 0.5 * np.eye(n))
    times = np.linspace(0, 3, 4)
    low_order = method in ("Trapezoid", "ImplicitEuler")
    tolerances = {"rtol": 1e-2, "atol": 1e-3} if low_order else {"rtol": 1e-6, "atol": 1e-9}
    options = {"t_eval": times, "args": (W,), **tolerances}
    monkeypatch.setattr(kind, "asarray", asarray)
    monkeypatch.setattr(loopback.Array, "get", get)
    result = solve_ivp(weighted, (0, 3), y0, method, **options)
    monkeypatch.undo()
    assert result.success.all()
    states = n * m * 8
    # The initial states come down once, for their checks, and three points are tried.
    assert sum(size >= states for size in moved_bytes) <= 2
    small = sum(size for size in moved_bytes if size < states)
    # One number comes down for each call of the function at most.
    assert len(downloads) < result.depth + 10
    rounds = result.depth if result.nlu else result.n_sequential
    assert small < (rounds + 10) * 10 * m * 8
    assert len(moved_bytes) < 9 * rounds + 60
    here = solve_ivp(weighted, (0, 3), y0.get(), method, **{**options, "args": (W.get(),)})
    np.testing.assert_allclose(result.y.get(), here.y, rtol=1e-9, atol=1e-11)


DEVICES = [n for n in ("loopback", "cupy") if seqsolve.backend_status(n).available]
CHAIN = np.eye(9, k=1) - np.diag(np.geomspace(1, 300, 9))


def stiff(t, y, W, identity):
    """Chained states, from slow to fast."""
    return np.tensordot(W, y, 1) - y**3 * 0.1


def stiff_jac(t, y, W, identity):
    if y.ndim == 1:
        return W - identity * (y * y * 0.3)
    return W[..., None] - identity[..., None] * (y * y * 0.3)


def for_one_point(fun):
    def checked(t, y, *args):
        assert y.ndim == 1
        return fun(t, y, *args)

    return checked


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize(
    "changed",
    [
        {"method": "Radau"},
        {"method": "Trapezoid", "rtol": 1e-3},
        {"method": "ImplicitEuler", "rtol": 1e-2},
        {"jac": stiff_jac},
        {"jac": CHAIN},
        {"jac": for_one_point(stiff_jac)},
        {"jac_sparsity": CHAIN},
        {"mass": np.append(np.ones(8), 0.5)},
        {"fun": for_one_point(stiff)},
        {"y0": 1 + 0.5j},
        {"n": 3},
    ],
    ids=lambda changed: "-".join(map(str, changed)),
)
def test_stiff_batches(name, changed):
    """Everything that an implicit method takes, on arrays that are not NumPy's."""
    changed = dict(changed)
    n = changed.pop("n", 9)
    start = changed.pop("y0", 1.0) * np.linspace(0.5, 1, 2 * n).reshape(n, 2)
    args = (CHAIN[:n, :n], np.eye(n))
    options = {"method": "Radau", "rtol": 1e-4, "t_eval": [0.02, 0.1], "dense_output": True}
    options = {"fun": stiff, "args": args, **options, **changed}
    here, there = (
        solve_ivp(t_span=(0, 0.1), y0=start, backend=backend, **options)
        for backend in ("numpy", name)
    )
    assert here.success.all()
    np.testing.assert_allclose(there.sol(0.05), here.sol(0.05), rtol=1e-7, atol=1e-9)
    got = seqsolve.get_backend(name).to_numpy(there.y)
    np.testing.assert_allclose(got, here.y, rtol=1e-7, atol=1e-9)
    assert there.n_sequential == here.n_sequential


def test_steps_that_cannot_be_made_do_not_disturb_others():
    """Trajectories that blow up, and matrices that are singular on the way."""
    start = np.concatenate([np.full((9, 1), 2.0), np.full((9, 1), -1.0)], axis=1)
    result = solve_ivp(lambda t, y: y**2, (0, 1), start, "Radau", backend="loopback", t_eval=[1])
    y = result.y.get()
    np.testing.assert_array_equal(result.success, [False, True])
    np.testing.assert_allclose(y[:, 0, 1], -0.5, rtol=1e-3)
    assert np.isnan(y[:, 0, 0]).all()


@pytest.mark.skipif(
    not seqsolve.backend_status("cupy").available, reason="neither CuPy nor its emulation"
)
@pytest.mark.parametrize("method", ["RK45", "DOP853", "RK4"])
def test_batches_on_cupy(method):
    rng = np.random.default_rng(0)
    y0, rate, times = rng.uniform(0.5, 1, (2, 3)), rng.uniform(0.5, 2, 3), np.linspace(0, 2, 5)
    options = {"rtol": 1e-6, "atol": 1e-9, "t_eval": times}

    def ground(t, y, rate, gain, force):
        return y[1] + 0.4

    ground.terminal = True
    force = Signal(SAMPLES, np.cos(SAMPLES))
    for events in (None, ground):
        here, there = (
            solve_ivp(
                forced, (0, 2), y0, method, args=(Batched(rate), 0.2, force), events=events,
                backend=backend, dense_output=True, **options,
            )
            for backend in ("numpy", "cupy")
        )  # fmt: skip
        got = seqsolve.get_backend("cupy").to_numpy(there.y)
        np.testing.assert_allclose(got, here.y, rtol=1e-8)
        np.testing.assert_allclose(there.sol(0.3), here.sol(0.3), rtol=1e-8)
        np.testing.assert_allclose(there.trajectory.y, here.trajectory.y, rtol=1e-6)


def test_bad_input():
    with pytest.raises(TypeError, match="`backend` must be a backend's name"):
        solve_ivp(lambda t, y: -y, (0, 1), [1.0], backend=3)
    result = solve_ivp(lambda t, y: -y, (0, 1), loopback.asarray([1.0]))
    with pytest.raises(ValueError, match="`cotangent` must have the shape"):
        vjp(result, loopback.asarray([1.0]))
