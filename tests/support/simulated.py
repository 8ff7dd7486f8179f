"""What runs where Numba simulates CUDA: ``python simulated.py TASK [ARGUMENT ...]``."""

from __future__ import annotations

import re
import sys
import warnings
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
from numba import cuda
from numba.cuda.cudadrv.driver import CudaAPIError

import seqsolve
from seqsolve import element_step
from seqsolve.models import MultiHeadGRU
from seqsolve.testing import check_backend, conformance_cases
from seqsolve_numba import CudaBackend
from seqsolve_numba.gpu import launch
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


def memory():
    """Find a window that fits, or say which; fuse only what threads have memory for."""
    cell, x, y0, _ = problem(64, 1, 0)
    exact = seqsolve.sequential(cell, x, y0, backend="numpy").y
    limit = 10 * y0.nbytes
    with device() as backend, little_memory(limit, reported=100 * limit):
        solution = seqsolve.deer(cell, None, x, y0, backend=backend)
        assert solution.success
        assert len(solution.history) == 8  # of 64 steps at first
        np.testing.assert_allclose(solution.y, exact, 1e-9, 1e-9)
    with device() as backend, little_memory(limit, reported=2 * limit):
        assert seqsolve.deer(cell, None, x, y0, backend=backend).success
        with pytest.raises(MemoryError, match=r"no memory left.*pass `window=(\d+)`") as caught:
            seqsolve.deer(cell, None, x, y0, backend=backend, window=60)
        assert "CUDA_ERROR_OUT_OF_MEMORY" in str(caught.value.__cause__.__cause__)
        advised = int(re.search(r"window=(\d+)", str(caught.value))[1])
        assert advised == 5  # half of the memory, two iterates of 16 bytes a step
        assert seqsolve.deer(cell, None, x, y0, backend=backend, window=advised).success
    with device() as backend, mock.patch.object(launch, "kernel", Failing), pytest.raises(KeyError):
        seqsolve.sequential(cell, x, y0, backend=backend)
    local_memory(cell, x, y0, exact)


def local_memory(cell, x, y0, exact):
    """Step through time, or iterate on arrays, where maps do not fit the threads' memory."""
    from seqsolve_numba.gpu import memory

    each = newton_kernels.local_bytes(2, 2, 8)
    for room, fits in ((each, True), (each - 1, False)):
        total = memory.LOCAL_SHARE**-1 * room * 1000
        with device() as backend, mock.patch.object(memory, "total_bytes", return_value=total):
            assert backend.fuses(cell, "float64") is fits
            assert backend.fuses(cell, "float32")
            for window in (None, 20):
                solution = seqsolve.deer(cell, None, x, y0, backend=backend, window=window)
                np.testing.assert_allclose(solution.y, exact, 1e-9, 1e-9)
                assert solution.success
                assert (solution.nit == 64) is (window is None and not fits)
            y = np.concatenate([y0[None], x])
            options = {"rtol": 0.0, "atol": np.ones(2), "maxiter": 9, "scale": 1.0, "window": 9}
            if not fits:
                with pytest.raises(ValueError, match=r"`window` must be 1.*2 states.*got 9"):
                    backend.newton_windows(cell, x, y, guessed=True, **options)


@contextmanager
def little_memory(limit, reported):
    """Let kernels fail, as those of a device without memory, that get larger arrays of states."""
    from seqsolve_numba.gpu import memory

    class Kernel(Failing):
        def fail(self, arguments):
            if max(np.size(a) * 8 for a in arguments[2:3]) > limit:
                raise CudaAPIError(2, "Call to cuLaunchKernel results in CUDA_ERROR_OUT_OF_MEMORY")

    with (
        mock.patch.object(launch, "kernel", Kernel),
        mock.patch.object(memory, "free_bytes", return_value=reported),
    ):
        yield


class Failing:
    """A kernel whose launch fails."""

    def __init__(self, function):
        self._kernel = cuda.jit(function)

    def __getitem__(self, grid):
        def run(*arguments):
            self.fail(arguments)
            self._kernel[grid](*arguments)

        return run

    def fail(self, arguments):
        raise KeyError("of another kind")


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


def nan_residuals(backend):
    """Do not let NaN pass."""
    case("residual_test-nan-fails")(backend)


def alone(_=None):
    """Sweep with a block for each sequence."""
    with device(8, 1) as backend:
        family(backend, 0, 1, 2)


def faults(part, n_parts):
    """Plant faults in kernels; each must show, and nothing else."""
    from numba_faults import all_faults

    chosen = all_faults()[int(part) :: int(n_parts)]
    for check in {check for _, check, _ in chosen}:
        with device(16, 100, 100) as backend:
            globals()[check](backend)
    for function, check, source in chosen:
        assert shows(function, check, source), (function, check, source)


def shows(function, check, source):
    """Return whether a check fails where a fault is planted."""
    from numba_faults import planted

    with planted(function, source), device(16, 100, 100) as backend:
        try:
            globals()[check](backend)
        except (AssertionError, IndexError):
            return True
    return False


if __name__ == "__main__":
    from turns import take_turns

    take_turns()
    warnings.simplefilter("ignore", RuntimeWarning)
    globals()[sys.argv[1]](*sys.argv[2:])
