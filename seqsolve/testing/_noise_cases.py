"""Cases for the noise of likelihood-ratio gradients, by kernels or by the portable functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from seqsolve import likelihood_ratio, random
from seqsolve.backend import Backend, HalfProducts
from seqsolve.models import MLP
from seqsolve.testing._case import ConformanceCase
from seqsolve.testing._expect import close, context, expect, on_backend, owned, real_dtypes

_TABLES: dict[str, tuple[int, Any]] = {"normal": (2**32, np.uint32), "sign": (2, np.uint8)}


def cases() -> Iterator[ConformanceCase]:
    """Yield the cases of this module."""
    for name, check in {
        "noise-has-the-same-bits": _bits,
        "estimates-agree": _estimates,
        "half-products": _half_products,
    }.items():
        yield ConformanceCase(f"likelihood_ratio-{name}", check)


def _bits(backend: Backend) -> None:
    """Compare added and weighed noise with what NumPy computes, bit for bit."""
    rng = np.random.default_rng(0)
    copies = range(2, 5)
    for dtype in real_dtypes(backend):
        for kind, (high, table_dtype) in _TABLES.items():
            for n_units, has_table in ((1, False), (9, True), (300, False)):
                with context(f"{dtype}, {kind}, n_units = {n_units}, table = {has_table}"):
                    table = rng.integers(0, high, (3, 1, n_units)).astype(table_dtype)
                    stream = random.NoiseStream(
                        (2**64 - 1, 3), 4, kind, has_table, table if has_table else None
                    )
                    z = rng.standard_normal((1, 2, n_units)).astype(dtype)
                    w = rng.standard_normal((3, 2)).astype(dtype)
                    total = np.ones((2, n_units), dtype)
                    noisy = random.add_noise(np, z, 0.3, stream, copies)
                    random.weigh_noise(np, w, stream, copies, total)
                    if has_table:
                        stream = stream._replace(table=backend.asarray(table))
                    got, weighed = _noise(backend, z, w, stream, copies)
                    shape = (3, 2, n_units)
                    for found, right in (
                        (on_backend(backend, got, shape, dtype, "add_noise"), noisy),
                        (backend.to_numpy(weighed), total),
                    ):
                        differ = int((found != right).sum())
                        expect(not differ, f"{differ} of {right.size} numbers have other bits.")


def _noise(backend: Any, z: Any, w: Any, stream: random.NoiseStream, copies: range) -> Any:
    out = owned(backend, np.ones((z.shape[1], z.shape[2]), z.dtype))
    z, w = owned(backend, z), owned(backend, w)
    if isinstance(backend, random.NoiseKernels):
        noisy = backend.add_noise(z, 0.3, stream, copies)
        backend.weigh_noise(w, stream, copies, out)
    else:
        noisy = random.add_noise(backend.xp, z, 0.3, stream, copies)
        random.weigh_noise(backend.xp, w, stream, copies, out)
    return noisy, out


def _estimates(backend: Backend) -> None:
    """Compare estimates with those of NumPy arrays: matrix products may be rounded otherwise."""
    rng = np.random.default_rng(0)
    model = MLP.random((3, 4, 2), activation="tanh", rng=0)
    x, labels = rng.standard_normal((5, 3)), rng.integers(0, 2, 5)
    if "float64" not in backend.capabilities.dtypes:
        return
    for kind in ("gaussian", "sign", "orthogonal"):
        with context(kind):
            noise = likelihood_ratio.Noise(0.1, 8, kind)
            loss = likelihood_ratio.cross_entropy
            right = likelihood_ratio.value_and_grad(model, loss, noise, x, labels, backend="numpy")
            got = likelihood_ratio.value_and_grad(model, loss, noise, x, labels, backend=backend)
            for i, grads in enumerate(right.grads):
                for name, gradient in grads.items():
                    found = backend.to_numpy(got.grads[i][name])
                    close(found, gradient, 1e-10, f"grads[{i}][{name!r}]")


def _half_products(backend: Backend) -> None:
    """Compare products of rounded operands; their sums and results are not rounded to half."""
    if not isinstance(backend, HalfProducts):
        return
    rng = np.random.default_rng(0)
    for dtype in real_dtypes(backend):
        for m, k, n in ((1, 1, 1), (5, 300, 3), (2, 0, 3), (0, 2, 3)):
            with context(f"{dtype}, shapes ({m}, {k}) and ({k}, {n})"):
                a = (300 * rng.standard_normal((m, k))).astype(dtype)
                b = rng.standard_normal((n, k)).astype(dtype).T
                half_a, half_b = (c.astype(np.float16).astype(np.float64) for c in (a, b))
                got = backend.half_matmul(owned(backend, a), owned(backend, b))
                found = on_backend(backend, got, (m, n), dtype, "half_matmul")
                allowed = 5e-6 * (abs(half_a) @ abs(half_b))
                close(found, half_a @ half_b, allowed, "the product")
