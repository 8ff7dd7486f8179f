"""The CuPy backend's scans, in every regime, against loops. Emulated where there is no GPU.

Blocks are small, so that short sequences are many tiles, and the scheduler of
the emulation interleaves them.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from support.emulation import marks, reason_not_to_emulate

from seqsolve_cupy.plans import (
    LARGEST,
    Tiles,
    Walk,
    Wide,
    choose,
    map_memory,
    staged_length,
    staged_memory,
)

pytestmark = marks()
cupy = pytest.importorskip("cupy", reason=reason_not_to_emulate() or "CuPy is not installed")
cuda_host = pytest.importorskip("cuda_host", reason="these tests set the emulation's scheduler")

from seqsolve_cupy import newton, recurrence, scans  # noqa: E402

TOLERANCE = {"float32": 3e-6, "complex64": 3e-6, "float64": 1e-13, "complex128": 1e-13}
#: plan, dtype, n (0: diagonal, of three states), sequences
CASES = {
    "thread per sequence": (Walk(32), "float32", 0, 15),
    "thread per dense sequence": (Walk(32), "float64", 3, 35),
    "tiles": (Tiles(1, 64, reach=2), "float32", 0, 1),
    "one tile at a time": (Tiles(1, 32, reach=1), "float64", 0, 1),
    "tiles, complex": (Tiles(2, 32, reach=3), "complex128", 0, 1),
    "tiles, lanes": (Tiles(4, 64, reach=3), "complex64", 0, 2),
    "tiles, sequences": (Tiles(8, 64, reach=2), "float64", 0, 4),
    "tiles, warp-wide lanes": (Tiles(32, 128, reach=2), "complex64", 0, 27),
    "tiles, numbers of two": (Tiles(1, 64, reach=2), "complex128", 2, 2),
    "tiles, numbers of three": (Tiles(1, 32, reach=2), "float32", 3, 2),
    "tiles, dense": (Tiles(1, 32, reach=2), "float32", 4, 2),
    "tiles, dense lanes": (Tiles(2, 64, reach=2), "float32", 2, 3),
    "wide": (Wide(32), "float32", 5, 5),
    "wide, padded": (Wide(64), "complex64", 18, 2),
    "wide, chunks": (Wide(64, n_chunks=5), "float64", 8, 3),
    "wide, chunks, several warps": (Wide(64, n_chunks=3), "float32", 33, 2),
    "wide, chunks, complex": (Wide(32, n_chunks=4), "complex64", 4, 1),
}
TILES = [name for name, (plan, *_) in CASES.items() if isinstance(plan, Tiles)]


def tile_steps(plan, dtype, n):
    """Return the steps of a tile, or of what stands for one."""
    if not isinstance(plan, Tiles):
        return 7
    return plan.threads // plan.lanes * staged_length(max(n, 1), np.dtype(dtype).itemsize)


def noise(rng, shape, dtype):
    a = rng.uniform(-1, 1, shape)
    if np.dtype(dtype).kind == "c":
        a = (a + 1j * rng.uniform(-1, 1, shape)) / 1.5
    return a.astype(dtype)


def system(rng, n_steps, n_batch, n, dtype):
    """Return `A`, `b`, `y0` of a recurrence that neither grows nor forgets fast."""
    n_state = n or 3
    A = noise(rng, (n_steps, n_batch, n_state, n) if n else (n_steps, n_batch, 3), dtype)
    A = A / np.sqrt(n) if n else np.sign(A.real) * np.abs(A) ** 0.2
    return (
        A.astype(dtype),
        noise(rng, (n_steps, n_batch, n_state), dtype),
        noise(rng, (n_batch, n_state), dtype),
    )


def loop(A, b, y0, reverse=False, transpose=False):
    """The recurrence, step by step in double precision."""
    wide = np.result_type(b, np.float64)
    A, y = A.astype(wide), np.empty(b.shape, wide)
    if transpose and A.ndim > b.ndim:
        A = A.swapaxes(-1, -2)
    state = None if y0 is None else y0.astype(wide)
    for t in reversed(range(len(b))) if reverse else range(len(b)):
        y[t] = b[t]
        if state is not None:
            y[t] += A[t] * state if A.ndim == b.ndim else (A[t] @ state[..., None])[..., 0]
        state = y[t]
    return y


def laid_out(rng, a):
    """Return `a` on the device in a random layout: order of axes, directions, offset, gaps."""
    order = rng.permutation(a.ndim)
    gaps = rng.integers(1, 3, a.ndim)
    signs = rng.choice([1, -1], a.ndim)
    if rng.random() < 0.4:
        order, gaps = np.arange(a.ndim), np.ones(a.ndim, int)
    padded = [s * g + 1 for s, g in zip(a.shape, gaps, strict=True)]
    memory = cupy.full([padded[axis] for axis in order], np.nan, dtype=a.dtype)
    view = memory.transpose([int(axis) for axis in np.argsort(order)])
    at = rng.integers(0, 2)
    ends = [int(at + s * g) for s, g in zip(a.shape, gaps, strict=True)]
    view = view[tuple(slice(int(at), end, int(g)) for end, g in zip(ends, gaps, strict=True))]
    view = view[tuple(slice(None, None, int(sign)) for sign in signs)]
    view[...] = cupy.asarray(a)
    return view


def assert_close(got, expected, dtype):
    assert got.dtype == dtype
    np.testing.assert_allclose(
        cupy.asnumpy(got), expected, rtol=TOLERANCE[dtype], atol=10 * TOLERANCE[dtype]
    )


def solved(A, b, y0, *, reverse=False, transpose=False, out=None):
    out = cupy.full(b.shape, np.nan, dtype=b.dtype) if out is None else out
    recurrence.solve(A, b, y0, reverse=reverse, transpose=transpose, out=out)
    return out


@pytest.fixture
def planned(monkeypatch):
    """Return a function that makes the scans follow a plan."""

    def follow(plan):
        for module in (recurrence, newton):
            monkeypatch.setattr(module, "plan_for", lambda task: plan)

    return follow


@pytest.mark.parametrize("name", CASES)
def test_equals_the_loop_at_every_length(name, planned):
    plan, dtype, n, n_batch = CASES[name]
    planned(plan)
    rng = np.random.default_rng(1)
    tile = tile_steps(plan, dtype, n)
    lengths = [1, 2, tile - 1, tile, tile + 1, 4 * tile + 3]
    directions = itertools.cycle(itertools.product([False, True], repeat=3))
    for n_steps in 2 * lengths:
        reverse, transpose, initial = next(directions)
        A, b, y0 = system(rng, n_steps, n_batch, n, dtype)
        y0 = y0 if initial else None
        device = [None if a is None else laid_out(rng, a) for a in (A, b, y0)]
        out = laid_out(rng, np.full(b.shape, np.nan, dtype))
        got = solved(*device, reverse=reverse, transpose=transpose, out=out)
        assert_close(got, loop(A, b, y0, reverse, transpose), dtype)
        for given, kept in zip(device, (A, b, y0), strict=True):
            if given is not None:
                np.testing.assert_array_equal(cupy.asnumpy(given), kept)


@pytest.mark.parametrize("name", CASES)
def test_contiguous_arrays_in_both_layouts(name, planned):
    """Long aligned runs take the path with 16-byte accesses, in either direction."""
    plan, dtype, n, n_batch = CASES[name]
    planned(plan)
    rng = np.random.default_rng(2)
    n_steps = 4 * (tile_steps(plan, dtype, n) // 4 * 2 + 4)
    A, b, y0 = system(rng, n_steps, n_batch, n, dtype)
    for reverse, adjacent in itertools.product([False, True], repeat=2):

        def arranged(a, adjacent=adjacent):
            if not adjacent:
                return cupy.asarray(np.ascontiguousarray(a))
            return cupy.asarray(np.ascontiguousarray(np.moveaxis(a, 0, -1))).transpose(
                a.ndim - 1, *range(a.ndim - 1)
            )

        got = solved(
            arranged(A),
            arranged(b),
            cupy.asarray(y0),
            reverse=reverse,
            transpose=False,
            out=arranged(np.zeros_like(b)),
        )
        assert_close(got, loop(A, b, y0, reverse), dtype)


@pytest.mark.parametrize("offset", [0, 1, 2, 3])
def test_adjacent_steps_at_every_alignment(offset, planned):
    rng = np.random.default_rng(12)
    for name in ("tiles", "one tile at a time", "tiles, complex"):
        plan, dtype, *_ = CASES[name]
        planned(plan)
        tile = tile_steps(plan, dtype, 0)
        for n_steps, reverse in itertools.product((1, tile - offset, 2 * tile), (False, True)):
            A, b, y0 = (a[..., :1] for a in system(rng, n_steps, 1, 0, dtype))
            memory = cupy.full((3, n_steps + 8, 1, 1), np.nan, dtype=dtype)
            views = [row[offset : offset + n_steps] for row in memory]
            views[0][...], views[1][...] = cupy.asarray(A), cupy.asarray(b)
            got = solved(*views[:2], cupy.asarray(y0), reverse=reverse, out=views[2])
            assert_close(got, loop(A, b, y0, reverse), dtype)
            outside = np.isnan(cupy.asnumpy(memory[2, :, 0, 0]))
            assert outside[:offset].all()
            assert outside[offset + n_steps :].all()


@pytest.mark.parametrize("name", ["tiles", "tiles, sequences", "tiles, dense", "wide"])
def test_matrices_shared_in_time_and_between_sequences(name, planned):
    plan, dtype, n, n_batch = CASES[name]
    planned(plan)
    rng = np.random.default_rng(3)
    A, b, y0 = system(rng, 2 * tile_steps(plan, dtype, n), n_batch, n, dtype)
    A = np.broadcast_to(A[:1, :1], A.shape)
    shared = cupy.broadcast_to(cupy.asarray(A[:1, :1]), A.shape)
    got = solved(shared, cupy.asarray(b), cupy.asarray(y0), reverse=False, transpose=True)
    assert_close(got, loop(A, b, y0, transpose=True), dtype)


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_finite_spreads_forwards_only(name, planned):
    plan, dtype, n, n_batch = CASES[name]
    planned(plan)
    rng = np.random.default_rng(4)
    n_steps = 3 * tile_steps(plan, dtype, n)
    at = n_steps // 2 + 1
    A, b, y0 = system(rng, n_steps, n_batch, n, dtype)
    expected = loop(A, b, y0)
    for bad, value in (("A", np.nan), ("b", np.nan), ("b", np.inf)):
        spoilt = {"A": A.copy(), "b": b.copy()}
        spoilt[bad][at, 0, 0] = value
        got = cupy.asnumpy(
            solved(cupy.asarray(spoilt["A"]), cupy.asarray(spoilt["b"]), cupy.asarray(y0))
        )
        np.testing.assert_allclose(got[:at], expected[:at], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(got[:, 1:], expected[:, 1:], rtol=1e-5, atol=1e-5)
        reached = np.s_[at:, 0] if n else np.s_[at:, 0, 0]
        assert not np.isfinite(got[at, 0, 0])
        assert not np.isfinite(got[reached][1:]).any()


def test_first_matrix_is_not_read_without_an_initial_state(planned):
    rng = np.random.default_rng(5)
    for plan, dtype, n, n_batch in CASES.values():
        planned(plan)
        A, b, _ = system(rng, 9, n_batch, n, dtype)
        expected = loop(A, b, None)
        A[0] = np.nan
        got = solved(cupy.asarray(A), cupy.asarray(b), None)
        assert_close(got, expected, dtype)


@pytest.mark.parametrize("name", TILES)
def test_same_bits_whatever_the_order_of_blocks(name, planned):
    plan, dtype, n, n_batch = CASES[name]
    planned(plan)
    rng = np.random.default_rng(6)
    n_steps = 5 * tile_steps(plan, dtype, n) + 5
    A, b, y0 = map(cupy.asarray, system(rng, n_steps, n_batch, n, dtype))
    results = set()
    for seed in range(16):
        with cuda_host.schedule(seed=seed, resident=1 + seed % 7, shuffle=bool(seed % 2)):
            y = solved(A, b, y0)
        results.add(cupy.asnumpy(y).tobytes())
    assert len(results) == 1


@pytest.mark.parametrize("name", ["tiles", "thread per sequence"])
def test_single_precision_is_as_accurate_as_the_loop(name, planned):
    """Steps that contract by 0.999: errors of thousands of steps add up."""
    plan, dtype, _, n_batch = CASES[name]
    planned(plan)
    rng = np.random.default_rng(7)
    n_steps = 20_000 if n_batch == 1 else 4_000
    A = np.full((n_steps, n_batch, 3), 0.999, dtype)
    b = noise(rng, A.shape, dtype)
    exact = loop(A, b, None)
    single = np.empty_like(b)
    state = np.zeros_like(b[0])
    for t in range(n_steps):
        state = single[t] = A[t] * state + b[t]
    got = cupy.asnumpy(solved(cupy.asarray(A), cupy.asarray(b), None))
    assert np.abs(got - exact).max() <= 2 * np.abs(single - exact).max()
    np.testing.assert_array_equal(got, exact.astype(dtype))


def increments(A, f, y):
    """Newton's update with increments in double precision, and the repair."""
    wide = np.result_type(y, np.float64)
    d, new = np.zeros(y.shape[1:], wide), np.empty_like(y)
    limit = float(np.finfo(y.dtype).max) ** 0.5
    for t in range(len(y)):
        moved = np.zeros_like(d)
        if t:
            moved = A[t] * d if A.ndim == y.ndim else (A[t] @ d[..., None])[..., 0]
        with np.errstate(all="ignore"):
            new[t] = f[t].astype(wide) + moved
            repaired = np.where(np.isfinite(f[t]), f[t], y[t])
            new[t] = np.where(np.abs(new[t]) <= limit, new[t], repaired)
            d = f[t].astype(wide) - y[t] + moved
    return new


@pytest.mark.parametrize("name", CASES)
def test_newton_update(name, planned):
    plan, dtype, n, n_batch = CASES[name]
    planned(plan)
    rng = np.random.default_rng(8)
    for n_steps in (1, 3 * tile_steps(plan, dtype, n) + 2):
        A, y, _ = system(rng, n_steps, n_batch, n, dtype)
        f = y + noise(rng, y.shape, dtype) / 8
        solved = n_steps // 3
        f[:solved] = y[:solved]
        A[0] = np.nan
        if n_steps > 1:
            f[-1, 0, -1] = 1e30
            f[solved + 1 :, -1, 0] = np.nan
            y[solved + 2 :, -1, 0] = np.nan
            f[solved + 3, -1, 0] = 5
        expected = increments(A, f, y)
        device = laid_out(rng, y)
        newton.newton_update(laid_out(rng, A), laid_out(rng, f), device)
        assert_close(device, expected, dtype)
        np.testing.assert_array_equal(cupy.asnumpy(device)[:solved], y[:solved])


@pytest.mark.parametrize("name", ["tiles", "tiles, numbers of two", "wide, chunks"])
def test_newton_update_of_arguments_that_share_memory(name, planned):
    plan, dtype, n, n_batch = CASES[name]
    planned(plan)
    rng = np.random.default_rng(9)
    n_steps = 2 * tile_steps(plan, dtype, n) + 1
    A, y, _ = system(rng, n_steps + 1, n_batch, n, dtype)
    for shift in (0, 1):
        memory = cupy.asarray(y)
        f = memory[1 - shift : n_steps + 1 - shift]
        newton.newton_update(cupy.asarray(A[1:]), f, memory[1:])
        expected = increments(A[1:], y[1 - shift : n_steps + 1 - shift], y[1:])
        assert_close(memory[1:], expected, dtype)
    if not n:
        memory = cupy.asarray(y)
        newton.newton_update(memory, cupy.asarray(A), memory)
        assert_close(memory, increments(y, A, y), dtype)


@pytest.mark.parametrize("shape", [(0, 2, 3), (4, 0, 3), (0, 0, 1)])
def test_nothing_to_update(shape):
    y = cupy.zeros(shape, dtype="float32")
    newton.newton_update(y, y, y)


def test_the_device_chooses_the_plan():
    rng = np.random.default_rng(10)
    for n_batch, n in ((1, 0), (90, 0), (1, 2), (1, LARGEST)):
        A, b, y0 = system(rng, 30, n_batch, n, "float32")
        got = solved(cupy.asarray(A), cupy.asarray(b), cupy.asarray(y0))
        assert_close(got, loop(A, b, y0), "float32")
    assert not recurrence.applies(cupy.zeros((1, 1, 65, 65)), cupy.zeros((1, 1, 65)))


def test_every_plan_can_be_launched():
    shapes = itertools.product(
        [1, 100, 10**4, 10**7],
        [1, 2, 3, 7, 100, 5000, 10**5, 10**6],
        [1, 2, 3, 4, 5, 17, 33, 64],
        [(4, False), (8, False), (8, True), (16, True)],
        [False, True],
        [(1, 48 << 10), (20, 64 << 10), (132, 227 << 10)],
    )
    for n_steps, n_lanes, n, (itemsize, is_complex), adjacent, (processors, memory) in shapes:
        plan = choose(
            n_steps,
            n_lanes,
            n,
            itemsize=itemsize,
            is_complex=is_complex,
            steps_adjacent=adjacent,
            n_multiprocessors=processors,
            shared_memory=memory,
        )
        assert plan.threads % 32 == 0
        if isinstance(plan, Wide):
            assert 1 <= plan.n_chunks <= max(1, n_steps)
            assert plan.n_chunks == 1 or map_memory(n, 16 if is_complex else 8) <= memory
            assert n_lanes * plan.n_chunks <= max(n_lanes, 16 * processors)
        elif isinstance(plan, Tiles):
            assert 32 % plan.lanes == 0
            assert plan.reach > 0
            assert staged_memory(n, itemsize, plan.threads, 2) <= memory
            assert adjacent or n_lanes < 10**6


def test_tiles_take_one_pass(planned, monkeypatch):
    """One launch reads the matrices, whatever the number of tiles."""
    launched = []
    real = scans.kernel
    monkeypatch.setattr(
        scans,
        "kernel",
        lambda source, expression: launched.append(expression) or real(source, expression),
    )
    plan, dtype, n, n_batch = CASES["tiles"]
    planned(plan)
    A, b, y0 = map(cupy.asarray, system(np.random.default_rng(11), 5000, n_batch, n, dtype))
    solved(A, b, y0)
    assert launched == ["seqsolve::linear_recurrence_tiles<float, 1, 1, 64>"]
