"""A GRU by `jax.lax.scan`, jitted: the usual compiled way to step through time."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np


def available() -> bool:
    """Return whether JAX is installed."""
    return find_spec("jax") is not None


def on_gpu() -> bool:
    """Return whether JAX is installed and runs on a GPU."""
    if not available():
        return False
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    return bool(jax.default_backend() == "gpu")


def gru(cell: Any, x: Any, y0: Any) -> Callable[[], Any]:
    """Return a function that runs the cell over its input, and waits for the result."""
    os.environ.setdefault(
        "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    )
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_default_matmul_precision", "highest")  # not tf32
    if x.dtype == np.float64:
        jax.config.update("jax_enable_x64", True)
    weights = {name: jnp.asarray(np.asarray(p)) for name, p in cell.params.items()}
    n = y0.shape[-1]

    @jax.jit
    def run(x: Any, y0: Any) -> Any:
        projected = x @ weights["weight_ih"].T + weights["bias_ih"]

        def step(h: Any, gates: Any) -> tuple[Any, Any]:
            hidden = h @ weights["weight_hh"].T + weights["bias_hh"]
            r, z = jnp.split(jax.nn.sigmoid(gates[..., : 2 * n] + hidden[..., : 2 * n]), 2, -1)
            candidate = jnp.tanh(gates[..., 2 * n :] + r * hidden[..., 2 * n :])
            h = candidate + z * (h - candidate)
            return h, h

        return jax.lax.scan(step, y0, projected)[1]

    x, y0 = jnp.asarray(x), jnp.asarray(y0)
    return lambda: run(x, y0).block_until_ready()
