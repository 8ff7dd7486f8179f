"""Linear recurrences by `jax.lax.associative_scan`, jitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peers.jax_scan import on_gpu

__all__ = ["linear", "on_gpu"]


def linear(A: Any, b: Any) -> Callable[[], Any]:
    """Return a function that solves ``y[t] = A[t] y[t-1] + b[t]``, and waits for the result."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_default_matmul_precision", "highest")  # not tf32
    diagonal = A.ndim == b.ndim

    def compose(first: Any, second: Any) -> Any:
        (A1, b1), (A2, b2) = first, second
        if diagonal:
            return A2 * A1, A2 * b1 + b2
        return A2 @ A1, (A2 @ b1[..., None])[..., 0] + b2

    run = jax.jit(lambda A, b: jax.lax.associative_scan(compose, (A, b))[1])
    A, b = jnp.asarray(A), jnp.asarray(b)
    return lambda: run(A, b).block_until_ready()
