"""The core keeps its side of the contract: what it hands to the primitives of a backend."""

from __future__ import annotations

import numpy as np
import pytest
from support.steps import STRUCTURES, random_recurrence

import seqsolve
from seqsolve.portable import PortableBackend

KINDS = {"diagonal": (4,), "block_diagonal": (2, 2, 2), "blocks of one": (4, 1, 1), "dense": (4, 4)}


class Strict(PortableBackend):
    """Takes nothing that the contract does not promise."""

    def __init__(self):
        super().__init__("strict", np)
        self.calls = set()
        self.methods = set()

    def default_window(self, **sizes):
        assert set(sizes) == {"n_steps", "n_batch", "n_state", "n_jacobian", "dtype"}
        assert sizes["n_state"] <= sizes["n_jacobian"] <= sizes["n_state"] ** 2
        return super().default_window(**sizes)

    def linear_recurrence(self, A, b, y0, *, reverse, transpose, method, out):
        self._check_matrices(A, b, method)
        assert isinstance(reverse, bool)
        assert isinstance(transpose, bool)
        if y0 is not None:
            assert y0.shape == b.shape[1:]
            assert y0.dtype == b.dtype
        if out is not None:
            assert out.shape == b.shape
            assert out.dtype == b.dtype
            assert out.flags.c_contiguous
            assert not any(np.may_share_memory(out, a) for a in (A, b, y0) if a is not None)
        self.calls.add(("linear_recurrence", out is not None))
        return super().linear_recurrence(
            A, b, y0, reverse=reverse, transpose=transpose, method=method, out=out
        )

    def residual_test(self, y, fy, rtol, atol):
        assert y.ndim == 3
        assert y.shape == fy.shape
        assert y.dtype == fy.dtype
        assert isinstance(rtol, float)
        assert atol.shape == y.shape[2:]
        assert atol.dtype == y.real.dtype
        self.calls.add("residual_test")
        return super().residual_test(y, fy, rtol, atol)

    def newton_update(self, A, fy, y, *, method):
        self._check_matrices(A, fy, method)
        assert y.shape == fy.shape
        assert y.dtype == fy.dtype
        assert y.flags.writeable
        self.calls.add("newton_update")
        super().newton_update(A, fy, y, method=method)

    def _check_matrices(self, A, b, method):
        n = b.shape[-1]
        assert b.ndim == 3
        assert A.shape in (b.shape, (*b.shape, n))
        assert A.ndim == 3 or n > 1, "matrices of one number are diagonal"
        assert A.dtype == b.dtype
        assert A.dtype.name in self.capabilities.dtypes
        self.methods.add(method)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lead", [(20, 2, 3), (1, 2, 3), (20, 1, 1), (1, 1, 1)])
@pytest.mark.parametrize("dtypes", [("float64",) * 3, ("float32", "int8", "float64")])
@pytest.mark.parametrize("batch", [(2, 3), (0, 3), ()])
def test_linear_recurrences(kind, lead, dtypes, batch):
    backend, rng = Strict(), np.random.default_rng(0)
    if batch != (2, 3):
        lead = (lead[0], *batch)
    A = rng.uniform(-0.4, 0.4, (*lead, *KINDS[kind])).astype(dtypes[0])
    b = rng.uniform(-9, 9, (20, *batch, 4)).astype(dtypes[1])
    y0 = rng.uniform(-1, 1, (*batch, 4)).astype(dtypes[2])
    expected = seqsolve.linear_recurrence(A, b, y0)
    for out in (
        None,
        np.empty(b.shape),
        np.asfortranarray(np.empty(b.shape)),
        np.empty(b.shape, "float32"),
        np.empty((40, *b.shape[1:]))[::2],
        b if b.dtype == "float64" else None,
    ):
        y = seqsolve.linear_recurrence(A, b, y0, backend=backend, out=out)
        assert out is None or y is out
        tolerance = 1e-5 if y.dtype == "float32" else 1e-12
        np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)
    assert backend.calls == {("linear_recurrence", False), ("linear_recurrence", True)}


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
@pytest.mark.parametrize("n_state", [1, 4])
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("method", ["auto", "cyclic_reduction"])
def test_newtons_method_and_what_follows(structure, batch, n_state, dtype, method):
    r = random_recurrence(structure, np.random.default_rng(1), 30, batch, n_state, dtype)
    backend = Strict()
    solution = seqsolve.deer(
        r.f, r.jac, r.x, r.y0, backend=backend, window=12, linear_solver=method
    )
    seqsolve.vjp(solution, np.ones_like(solution.y))
    solution.error_bound()
    seqsolve.lyapunov_exponent(solution)
    if r.y0.size:
        assert backend.calls == {"residual_test", "newton_update", ("linear_recurrence", False)}
        assert backend.methods == {"auto", method}
    assert solution.success


@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_sweeps(batch):
    r = random_recurrence("dense", np.random.default_rng(2), 30, batch, 4, "float32")
    backend = Strict()
    h = seqsolve.triangular_map(r.f, r.x, r.y0, backend=backend)
    for solver, options in [("jacobi", {}), ("gs_jacobi", {"block_size": 4})]:
        solution = getattr(seqsolve, solver)(h, np.zeros(h.shape), atol=[1e-6] * 4, **options)
        assert solution.success
    assert "residual_test" in backend.calls
