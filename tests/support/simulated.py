"""What runs where Numba simulates CUDA: ``python simulated.py TASK [ARGUMENT ...]``."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import warnings
from contextlib import ExitStack, contextmanager
from unittest import mock

import numpy as np

import seqsolve
from seqsolve import element_step
from seqsolve.models import MultiHeadGRU
from seqsolve.testing import check_backend, conformance_cases
from seqsolve_numba import CudaBackend
from seqsolve_numba.gpu import launch, linear
from seqsolve_numba.gpu import newton as newton_kernels


def conformance(part, n_parts):
    """Run every so many cases of the conformance suite."""
    backend = seqsolve.get_backend("numba")
    assert backend.describe()["cuda"] == "simulated by Numba"
    check_backend(backend, conformance_cases()[int(part) :: int(n_parts)])


def case(name):
    """Return a case of the conformance suite as a check."""
    (chosen,) = (c for c in conformance_cases() if c.name == name)
    return chosen.run


def step(y_prev, x, params, y_out):
    (w,) = params
    for i in range(len(y_prev)):
        total = x[i]
        for j in range(len(y_prev)):
            total += w[i, j] * y_prev[j]
        y_out[i] = total / (1.0 + abs(total))


def jac(y_prev, x, params, jac_out):
    (w,) = params
    for i in range(len(y_prev)):
        total = x[i]
        for j in range(len(y_prev)):
            total += w[i, j] * y_prev[j]
        for j in range(len(y_prev)):
            jac_out[i, j] = w[i, j] / (1.0 + abs(total)) ** 2


def problem(n_steps, n_batch, seed):
    rng = np.random.default_rng(seed)
    cell = element_step(step, jac, n_state=2, params={"w": rng.uniform(-0.6, 0.6, (2, 2))})
    shape = (n_steps, n_batch, 2)
    return cell, rng.standard_normal(shape), rng.standard_normal(shape[1:]), rng


def newton():
    """Iterate on devices that give a sequence one block, or many."""
    one_block()
    many_blocks()
    repeatable()
    with device(16, 100, 100) as backend:
        check_backend(backend, [c for c in conformance_cases() if "element-steps-deer" in c.name])


def one_block(_=None):
    """Iterate with a block for each sequence."""
    with device(4, 1) as backend:
        iterate(backend)


def many_blocks(_=None):
    """Iterate with more blocks for a sequence than a block has threads, and with fewer."""
    for team in (2, 8):
        with device(team, 100) as backend:
            iterate(backend)


def repeatable():
    """Get the same bits in every run, although threads take turns in another order."""
    cell, x, y0, rng = problem(90, 2, 0)
    start = np.concatenate([y0[None], rng.standard_normal(x.shape)])
    options = {"rtol": 0.0, "atol": np.full(2, 1e-9), "maxiter": 9, "window": 60, "scale": 0.9}
    A, b = 0.5 * rng.standard_normal((90, 1, 2, 2)), rng.standard_normal((90, 1, 2))
    for n_multiprocessors in (1, 100):
        bits = set()
        with device(4, n_multiprocessors) as backend:
            for _ in range(3):
                y = start.copy()
                outcome = backend.newton_windows(cell, x, y, guessed=True, **options)
                z = seqsolve.linear_recurrence(A, b, y0[:1], backend=backend)
                bits.add((y.tobytes(), z.tobytes(), *(a.tobytes() for a in outcome)))
        assert len(bits) == 1


def iterate(backend):
    """Iterate as the core does, with any number of steps for each thread and any guess."""
    for n_steps, window, maxiter, guessed, atol in (
        (37, 37, 9, 0, None),
        (26, 7, 9, 1, None),
        (30, 30, 2, 1, None),
        (40, 40, 9, 1, 0.3),
    ):
        cell, x, y0, rng = problem(n_steps, 1, n_steps)
        guess = rng.standard_normal(x.shape) if guessed else None
        options = {
            "window": window,
            "maxiter": maxiter,
            "initial_guess": guess,
            "damping": 0.1,
            "atol": atol,
            "on_failure": "return",
        }
        ours, core = (
            seqsolve.deer(cell, None, x, y0, backend=b, **options) for b in (backend, "numpy")
        )
        assert ours.status == core.status
        np.testing.assert_array_equal(ours.converged_steps, core.converged_steps)
        assert [w.nit for w in ours.history] == [w.nit for w in core.history]
        np.testing.assert_allclose(ours.y[:window], core.y[:window], 1e-10, 1e-11)
        for a, b in zip(ours.history, core.history, strict=True):
            np.testing.assert_allclose(a.residuals, b.residuals, 1e-6, 1e-12)


@contextmanager
def device(team=8, n_multiprocessors=2, n_resident=1000):
    """Simulate another device; kernels are made anew for it."""
    with (
        mock.patch.object(newton_kernels, "SPAN", 2),
        mock.patch.object(launch, "TEAM", team),
        mock.patch.object(launch, "n_multiprocessors", return_value=n_multiprocessors),
        mock.patch.object(launch, "n_resident", return_value=n_resident),
    ):
        yield CudaBackend()


def sweeps():
    """Sweep on devices that give a sequence one block, or many."""
    devices = [(team, n) for team in (4, 8, 16, 32) for n in (1, 100)]
    for seed in range(12):
        with device(*devices[seed % 8]) as backend:
            family(backend, seed)
    with device(16, 100) as backend:
        check_backend(backend, [c for c in conformance_cases() if SWEPT.match(c.name)])
    same_bits()


SWEPT = re.compile("sweep_windows|element-steps-(jacobi|shared|without|not|empty)")


def family(backend, *seeds):
    """Sweep every sequence as the core sweeps it alone, over any number of tiles and rounds."""
    solvers = {
        "jacobi": lambda h, g, b, w, **o: seqsolve.jacobi(h, g, window=w, **o),
        "gs_jacobi": lambda h, g, b, w, **o: seqsolve.gs_jacobi(h, g, block_size=b, **o),
        "jacobi_gs": lambda h, g, b, w, **o: seqsolve.jacobi_gs(h, g, block_size=b, window=w, **o),
    }
    for seed in seeds or range(6):
        rng = np.random.default_rng(seed)
        n_steps, block, window = (int(i) for i in rng.integers(1, (90, 14, 80)))
        cell, x, y0, _ = problem(n_steps, 2, seed)
        guess = rng.standard_normal(x.shape)
        options = {"maxiter": (None, 3, 11)[seed % 3], "on_failure": "return"}
        for solver in solvers.values():
            h = seqsolve.triangular_map(cell, x, y0, backend=backend)
            fused = solver(h, guess, block, window, **options)
            for k in range(2):
                h = seqsolve.triangular_map(cell, x[:, k], y0[k], backend="numpy")
                alone = solver(h, guess[:, k], block, window, **options)
                assert fused.converged_steps[k] == alone.converged_steps
                solved = slice(0, int(alone.converged_steps))
                np.testing.assert_allclose(fused.y[solved, k], alone.y[solved], 1e-13, 1e-13)
                np.testing.assert_allclose(fused.residual[k], alone.residual, 1e-3, 1e-14)


def iterates(backend):
    """Leave iterates as a loop of sweeps does, whatever sweep is the last: tolerances are crude."""
    case("sweep_windows-iterates-dense")(backend)
    case("sweep_windows-not-finite")(backend)


def same_bits(backend=None):
    """Sweep with any number of blocks and of sweeps in a round: the iterates are the same.

    A crude tolerance lets fronts jump, and what kept its value differs from what did not.
    """
    cell, x, y0, rng = problem(150, 1, 0)
    start = np.concatenate([y0[None], rng.standard_normal(x.shape)])
    for block_size, atol in ((1, 1e-4), (1, 0.3), (7, 0.01)):
        options = {"rtol": 0.0, "atol": np.full(2, atol), "maxiter": 200, "window": 100}
        bits = set()
        for settings in ((4, 1), (8, 100), (16, 1), (16, 100, 40), (64, 100)):
            with device(*settings) as backend:
                y = start.copy()
                outcome = backend.sweep_windows(cell, x, y, block_size=block_size, **options)
                bits.add((y.tobytes(), *(a.tobytes() for a in outcome)))
        assert len(bits) == 1


def gru():
    """Step and iterate a block-diagonal cell in single precision."""
    cell = MultiHeadGRU.random(2, 4, n_heads=2, dtype="float32", rng=0).element_step()
    rng = np.random.default_rng(1)
    x, y0 = rng.standard_normal((21, 2, 2)).astype("float32"), np.zeros((2, 4), "float32")
    exact = seqsolve.sequential(cell, x, y0).y
    for window, n_multiprocessors in ((1, 1), (21, 1), (21, 100)):
        with device(2, n_multiprocessors) as backend:
            solution = seqsolve.deer(cell, None, x, y0, backend=backend, window=window)
        assert solution.success
        assert solution.y.dtype == np.float32
        np.testing.assert_allclose(solution.y, exact, 0, 2e-5)


def chunks():
    """Cut time into chunks, and those into chunks, in all structures and directions."""
    for n_threads in (16, 100, 1000):
        with mock.patch.object(launch, "n_resident", return_value=n_threads):
            chunked("numba")


def chunked(backend):
    """Solve recurrences of few sequences; with two states, products do not commute."""
    rng = np.random.default_rng(0)
    for shape in ((61, 1, 2), (170, 1, 1, 1), (61, 1, 2, 2), (60, 2, 3), (130, 1, 3, 3)):
        A = 0.5 * rng.standard_normal(shape)
        b, y0 = rng.standard_normal(shape[:3]), rng.standard_normal(shape[1:3])
        for reverse in (False, True):
            for start in (y0, None):
                ours, core = (
                    seqsolve.linear_recurrence(A, b, start, backend=name, reverse=reverse)
                    for name in (backend, "numpy")
                )
                np.testing.assert_allclose(ours, core, 1e-10, 1e-12)


def residuals(backend):
    """Test as many positions as need several blocks; the first failure is in any of them."""
    y = np.zeros((150, 2, 1))
    for position in range(0, 150, 7):
        fy = y.copy()
        fy[position:, 1] = 2.0
        fy[149, 1] = 3.0
        first, largest = backend.residual_test(y, fy, 0.0, np.ones(1))
        assert first.tolist() == [150, position]
        assert largest.tolist() == [0.0, 3.0]


BARRIERS = (
    "cuda.syncthreads()\n            if thread < depth:",
    "cuda.syncthreads()\n                swept =",
    "cuda.syncthreads()\n                if swept and led",
)

NEWTON_BARRIERS = (
    "cuda.syncthreads()\n                if thread == 0",
    "cuda.syncthreads()\n                for i in",
    "cuda.syncthreads()\n            if phase != TAIL",
    "cuda.syncthreads()\n            if (thread + 1)",
    "cuda.syncthreads()\n            if thread == 0:\n                carry",
    "cuda.syncthreads()\n        if thread == 0:\n            carry",
)

#: What is wrong with a kernel: its module, the function that builds it, what it says and what it
#: should not say, and the check that must fail.
FAULTS = (
    ("newton", "_one_block", "chunk + 1, team", "chunk, team", one_block),
    ("newton", "_one_block", "calm)", "0.0)", one_block),
    ("newton", "_one_block", NEWTON_BARRIERS[0], "pass\n                if thread == 0", one_block),
    ("newton", "_one_block", NEWTON_BARRIERS[1], "pass\n                for i in", one_block),
    ("newton", "_one_block", NEWTON_BARRIERS[2], "pass\n            if phase != TAIL", one_block),
    ("newton", "_compose", "y[begin + low, k, i]", "y[begin + low - 1, k, i]", many_blocks),
    ("newton", "_compose", "(size - base + n_chunks - 1)", "(size - base)", many_blocks),
    ("newton", "_compose", "thread - reach, thread", "thread - 1, thread", many_blocks),
    ("newton", "_compose", NEWTON_BARRIERS[3], "if (thread + 1)", many_blocks),
    ("newton", "_scan", "chunk % team + 1", "chunk % team", many_blocks),
    ("newton", "_scan", "starts[k, block + 1, i]", "starts[k, block, i]", many_blocks),
    ("newton", "_scan", "ends[0, i] = ends[team, i]", "pass", many_blocks),
    ("newton", "_scan", "carry(ends, products, 0, ", "carry(ends, products, 1, ", many_blocks),
    ("newton", "_scan", NEWTON_BARRIERS[4], "if thread == 0:\n                carry", many_blocks),
    ("newton", "_update", "block > chunk // team", "False", many_blocks),
    ("newton", "_update", "block * team + 1, 0", "block * team, 0", many_blocks),
    ("newton", "_update", "max(low, front), min(", "low, min(", many_blocks),
    ("newton", "_update", "vectors[k, c, 2, i] if", "y[begin + low, k, i] if", many_blocks),
    ("newton", "_update", NEWTON_BARRIERS[5], "if thread == 0:\n            carry", many_blocks),
    ("newton", "_fill", "row + 1 + thread", "row + 2 + thread", many_blocks),
    ("iterations", "examine", "max(peaks[k, 0], peaks[k, 1])", "peaks[k, 0]", one_block),
    ("iterations", "examine", "= front + 1", "= front + 2", one_block),
    (
        "chunks",
        "compose_chunk",
        "if p > front:\n                    row",
        "if False:\n                    row",
        one_block,
    ),
    ("chunks", "compose_chunk", "front == size and not passed", "not passed", one_block),
    ("chunks", "update_chunk", "state[i] = old", "state[i] = total", many_blocks),
    ("newton", "_scan", "calm[k, c] if", "0.0 if", many_blocks),
    ("newton", "_scan", "max(peak, block_peaks[k, b])", "peak", many_blocks),
    (
        "newton",
        "_compose",
        "min(heads[thread], heads[thread - reach])",
        "heads[thread]",
        many_blocks,
    ),
    ("newton", "_compose", "max(tops[thread], tops[thread - reach])", "tops[thread]", many_blocks),
    ("chunks", "combine_maps", "ends[left + 1, low + j]", "ends[left + 1, i]", many_blocks),
    ("chunks", "_append", "product[i, m] = column[i]", "pass", one_block),
    ("positions", "test_change", "return largest, passed", "return 0.0, True", family),
    ("positions", "evaluate_step", "argument(x, t, k)", "argument(x, max(t - 1, 0), k)", family),
    ("sweeps", "_sweep_blocks", "low + inner, size", "low + inner - 1, size", family),
    ("sweeps", "_sweep_blocks", "low == 0 else", "low == first else", family),
    ("sweeps", "_sweep_tiles", BARRIERS[0], BARRIERS[0].replace("cuda.syncthreads()", ""), family),
    ("sweeps", "_sweep_tiles", BARRIERS[1], BARRIERS[1].replace("cuda.syncthreads()", ""), family),
    ("sweeps", "_sweep_tiles", BARRIERS[2], BARRIERS[2].replace("cuda.syncthreads()", ""), family),
    ("sweeps", "_sweep_tiles", "thread - halo", "thread - halo + 1", family),
    ("sweeps", "_sweep_tiles", "own = thread >= halo", "own = thread >= halo - 1", family),
    ("sweeps", "_sweep_tiles", "(size - first + kept - 1)", "(size - first)", family),
    ("sweeps", "_sweep_tiles", "j == 0 or not trial", "j == 0", iterates),
    ("sweeps", "_sweep_tiles", "elif p == -1", "elif p == -2", family),
    ("sweeps", "_round", "where[k, SETTLED] + thread", "where[k, SETTLED] + thread + 1", family),
    ("sweeps", "_round", "end = size if phase == STORE else first", "end = first", iterates),
    ("verdict", "_count_valid", "front >= first + kept", "front > size", same_bits),
    ("verdict", "_count_valid", "s + 1 < depth", "False", iterates),
    ("verdict", "_settle", "where[k, SETTLED] = first", "where[k, SETTLED] = size", family),
    ("verdict", "_settle", "first = behind", "first = front", family),
    ("verdict", "_settle", "behind > first + inner", "False", iterates),
    ("verdict", "_prepare", "maxiter - where[k, COUNT]", "most", family),
    ("linear", "_chunks", "range(c * length, (c + 1) * length)", "range(0)", chunked),
    ("linear", "_chunks", "(c + 1) * length)", "(c + 1) * length - 1)", chunked),
    ("linear", "_chunks", "state[m] = 1", "state[m] = 1 + (c == 3)", chunked),
    ("linear", "_chunks", "affine and c == 0", "False", chunked),
    ("linear", "_solve", "starts[c, k, low + i]", "starts[max(c - 1, 0), k, low + i]", chunked),
    ("linear", "_solve", "fresh and t == 0", "fresh and t % length == 0", chunked),
    ("linear", "_residual", "+ cuda.threadIdx.x", "+ cuda.threadIdx.x + 1", residuals),
    ("linear", "_residual", "cuda.gridDim.y *", "2 * cuda.gridDim.y *", residuals),
    ("linear", "_residual", "r < np.inf", "True", case("residual_test-nan-fails")),
)


def faults(part, n_parts):
    """Plant faults in kernels; each must show, and nothing else."""
    chosen = FAULTS[int(part) :: int(n_parts)]
    for check in {fault[-1] for fault in chosen}:
        with device(16, 100, 100) as backend:
            check(backend)
    silent = [fault[:-1] for fault in chosen if not shows(*fault)]
    assert not silent, silent


def shows(module, function, right, wrong, check):
    """Return whether a check fails where a fault is planted."""
    with planted(module, function, right, wrong), device(16, 100, 100) as backend:
        try:
            check(backend)
        except (AssertionError, IndexError):
            return True
    return False


@contextmanager
def planted(module, name, right, wrong):
    """Replace a text, once it is made sure that it is there, in the source of a function."""
    function = getattr(importlib.import_module(f"seqsolve_numba.gpu.{module}"), name)
    source = inspect.getsource(function)
    assert right in source, (name, right)
    made = {}
    exec(source.replace(right, wrong), function.__globals__, made)
    users = [m for m in list(sys.modules.values()) if getattr(m, name, None) is function]
    _forget()
    with ExitStack() as stack:
        for user in users:
            stack.enter_context(mock.patch.object(user, name, made[name]))
        yield
    _forget()


def _forget():
    linear._Kernels.of.cache_clear()
    linear._residual_kernel.cache_clear()


if __name__ == "__main__":
    from turns import take_turns

    take_turns()
    warnings.simplefilter("ignore", RuntimeWarning)
    globals()[sys.argv[1]](*sys.argv[2:])
