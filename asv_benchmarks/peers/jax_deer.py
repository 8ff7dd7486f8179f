"""A GRU by DEER as its paper has it: Newton's method, `jax.lax.associative_scan`, jitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from peers.jax_scan import on_gpu

__all__ = ["gru", "on_gpu"]

#: Iterations at most, and the largest change of the trajectory that ends them: Newton's method
#: converges quadratically, so what is left is about its square.
MAXITER, TOLERANCE = 100, 1e-4


def gru(cell: Any, x: Any, y0: Any) -> Callable[[], Any]:
    """Return a function that solves for the whole trajectory, and waits for the result."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_default_matmul_precision", "highest")  # not tf32
    p = {name: jnp.asarray(np.asarray(a)) for name, a in cell.params.items()}
    n = y0.shape[-1]

    def step(h: Any, gates: Any) -> Any:
        hidden = p["weight_hh"] @ h + p["bias_hh"]
        r, z = jnp.split(jax.nn.sigmoid(gates[: 2 * n] + hidden[: 2 * n]), 2)
        candidate = jnp.tanh(gates[2 * n :] + r * hidden[2 * n :])
        return candidate + z * (h - candidate)

    def compose(first: Any, second: Any) -> Any:
        (A1, b1), (A2, b2) = first, second
        return A2 @ A1, (A2 @ b1[..., None])[..., 0] + b2

    def solve(x: Any, y0: Any) -> Any:
        gates = x @ p["weight_ih"].T + p["bias_ih"]

        def improve(state: Any) -> Any:
            y, _, iteration = state
            y_prev = jnp.concatenate([y0[None], y[:-1]])
            f = jax.vmap(step)(y_prev, gates)
            A = jax.vmap(jax.jacfwd(step))(y_prev, gates)
            b = f - (A @ y_prev[..., None])[..., 0]
            b = b.at[0].add(A[0] @ y0)
            new = jax.lax.associative_scan(compose, (A, b))[1]
            return new, jnp.abs(new - y).max(), iteration + 1

        def goes_on(state: Any) -> Any:
            return (state[1] > TOLERANCE) & (state[2] < MAXITER)

        start = (jnp.zeros((x.shape[0], n), x.dtype), jnp.asarray(jnp.inf, x.dtype), 0)
        return jax.lax.while_loop(goes_on, improve, start)[0]

    run = jax.jit(solve if y0.ndim == 1 else jax.vmap(solve, in_axes=(1, 0), out_axes=1))
    x, y0 = jnp.asarray(x), jnp.asarray(y0)
    return lambda: run(x, y0).block_until_ready()
