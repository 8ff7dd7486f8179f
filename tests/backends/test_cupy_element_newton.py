"""Newton's method fused with element steps on the CuPy backend: iterates, repair, stopping.

Blocks are small, so that short sequences are many tiles, and the scheduler of the emulation
interleaves them.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.emulation import reason_not_to_emulate

pytestmark = [pytest.mark.gpu] if reason_not_to_emulate() else []
cupy = pytest.importorskip("cupy", reason=reason_not_to_emulate() or "CuPy is not installed")
cuda_host = pytest.importorskip("cuda_host", reason="these tests set the emulation's scheduler")

import seqsolve  # noqa: E402
from seqsolve import BlockDiagonal, Status, element_step  # noqa: E402
from seqsolve.models import GRU, MultiHeadGRU  # noqa: E402
from seqsolve.testing import _oracle  # noqa: E402
from seqsolve_cupy.element import newton, windows  # noqa: E402
from seqsolve_cupy.element.program import Program  # noqa: E402
from seqsolve_cupy.element.steps import ElementSteps  # noqa: E402
from seqsolve_cupy.plans import Tiles  # noqa: E402

PLANS = {
    "tiles": Tiles(1, 32, reach=2),
    "two lanes": Tiles(2, 32, reach=2),
    "lanes and warps": Tiles(8, 64, reach=3),
    "all lanes": Tiles(16, 64, reach=2),
}


def dense(y_prev, x, params, y_out):
    (W,) = params
    for i in range(len(y_prev)):
        total = x[i]
        for j in range(len(y_prev)):
            total += W[i, j] * y_prev[j]
        y_out[i] = math.tanh(total)


def dense_jac(y_prev, x, params, jac_out):
    (W,) = params
    for i in range(len(y_prev)):
        total = x[i]
        for j in range(len(y_prev)):
            total += W[i, j] * y_prev[j]
        t = math.tanh(total)
        for j in range(len(y_prev)):
            jac_out[i, j] = W[i, j] * (1.0 - t * t)


def blocks(y_prev, x, params, y_out):
    for head in range(len(y_prev) // 2):
        a, b = y_prev[2 * head], y_prev[2 * head + 1]
        y_out[2 * head] = 0.4 * math.sin(a + b) + x[head]
        y_out[2 * head + 1] = 0.5 * a * math.cos(b)


def blocks_jac(y_prev, x, params, jac_out):
    for head in range(len(y_prev) // 2):
        a, b = y_prev[2 * head], y_prev[2 * head + 1]
        jac_out[head, 0, 0] = jac_out[head, 0, 1] = 0.4 * math.cos(a + b)
        jac_out[head, 1, 0] = 0.5 * math.cos(b)
        jac_out[head, 1, 1] = -0.5 * a * math.sin(b)


def logistic(y_prev, x, params, y_out):
    y_out[0] = params[0] * y_prev[0] * (1.0 - y_prev[0])


def logistic_jac(y_prev, x, params, jac_out):
    jac_out[0] = params[0] * (1.0 - 2.0 * y_prev[0])


def squares(y_prev, x, params, y_out):
    y_out[0] = y_prev[0] * y_prev[0] + x[0]


def squares_jac(y_prev, x, params, jac_out):
    jac_out[0] = 2.0 * y_prev[0]


def cell(kind, dtype="float64"):
    """Return a step, and the shape of its input."""
    rng = np.random.default_rng(0)
    if kind.startswith("dense"):
        n = int(kind[-1])
        W = rng.uniform(-1, 1, (n, n)).astype(dtype)
        return element_step(dense, dense_jac, n_state=n, params={"W": W}), (n,)
    if kind == "blocks":
        structure = BlockDiagonal(2)
        return element_step(blocks, blocks_jac, n_state=6, jac_structure=structure), (3,)
    return element_step(squares, squares_jac, n_state=1, jac_structure="diagonal"), (1,)


def solve(step, x, y, *, guessed=True, rtol=0.0, atol=1e-9, maxiter=100, scale=1.0, window=None):
    """Call the kernels on a copy of `y`; return it, and the outcome."""
    step = step.with_params({name: cupy.asarray(p) for name, p in step.params.items()})
    x = None if x is None else cupy.asarray(x)
    states = cupy.asarray(y)
    outcome = newton.newton_windows(
        Program(step, x, y.dtype),
        x,
        step.params,
        states,
        guessed=guessed,
        rtol=rtol,
        atol=cupy.full(y.shape[2], atol),
        maxiter=maxiter,
        scale=scale,
        window=window or len(y) - 1,
    )
    return states.get(), outcome


def reference(step, x, y, *, guessed=True, atol=1e-9, maxiter=100, scale=1.0, window=None):
    """The same by loops: what `FusedSteps.newton_windows` promises."""
    y, n_steps = y.copy(), len(y) - 1
    window = window or n_steps
    shape = (-(-n_steps // window), y.shape[1])
    converged, stuck = np.full(y.shape[1], n_steps), np.zeros(y.shape[1], bool)
    nit, residual = np.zeros(shape, int), np.zeros(shape)
    trace = np.zeros((shape[0], min(maxiter, window) + 1))
    for k in range(y.shape[1]):
        for w in range(shape[0]):
            begin, end = w * window, min((w + 1) * window, n_steps)
            if not guessed:
                y[begin + 1 : end + 1, k] = y[begin, k]
            exact = iteration = 0
            inputs = None if x is None else x[begin:end, k if x.shape[1] > 1 else 0]
            while True:
                old, before = y[begin + 1 : end + 1, k], y[begin:end, k]
                with np.errstate(all="ignore"):
                    fy = step(before, inputs)
                    A = step.jac(before, inputs) * scale
                    firsts, largest = _oracle.residual_test(old[:, None], fy[:, None], 0.0, atol)
                front = firsts[0]
                trace[w, iteration] = max(trace[w, iteration], largest[0])
                failed = front < end - begin and (
                    front < exact or iteration == min(maxiter, window)
                )
                if front == end - begin or failed:
                    break
                old[front:] = _oracle.newton_update(A[front:], fy[front:], old[front:])[0]
                exact, iteration = front + 1, iteration + 1
            nit[w, k], residual[w, k] = iteration, largest[0]
            if failed:
                converged[k], stuck[k] = begin + front, front < exact
                y[end + 1 :, k] = y[end, k]
                break
    return y, (converged, stuck, nit, residual, trace)


def assert_as_reference(step, x, y, tolerance=1e-10, **options):
    got, outcome = solve(step, x, y, **options)
    expected, facts = reference(step, x, y, **options)
    for name, fact in zip(("converged", "stuck", "nit"), facts, strict=False):
        np.testing.assert_array_equal(getattr(outcome, name), fact, name)
    np.testing.assert_allclose(got, expected, tolerance, tolerance)
    width = facts[4].shape[1]
    np.testing.assert_allclose(outcome.trace[:, :width], facts[4], 1e-6, 1e-11)
    np.testing.assert_allclose(outcome.residual, facts[3], 1e-6, 1e-11)


@pytest.fixture
def planned(monkeypatch):
    def choose(name):
        monkeypatch.setattr(newton, "plan", lambda *_: PLANS[name])
        monkeypatch.setattr(windows, "THREADS", 32)

    return choose


def problem(kind, n_steps, n_batch, dtype="float64", seed=0):
    step, item = cell(kind, dtype)
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (n_steps, n_batch, *item)).astype(dtype)
    y = rng.uniform(-1, 1, (n_steps + 1, n_batch, step.n_state)).astype(dtype)
    return step, x, y


@pytest.mark.parametrize(
    ("name", "kind", "n_batch"),
    [
        ("tiles", "dense1", 1),
        ("two lanes", "dense2", 3),
        ("lanes and warps", "blocks", 5),
        ("all lanes", "dense1", 17),
        ("tiles", "dense4", 2),
    ],
)
def test_iterates_are_those_of_the_contract(planned, name, kind, n_batch):
    planned(name)
    long = 600 if n_batch < 3 else 200
    for n_steps, window, maxiter in (
        (1, None, 9),
        (33, None, 1),
        (long, None, 2),
        (long, 90, 100),
        (5, 1, 1),
        (64, 50, 100),
    ):
        step, x, y = problem(kind, n_steps, n_batch)
        with cuda_host.schedule(seed=n_steps + maxiter, resident=3):
            assert_as_reference(step, x, y, maxiter=maxiter, window=window)
    assert_as_reference(step, x, y, guessed=False, scale=0.6, window=40)
    assert_as_reference(step, x[:, :1], y, maxiter=2, window=40)


@pytest.mark.parametrize("name", PLANS)
def test_same_bits_in_any_order(planned, name):
    planned(name)
    step, x, y = problem("dense2", 500, 3, "float32")
    results = []
    for seed in range(3):
        with cuda_host.schedule(seed=seed, resident=1 + 3 * seed, shuffle=seed > 1):
            got, outcome = solve(step, x, y, rtol=1e-6, atol=1e-6)
            results.append((got.tobytes(), outcome.trace.tobytes()))
    assert len(set(results)) == 1


@pytest.mark.parametrize("name", ["tiles", "two lanes"])
def test_values_out_of_range_are_repaired_and_end_only_their_sequence(planned, name):
    planned(name)
    step, _ = cell("squares")
    x = np.zeros((120, 3, 1))
    y = np.full((121, 3, 1), 0.2)
    y[0, :, 0] = [0.5, 3.0, 0.9]
    y[7:60, 2] = 1e200
    y[100, 0] = 1e160
    got, outcome = solve(step, x, y, maxiter=120)
    assert outcome.converged.tolist() == [120, 9, 120]
    assert outcome.stuck.tolist() == [False, True, False]
    with np.errstate(all="ignore"):
        expected = seqsolve.sequential(step, x, y[0]).y
    np.testing.assert_allclose(got[1:, ::2], expected[:, ::2], 1e-8, 1e-9)
    x[43, 0], x[110, 2] = np.nan, np.inf
    got, outcome = solve(step, x, y, window=40)
    assert outcome.converged.tolist() == [43, 9, 110]
    assert outcome.stuck.all()
    assert not np.isnan(got).any()  # the iterate that was there stays
    np.testing.assert_array_equal(got[81:, 0], np.broadcast_to(got[80, 0], (40, 1)))
    np.testing.assert_array_equal(got[41:, 1], np.broadcast_to(got[40, 1], (80, 1)))


def test_a_map_that_does_not_contract_converges_step_by_step(planned):
    planned("tiles")
    step = element_step(
        logistic, logistic_jac, n_state=1, params={"rate": 3.9}, jac_structure="diagonal"
    )
    y = np.full((61, 1, 1), 0.3)
    got, outcome = solve(step, None, y, guessed=False)
    expected = seqsolve.sequential(step, None, y[0], n_steps=60).y
    assert outcome.converged.tolist() == [60]
    np.testing.assert_allclose(got[1:21], expected[:20], 1e-6)
    residual = np.abs(got[1:] - 3.9 * got[:-1] * (1 - got[:-1]))
    assert residual.max() <= 1e-9


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("heads", [1, 2])
def test_grus_by_the_public_solver(dtype, heads):
    model = GRU.random(n_inputs=3, n_units=4, rng=0, dtype=dtype) if heads == 1 else None
    model = model or MultiHeadGRU.random(n_inputs=3, n_units=4, n_heads=2, rng=0, dtype=dtype)
    x = np.random.default_rng(1).standard_normal((120, 3, 3)).astype(dtype)
    y0 = np.zeros((3, 4), dtype)
    expected = seqsolve.sequential(model, x, y0).y
    solution = seqsolve.deer(model.element_step(), None, x, y0, backend="cupy", window=100)
    assert solution.success
    assert len(solution.history) == 2
    np.testing.assert_allclose(
        solution.y.get(), expected, atol=8e-6 if dtype == "float32" else 1e-11
    )


def test_no_array_of_jacobians_is_made_in_an_iteration():
    step, x, y = problem("dense4", 600, 1)
    stream = cupy.cuda.get_current_stream()
    if not hasattr(stream, "launches"):
        pytest.skip("CuPy does not count launches")
    before = stream.launches
    _, outcome = solve(step, x, y)
    looks = -(-(int(outcome.nit.max()) + 1) // windows.LOOK_EVERY)
    # Two launches for an iteration; the rest is packed parameters, a window's start and its end.
    assert stream.launches - before <= 2 * windows.LOOK_EVERY * looks + 10


@pytest.mark.parametrize(("n", "dtypes"), [(3, ["float32", "float64"]), (4, ["float32"])])
def test_what_fits_registers_is_fused(n, dtypes):
    step = element_step(dense, dense_jac, n_state=n, params={"W": np.zeros((n, n))})
    backend = seqsolve.get_backend("cupy")
    assert [t for t in ("float32", "float64", "complex64") if backend.fuses(step, t)] == dtypes


def test_large_states_iterate_on_arrays():
    rng = np.random.default_rng(0)
    W = (0.2 * rng.standard_normal((7, 7))).astype("float32")
    step = element_step(dense, dense_jac, n_state=7, params={"W": W})
    x = rng.standard_normal((40, 2, 7)).astype("float32")
    y0 = np.zeros((2, 7), "float32")
    assert not seqsolve.get_backend("cupy").fuses(step, "float32")
    solution = seqsolve.deer(step, None, x, y0, backend="cupy")
    assert solution.success
    np.testing.assert_allclose(
        solution.y.get(), seqsolve.sequential(step, x, y0).y, rtol=1e-5, atol=1e-5
    )


def test_failures_have_the_status_of_other_backends():
    step, _ = cell("squares")
    x = np.zeros((30, 2, 1))
    y0 = np.array([[0.5], [2.0]])
    for name in ("cupy", "numpy"):
        solution = seqsolve.deer(step, None, x, y0, backend=name, window=30, on_failure="return")
        assert solution.status is Status.NON_FINITE
        assert solution.converged_steps.tolist() == [30, 9]
    seqsolve.deer(step, None, x[:, :1], y0[:1], backend="cupy", maxiter=1, on_failure="return")


def test_no_steps_no_sequences():
    step, x, y = problem("dense2", 5, 2)
    for n_steps, n_batch in ((0, 2), (5, 0)):
        solution = seqsolve.deer(
            step, None, x[:n_steps, :n_batch], y[0, :n_batch], backend="cupy", window=4
        )
        assert solution.y.shape == (n_steps, n_batch, 2)
        assert solution.success


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_gru_of_few_units_takes_the_fused_path_by_itself(dtype, monkeypatch):
    calls = []
    for name in ("newton_windows", "march"):
        real = getattr(ElementSteps, name)
        monkeypatch.setattr(
            ElementSteps,
            name,
            lambda self, *args, real=real, name=name, **options: (
                calls.append(name) or real(self, *args, **options)
            ),
        )
    model = GRU.random(n_inputs=3, n_units=2, rng=0, dtype=dtype)
    x = np.random.default_rng(1).standard_normal((60, 2, 3)).astype(dtype)
    y0 = np.zeros((2, 2), dtype)
    expected = seqsolve.deer(model, None, x, y0)
    solution = seqsolve.deer(model, None, x, y0, backend="cupy")
    assert calls == ["newton_windows"]
    tolerance = 3e-6 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(solution.y.get(), expected.y, atol=tolerance)
    bars, others = (seqsolve.vjp(s, np.ones_like(expected.y)) for s in (solution, expected))
    for name, bar in others.params.items():
        np.testing.assert_allclose(bars.params[name].get(), bar, rtol=1e3 * tolerance, atol=1e-3)
    seqsolve.sequential(model, x, y0, backend="cupy")
    assert calls == ["newton_windows", "march"]
    seqsolve.deer(model, None, x, y0, backend="cupy", callback=lambda state: None)
    large = GRU.random(n_inputs=3, n_units=8, rng=0, dtype=dtype)
    seqsolve.deer(large, None, x[:9], np.zeros((2, 8), dtype), backend="cupy")
    assert calls == ["newton_windows", "march"]
    with pytest.raises(ValueError, match="n_inputs"):
        seqsolve.deer(model, None, x[..., :2], y0, backend="cupy")
