"""What runs where Numba simulates CUDA: ``python simulated.py TASK [ARGUMENT ...]``."""

from __future__ import annotations

import importlib
import inspect
import sys
import warnings
from contextlib import contextmanager
from unittest import mock

import numpy as np

import seqsolve
from seqsolve import element_step
from seqsolve.models import MultiHeadGRU
from seqsolve.testing import check_backend, conformance_cases
from seqsolve_numba import CudaBackend
from seqsolve_numba.gpu import launch, linear


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


def newton(backend="numba"):
    """Iterate as the core does, with any number of steps for each thread and any guess."""
    for n_steps, window, maxiter, guessed in ((37, 37, 9, 0), (26, 7, 9, 1), (30, 30, 2, 1)):
        cell, x, y0, rng = problem(n_steps, 1, n_steps)
        guess = rng.standard_normal(x.shape) if guessed else None
        options = {
            "window": window,
            "maxiter": maxiter,
            "initial_guess": guess,
            "damping": 0.1,
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


def sweeps(backend="numba"):
    """Sweep every sequence as the core sweeps it alone, over any number of tiles and rounds."""
    rng = np.random.default_rng(0)
    solvers = {
        "jacobi": lambda h, g, b, w, **o: seqsolve.jacobi(h, g, window=w, **o),
        "gs_jacobi": lambda h, g, b, w, **o: seqsolve.gs_jacobi(h, g, block_size=b, **o),
        "jacobi_gs": lambda h, g, b, w, **o: seqsolve.jacobi_gs(h, g, block_size=b, window=w, **o),
    }
    for seed in range(12):
        n_steps, block, window = (int(i) for i in rng.integers(1, (45, 14, 50)))
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


def gru():
    """Step and iterate a block-diagonal cell in single precision."""
    cell = MultiHeadGRU.random(2, 4, n_heads=2, dtype="float32", rng=0).element_step()
    rng = np.random.default_rng(1)
    x, y0 = rng.standard_normal((21, 2, 2)).astype("float32"), np.zeros((2, 4), "float32")
    exact = seqsolve.sequential(cell, x, y0).y
    for window in (1, 21):
        solution = seqsolve.deer(cell, None, x, y0, backend="numba", window=window)
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


#: What is wrong with a kernel: its module, the function that builds it, what it says and what it
#: should not say, and the check that must fail.
FAULTS = (
    ("newton", "_build", "carry(ends, products, (front - base) // length, column)", "pass", newton),
    ("newton", "_compose", "product[i, m] = column[i]", "pass", newton),
    ("newton", "_passes", "return largest, passed", "return 0.0, True", newton),
    ("sweeps", "_test", "return largest, passed", "return 0.0, True", sweeps),
    ("sweeps", "_evaluate", "argument(x, t, k)", "argument(x, max(t - 1, 0), k)", sweeps),
    ("sweeps", "_sweep_blocks", "low + inner, size", "low + inner - 1, size", sweeps),
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
    with mock.patch.object(launch, "n_resident", return_value=100):
        for check in {fault[-1] for fault in FAULTS}:
            check(CudaBackend())
        for module, function, right, wrong, check in FAULTS[int(part) :: int(n_parts)]:
            with planted(
                importlib.import_module(f"seqsolve_numba.gpu.{module}"), function, right, wrong
            ):
                try:
                    check(CudaBackend())
                except AssertionError:
                    continue
            raise AssertionError(f"{wrong!r} for {right!r} in {module}.{function} does not show.")


@contextmanager
def planted(module, name, right, wrong):
    """Replace a text in the source of a function, once it is made sure that it is there."""
    function = getattr(module, name)
    source = inspect.getsource(function)
    assert right in source, (name, right)
    namespace = {}
    exec(source.replace(right, wrong), vars(module), namespace)
    _forget()
    try:
        with mock.patch.object(module, name, namespace[name]):
            yield
    finally:
        _forget()


def _forget():
    linear._Kernels.of.cache_clear()
    linear._residual_kernel.cache_clear()


if __name__ == "__main__":
    from turns import take_turns

    take_turns()
    warnings.simplefilter("ignore", RuntimeWarning)
    globals()[sys.argv[1]](*sys.argv[2:])
