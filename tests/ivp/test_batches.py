"""Many trajectories in one call: each is what it is alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp as scipys
from scipy.linalg import expm
from support.odes import lotka_volterra, pendulum, van_der_pol

from seqsolve import ConvergenceWarning, solve_ivp
from seqsolve.ivp import METHODS, Batched, Signal, vjp
from seqsolve.ivp._arguments import Arguments
from seqsolve.ivp._batch import integrate_batch

TIGHT = {"rtol": 1e-8, "atol": 1e-10}
TIMES = np.linspace(0, 5, 11)
RATES = np.array([[1.0, 1.5, 0.5], [0.7, 1.2, 2.0]])


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.mark.parametrize("method", METHODS)
def test_every_trajectory_meets_its_tolerance(method, rng):
    y0 = rng.uniform(-1, 1, (2, 7))
    rtol = 1e-6 if METHODS[method].order > 2 else 1e-3
    result = solve_ivp(pendulum, (0, 5), y0, method, TIMES, rtol=rtol, atol=rtol)
    assert result.y.shape == (2, 11, 7)
    assert result.success.shape == (7,)
    assert result.success.all()
    steps = np.bincount(result.trajectory.lane)
    for i in range(7):
        exact = scipys(pendulum, (0, 5), y0[:, i], "DOP853", TIMES, rtol=1e-12, atol=1e-12).y
        np.testing.assert_allclose(result.y[..., i], exact, atol=3 * steps[i] * rtol)


@pytest.mark.parametrize("method", ["RK45", "DOP853", "Radau"])
@pytest.mark.parametrize("span", [(0, 5), (5, 0)])
def test_steps_are_those_of_a_trajectory_alone(method, span, rng):
    """No trajectory's steps depend on the others, on their order, or on their number."""
    y0 = rng.uniform(1, 4, (2, 6))
    problem = {"fun": lotka_volterra, "t_span": span, "method": method, "rtol": 1e-6}
    alone = [solve_ivp(y0=y0[:, i : i + 1], **problem).trajectory for i in range(6)]
    together = solve_ivp(y0=y0[:, ::-1].reshape(2, 3, 2), **problem)
    assert together.y.shape == (2, 2, 3, 2)
    np.testing.assert_array_equal(together.t, span)
    for i in range(6):
        mine = together.trajectory.lane == 5 - i
        np.testing.assert_allclose(together.trajectory.t[mine], alone[i].t, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(together.trajectory.y[mine], alone[i].y, rtol=1e-6)


def test_trajectories_that_take_very_different_steps():
    mu = np.array([0.1, 1.0, 5.0, 100.0])

    def fun(t, y, mu):
        return [y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]]

    result = solve_ivp(
        fun, (0, 20), [2.0, 0.0], args=(Batched(mu),), method="Radau", rtol=1e-6, atol=1e-8
    )
    assert result.y.shape == (2, 2, 4)
    for i in range(4):
        exact = scipys(van_der_pol(mu[i]), (0, 20), [2, 0], "Radau", rtol=1e-8, atol=1e-10).y
        np.testing.assert_allclose(result.y[:, 1, i], exact[:, -1], rtol=1e-3, atol=1e-5)
    steps = np.bincount(result.trajectory.lane)
    assert steps.max() > 2 * steps.min()


def test_arguments_for_every_trajectory():
    """Batched ones of any shape, beside shared ones and signals."""
    t = np.linspace(0, 3, 31)
    gains = np.arange(12.0).reshape(2, 2, 3) / 10
    forces = np.sin(t)[:, None, None] * np.array([1.0, 2.0])[:, None] * np.ones(3)
    seen = set()

    def fun(t, y, rate, gain, shared, force, common):
        seen.add((np.shape(rate), np.shape(gain), np.shape(force), np.shape(common)))
        return [-rate * y[0] + gain[1] * y[1] + force, -shared * y[1] + gain[0] + common]

    y0 = np.array([1.0, 0.5])
    many = np.broadcast_to(y0[:, None, None], (2, 2, 3))
    args = (
        Batched(RATES),
        Batched(gains),
        0.3,
        Signal(t, Batched(forces), "cubic"),
        Signal(t, np.cos(t), "cubic"),
    )
    result = solve_ivp(fun, (0, 3), many, args=args, rtol=1e-9, atol=1e-11, t_eval=[1.0, 3.0])
    assert result.y.shape == (2, 2, 2, 3)
    assert all(a == c == d and b == (2, *a) for a, b, c, d in seen)
    for i, j in np.ndindex(2, 3):
        one = (RATES[i, j], gains[:, i, j], 0.3, Signal(t, forces[:, i, j], "cubic"), args[-1])
        alone = Arguments(one)
        exact = scipys(
            lambda t, y, alone=alone: fun(t, y, *alone.at(t, None)), (0, 3), y0, "DOP853",
            [1.0, 3.0], rtol=1e-9, atol=1e-11,
        )  # fmt: skip
        np.testing.assert_allclose(result.y[:, :, i, j], exact.y, atol=1e-5)


def test_functions_that_do_not_broadcast():
    import math

    def fun(t, y, rate):
        return [-rate * math.sin(y[0])]

    result = solve_ivp(fun, (0, 1), [[1.0, 2.0]], args=(Batched([1.0, 3.0]),), **TIGHT)
    for i, (y, rate) in enumerate(((1.0, 1.0), (2.0, 3.0))):
        exact = 2 * math.atan(math.tan(y / 2) * math.exp(-rate))
        assert result.y[0, 1, i] == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("method", ["RK45", "Radau"])
def test_large_meshes_are_not_kept_but_made_again(method, monkeypatch, rng):
    """Also of trajectories that an event ends, and of one that fails."""

    def far(t, y):
        return np.abs(y[0]) - 10

    far.terminal = True
    y0, calls = np.array([[0.5, 2.0, -1.0, 0.1, 3.0]]), []

    def fun(t, y):
        calls.append(t)
        return np.where(y > 2.9, y**2, y - 0.1)

    options = {"events": far, "t_eval": [1.0, 2.0], "rtol": 1e-6}
    kept = solve_ivp(fun, (0, 3), y0, method, **options)
    monkeypatch.setattr(integrate_batch, "__kwdefaults__", {"most": 100, "until": None})
    result = solve_ivp(fun, (0, 3), y0, method, **options)
    for a, b in ((result.y, kept.y), (result.nfev, kept.nfev), (result.status, kept.status)):
        np.testing.assert_array_equal(a, b)
    calls.clear()
    for name in ("t", "y", "lane"):
        a, b = (getattr(r.trajectory, name) for r in (result, kept))
        np.testing.assert_array_equal(a, b)
    assert calls
    calls.clear()
    assert result.trajectory.t.size
    assert not calls
    g = np.ones_like(kept.y)
    np.testing.assert_array_equal(vjp(result, g).y0, vjp(kept, g).y0)


def test_each_trajectory_says_whether_it_succeeded():
    """Those that blow up do not disturb the others."""
    y0 = np.array([[0.5, 2.0, -1.0, 1.0]])
    times = [0.0, 0.4, 0.9, 1.5]
    result = solve_ivp(lambda t, y: y**2, (0, 1.5), y0, t_eval=times, **TIGHT)
    np.testing.assert_array_equal(result.success, [True, False, True, False])
    np.testing.assert_array_equal(result.status, [0, -1, 0, -1])
    exact = y0[0] / (1 - np.outer(times, y0[0]))
    past = np.outer(times, y0[0]) >= 1
    np.testing.assert_array_equal(np.isnan(result.y[0]), past)
    np.testing.assert_allclose(result.y[0][~past], exact[~past], rtol=1e-5)
    assert "2 of 4 trajectories" in result.message
    with pytest.warns(ConvergenceWarning):
        gradient = vjp(result, np.ones_like(result.y))
    expected = 1 / (1 - np.outer(times, y0[0])) ** 2
    np.testing.assert_allclose(gradient.y0[0], np.where(past, 0, expected).sum(axis=0), rtol=1e-4)


def test_nan_is_no_success():
    y0 = np.array([[1.0, -1.0]])
    result = solve_ivp(lambda t, y: -np.sqrt(y), (0, 0.5), y0)
    np.testing.assert_array_equal(result.success, [True, False])
    assert np.isnan(result.y[0, 1, 1])


@pytest.mark.parametrize("broadcasts", [True, False])
def test_events(broadcasts):
    """A shot from many heights: it hits the ground at a time of its own, as SciPy finds it."""

    def ground(t, y, g):
        return y[0] if broadcasts or np.ndim(y) == 1 else float("x")

    def apex(t, y, g):
        return y[1]

    ground.terminal, ground.direction = True, -1
    speeds, gravity = np.array([3.0, 5.0, 10.0, 40.0]), np.array([10.0, 9.0, 8.0, 7.0])

    def fun(t, y, g):
        return [y[1], -g + 0 * y[0]]

    y0 = np.stack([np.ones(4), speeds])
    result = solve_ivp(
        fun, (0, 9), y0, events=[ground, apex], args=(Batched(gravity),), t_eval=[0.5, 9.0],
        dense_output=True,
    )  # fmt: skip
    np.testing.assert_array_equal(result.status, [1, 1, 1, 0])
    assert result.success.all()
    for i in range(4):
        theirs = scipys(
            fun, (0, 9), y0[:, i], events=[ground, apex], args=(gravity[i],), dense_output=True
        )
        for k in range(2):
            np.testing.assert_allclose(result.t_events[k][i], theirs.t_events[k], atol=1e-9)
            np.testing.assert_allclose(
                result.y_events[k][i].reshape(-1, 2), theirs.y_events[k].reshape(-1, 2), atol=1e-8
            )
        end = theirs.t[-1]
        inside = 0.9 * end
        np.testing.assert_allclose(result.sol(inside)[:, i], theirs.sol(inside), atol=1e-9)
        assert np.isnan(result.sol(9.0)[:, i]).all() == (end < 9)
        assert np.isnan(result.y[:, 1, i]).all() == (end < 9)


@pytest.mark.parametrize("method", ["RK45", "DOP853", "Radau"])
def test_dense_output(method, rng):
    y0 = rng.uniform(-1, 1, (2, 2, 2))
    result = solve_ivp(pendulum, (0, 5), y0, method, TIMES, dense_output=True, **TIGHT)
    np.testing.assert_allclose(result.sol(TIMES), result.y, rtol=1e-12, atol=1e-13)
    assert result.sol(1.0).shape == (2, 2, 2)
    t = np.array([0.123, 4.2])
    for i, j in np.ndindex(2, 2):
        exact = scipys(pendulum, (0, 5), y0[:, i, j], "DOP853", t, rtol=1e-12, atol=1e-12).y
        np.testing.assert_allclose(result.sol(t)[..., i, j], exact, atol=1e-5)
    assert result.sol([]).shape == (2, 0, 2, 2)
    outside = result.sol([-1.0, 0.0, np.nan, 5.0, 5.1])
    np.testing.assert_array_equal(np.isnan(outside).all(axis=(0, 2, 3)), [1, 0, 1, 0, 1])
    np.testing.assert_array_equal(outside[:, 1], y0)
    with pytest.raises(ValueError, match="1-D"):
        result.sol(np.zeros((2, 2)))


@pytest.mark.parametrize("method", ["RK4", "RK45", "DOP853", "Radau", "Trapezoid"])
def test_gradients(method, rng):
    """Those of the batch are those of its trajectories, and shared arguments add up."""
    y0 = rng.uniform(1, 3, (2, 2, 3))
    times, span = [0.4, 1.0, 2.0], (0, 2)
    options = {"rtol": 1e-5, "atol": 1e-7}

    def args(i=...):
        return Batched(RATES) if i is ... else RATES[i], 1.0, 3.0, 1.0

    result = solve_ivp(lotka_volterra, span, y0, method, times, args=args(), **options)
    g = rng.standard_normal(result.y.shape)
    gradient = vjp(result, g)
    assert gradient.y0.shape == y0.shape
    assert gradient.args[0].shape == RATES.shape
    shared = np.zeros(3)
    for i in np.ndindex(2, 3):
        at = (slice(None), slice(None), *i, None)
        one = solve_ivp(
            lotka_volterra, span, y0[(slice(None), *i, None)], method, times, args=args(i),
            **options,
        )  # fmt: skip
        np.testing.assert_allclose(one.y, result.y[at], rtol=1e-9)
        alone = vjp(one, g[at])
        np.testing.assert_allclose(gradient.y0[(slice(None), *i)], alone.y0[:, 0], rtol=1e-5)
        assert gradient.args[0][i] == pytest.approx(alone.args[0], rel=1e-5)
        shared += alone.args[1:]
    np.testing.assert_allclose(gradient.args[1:], shared, rtol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "cubic"])
def test_gradients_of_signals(kind, rng):
    """One signal for each trajectory, beside one that all share: linear in both."""
    t, y0 = np.linspace(0, 2, 6), np.ones((1, 2, 3))
    own, shared = rng.standard_normal((6, 2, 3)), rng.standard_normal(6)

    def solve(own, shared, **options):
        args = (Signal(t, Batched(own), kind), Signal(t, shared, kind))
        return solve_ivp(
            lambda t, y, u, v: u + v * y, (0, 2), y0, t_eval=[1.0, 2.0], args=args, **options
        )

    result = solve(own, shared, rtol=1e-7, atol=1e-9)
    g = rng.standard_normal(result.y.shape)
    gradient = vjp(result, g).args
    assert [a.shape for a in gradient] == [own.shape, shared.shape]
    tight, eps = {"rtol": 1e-11, "atol": 1e-13}, 1e-3
    directions = rng.standard_normal(own.shape), rng.standard_normal(shared.shape)
    high, low = (
        solve(own + e * directions[0], shared + e * directions[1], **tight).y for e in (eps, -eps)
    )
    forward = (g * (high - low)).sum() / (2 * eps)
    backward = sum((a * d).sum() for a, d in zip(gradient, directions, strict=True))
    assert backward == pytest.approx(forward, rel=1e-4)


def test_complex_states_and_endless_intervals():
    A, y0 = np.array([[1j, 0.2], [0.1, -0.5]]), np.array([[1, 2j], [0.5, 1]])
    result = solve_ivp(lambda t, y: np.tensordot(A, y, 1), (0, 1), y0, **TIGHT)
    np.testing.assert_allclose(result.y[:, 1], expm(A) @ y0, rtol=1e-6)

    def level(t, y):
        return y[0] - 0.1

    level.terminal = True
    result = solve_ivp(lambda t, y: -y, (0, np.inf), np.array([[1.0, 2.0]]), events=level, **TIGHT)
    np.testing.assert_array_equal(result.status, 1)
    np.testing.assert_allclose(np.concatenate(result.t_events[0]), np.log([10, 20]), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"args": (Batched([1.0, 2.0]),)}, ValueError, r"`args\[0\]` must have the batch's shape"),
        ({"args": (Batched("ab"),)}, TypeError, r"`args\[0\].values` must be an array of numbers"),
        (
            {"args": (Batched(1.0),), "y0": [1.0]},
            ValueError,
            r"not empty; got 1.0",
        ),
        ({"args": (Batched([]),), "y0": [1.0]}, ValueError, r"not empty; got \[\]"),
        ({"t_span": (0, np.inf)}, ValueError, "`t_span` must end with a finite number where no"),
        ({"args": (Signal([0, 1], Batched(np.ones((3, 2)))),)}, ValueError, "batch's shape"),
        ({"args": (Signal([0, 1], Batched(np.ones((4, 3)))),)}, ValueError, "2 samples"),
        ({"y0": np.ones((2, 0)), "args": None}, ValueError, "not empty"),
    ],
)
def test_bad_input(change, error, match):
    arguments = {"t_span": (0, 1), "y0": np.ones((2, 3)), "args": None, **change}
    with pytest.raises(error, match=match):
        solve_ivp(lambda t, y, *_: -y, **arguments)


def test_no_interval():
    result = solve_ivp(pendulum, (3, 3), np.ones((2, 4)))
    assert result.success.all()
    np.testing.assert_array_equal(result.y, np.ones((2, 1, 4)))
