"""`deer` on GRUs against what else a user could run, and where its time goes."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np
from benchmarks.common import gru_problem
from peers import jax_deer, jax_scan, torch_gru

import seqsolve
from gpu.measure import LEAST, Session

DEER = "GRU by deer, float32"
PARTS = "Parts of an iteration of deer, GRU, float32"

UNITS = (1, 4, 16, 32, 2, 8, 64)
LENGTHS = (10_000, 1_000_000, 100_000, 1_000)
BATCHES = (1, 16)

LOOP = "loop over CuPy calls"

#: Steps that the loop in Python takes; its time a step does not depend on the length.
LOOP_STEPS = 300

#: What a repeat may take against what the steps that were measured lead to expect, and the
#: seconds of a first figure, compilation included.
GROWTH, FIRST = 1.5, 15.0


def measure_deer(session: Session) -> None:
    """Measure `deer` and its rivals, each only where the figures so far leave time for it."""
    for n_steps in map(session.size, LENGTHS[:1] if session.tiny else LENGTHS):
        for n_units in session.cases(UNITS):
            for n_batch in BATCHES:
                case = {"n_units": n_units, "n_batch": n_batch, "n_steps": n_steps}
                if session.budget.left() > 2.0:
                    _gru(session, case)
                else:
                    session.skip(DEER, case, "seqsolve.deer and its rivals")


def _gru(session: Session, case: dict[str, Any]) -> None:
    n_units, n_batch, n_steps = case.values()
    batch = () if n_batch == 1 else (n_batch,)
    cell, x, y0 = gru_problem(n_units, n_steps, batch)
    n_bytes = x.nbytes + n_batch * n_steps * n_units * 4
    on_device = _on_device(cell)
    x_device, y0_device = cupy.asarray(x), cupy.asarray(y0)
    solutions: list[Any] = []

    def deer() -> None:
        solutions[:] = [seqsolve.deer(on_device, None, x_device, y0_device, on_failure="return")]

    def outcome() -> str:
        (solution,) = solutions
        n_windows = len(solution.history)
        return f"{solution.status.name.lower()}, nit {solution.nit}, windows {n_windows}"

    n_loop = min(n_steps, LOOP_STEPS)
    session.add(
        DEER,
        case,
        "seqsolve.deer",
        deer,
        n_bytes=n_bytes,
        note=outcome,
        expected=_expected(session, case, "seqsolve.deer"),
    )
    loop = {**case, "n_steps": n_loop}
    if not any(f.case == loop and f.variant == LOOP for f in session.figures):
        session.add(DEER, loop, LOOP, lambda: gru_loop(on_device, x_device[:n_loop], y0_device))
    for variant, peer in (
        ("jax.lax.scan, jitted", jax_scan),
        ("DEER by jax.lax.associative_scan", jax_deer),
        ("cuDNN GRU (torch)", torch_gru),
    ):
        if peer.on_gpu():
            expected = _expected(session, case, variant)
            session.add(
                DEER, case, variant, peer.gru(cell, x, y0), n_bytes=n_bytes, expected=expected
            )


def _expected(session: Session, case: dict[str, Any], variant: str) -> float:
    """Return the seconds that measuring a case may take, from other lengths of the same."""
    rates = [
        figure.seconds / figure.case["n_steps"]
        for figure in session.figures
        if figure.variant == variant
        and figure.seconds is not None
        and {**figure.case, "n_steps": case["n_steps"]} == case
    ]
    if not rates:
        return 0.0 if session.tiny else FIRST
    return (1 + LEAST) * GROWTH * max(rates) * float(case["n_steps"])


def gru_loop(cell: Any, x: Any, y0: Any) -> Any:
    """Step through a GRU with one CuPy call after the other, its input projected beforehand."""
    p = cell.params
    weight, bias, n = p["weight_hh"].T, p["bias_hh"], y0.shape[-1]
    projected = x @ p["weight_ih"].T + p["bias_ih"]
    y = cupy.empty((len(x), *y0.shape), dtype=y0.dtype)
    h = y0
    for t in range(len(x)):
        gates, hidden = projected[t], h @ weight + bias
        rz = 1 / (1 + cupy.exp(-(gates[..., : 2 * n] + hidden[..., : 2 * n])))
        candidate = cupy.tanh(gates[..., 2 * n :] + rz[..., :n] * hidden[..., 2 * n :])
        h = candidate + rz[..., n:] * (h - candidate)
        y[t] = h
    return y


def measure_parts(session: Session) -> None:
    """Measure the step, its Jacobian, the update and the test, each alone."""
    backend = seqsolve.get_backend("cupy")
    for n_units, n_batch in session.cases(((1, 16), (4, 1), (16, 1), (32, 1))):
        n_steps = session.size(100_000)
        cell, x, _ = gru_problem(n_units, n_steps, (n_batch,))
        bound = _on_device(cell).bind(cupy.asarray(x))
        y = cupy.zeros((n_steps, n_batch, n_units), dtype=np.float32)
        fy, complete = bound.linearize(y)
        A = complete()
        atol = cupy.full(n_units, 1e-6, dtype=np.float32)
        case = {"n_units": n_units, "n_batch": n_batch, "n_steps": n_steps}
        session.add(
            PARTS,
            case,
            "step function",
            lambda bound=bound, y=y: bound.linearize(y)[0],
            on_device=True,
        )
        session.add(
            PARTS,
            case,
            "step function and Jacobian",
            lambda bound=bound, y=y: bound.linearize(y)[1](),
            on_device=True,
        )
        session.add(
            PARTS,
            case,
            "newton_update",
            lambda A=A, fy=fy, y=y: backend.newton_update(A, fy, y, method="auto"),
            n_bytes=A.nbytes + 3 * y.nbytes,
            on_device=True,
        )
        session.add(
            PARTS,
            case,
            "residual_test",
            lambda fy=fy, y=y, atol=atol: backend.residual_test(y, fy, 1e-6, atol),
            n_bytes=2 * y.nbytes,
            on_device=True,
        )


def _on_device(cell: Any) -> Any:
    """Return the cell with its parameters on the device."""
    return cell.with_params({name: cupy.asarray(p) for name, p in cell.params.items()})
