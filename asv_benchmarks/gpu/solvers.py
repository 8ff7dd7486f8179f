"""`deer` on GRUs against what else a user could run, and where its time goes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cupy
import numpy as np
from benchmarks.common import gru_problem
from peers.worker import Peers, sampled

import seqsolve
from gpu import verify
from gpu.figures import Case, Figure, Session
from gpu.measure import measured, measured_by_user, release
from gpu.targets import DEER, LOOP, RIVAL, TOLERANCE
from seqsolve.backend import FusedSteps

#: Units and sequences, and lengths; the most telling first.
GRUS = [
    (1, 16),
    (4, 1),
    (16, 1),
    (32, 1),
    (1, 1),
    (2, 1),
    (8, 1),
    (64, 1),
    (4, 16),
    (16, 16),
    (32, 16),
    (2, 16),
    (8, 16),
    (64, 16),
]
LENGTHS = (10_000, 1_000_000, 100_000, 1_000)

#: Units, sequences and steps of the parts of an iteration.
PARTS = [(1, 16, 10**6), (4, 1, 10**6), (16, 1, 10**5), (32, 1, 10**5), (1, 16, 10**4)]

FUSED = "seqsolve.deer, element step"
PEERS = {
    "jax_scan": "jax.lax.scan, jitted",
    "jax_deer": RIVAL,
    "torch_gru": "cuDNN GRU (torch)",
}

#: Steps that the loop in Python takes; its time a step does not depend on the length.
LOOP_STEPS = 300

#: Seconds of one call of a peer beyond which its time is scaled from fewer steps, and that
#: compiling may take.
LONGEST_CALL, COMPILING = 1.0, 60.0


def measure_deer(session: Session) -> None:
    """Measure `deer` and its peers; what is wrong or fails is noted."""
    with Peers(session.tiny) as peers, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "peer.npy"
        for n_steps in (40, 64) if session.tiny else LENGTHS:
            for n_units, n_batch in session.cases(GRUS):
                case = {"n_units": n_units, "n_batch": n_batch, "n_steps": n_steps}
                session.attempt(case, _gru, session, peers, case, file)


class Problem:
    """A GRU on the device.

    Parameters
    ----------
    n_units, n_batch, n_steps : int
        Its sizes; with one sequence, there is no batch axis.
    """

    def __init__(self, n_units: int, n_batch: int, n_steps: int) -> None:
        self.case = {"n_units": n_units, "n_batch": n_batch, "n_steps": n_steps}
        cell, x, y0 = gru_problem(n_units, n_steps, () if n_batch == 1 else (n_batch,))
        self.cell, self.x, self.y0 = cell_on_device(cell), cupy.asarray(x), cupy.asarray(y0)
        self.y: Any = None

    def deer(self, session: Session, step: Any, window: int | None = None) -> dict[str, Any]:
        """Return the time of `deer`; the first solution is kept, and others compared with it."""

        def solve() -> Any:
            return seqsolve.deer(step, None, self.x, self.y0, window=window, on_failure="return")

        solution = solve()
        n_windows = len(solution.history)
        if self.y is None:
            self.y = solution.y
        deviation = verify.same(solution.y, self.y, TOLERANCE)
        n_bytes = self.x.nbytes + self.y.nbytes
        return {
            **measured_by_user(session, solve, n_bytes=n_bytes),
            "deviation": deviation if solution.success else float("inf"),
            "note": f"{solution.status.name.lower()}, nit {solution.nit}, windows {n_windows}",
        }

    def loop(self, session: Session, n_steps: int) -> dict[str, Any]:
        """Return the time of the first steps, taken one by one."""
        x, y = self.x[:n_steps], self.y[:n_steps]
        deviation = verify.same(gru_loop(self.cell, x, self.y0), y, TOLERANCE)
        result = measured_by_user(session, lambda: gru_loop(self.cell, x, self.y0))
        return {**result, "deviation": deviation}


def _gru(session: Session, peers: Peers, case: Case, file: Path) -> None:
    problem = Problem(**case)
    session.add(case, DEER, partial(problem.deer, session, problem.cell), expected=3.0)
    if isinstance(seqsolve.get_backend("cupy"), FusedSteps):
        step = problem.cell.element_step()
        session.add(case, FUSED, partial(problem.deer, session, step), expected=3.0)
    if problem.y is None:
        release()
        return
    if not _others(session, case, LOOP):
        n_loop = min(case["n_steps"], LOOP_STEPS)
        loop = {**case, "n_steps": n_loop}
        session.add(loop, LOOP, partial(problem.loop, session, n_loop))
    expected = cupy.asnumpy(sampled(problem.y))
    del problem
    release()
    for peer, variant in PEERS.items():
        measure_peer(session, peers, peer, variant, case, expected, file)


def measure_peer(
    session: Session,
    peers: Peers,
    peer: str,
    variant: str,
    case: Case,
    expected: np.ndarray,
    file: Path,
) -> None:
    """Have a peer compute a case in its process; scale its time where it is slow."""
    shorter = [f for f in _others(session, case, variant) if f.case["n_steps"] < case["n_steps"]]
    likely = 0.0
    if shorter:
        last = max(shorter, key=lambda f: f.case["n_steps"])
        before = f"{last.case['n_steps']:,} steps"
        if last.seconds is None:
            note = f"not tried: at {before}: {last.note}"
            session.add(case, variant, lambda: {"seconds": None, "note": note})
            return
        likely = last.seconds * case["n_steps"] / last.case["n_steps"]
        if likely > LONGEST_CALL:
            scaled = {"seconds": likely, "deviation": last.deviation}
            scaled["note"] = f"scaled from {before}"
            session.add(case, variant, lambda: scaled, expected=0.0)
            return

    def measure() -> dict[str, Any]:
        timeout = session.left()
        if not session.tiny:
            timeout = min(timeout, COMPILING + 6 * likely)
        answer = peers.measure(peer, case, file, timeout)
        largest = max(1.0, float(np.abs(expected).max()))
        deviation = float(np.abs(np.load(file) - expected).max()) / (TOLERANCE * largest)
        note = f"first call {answer['first']:.1f} s, on {answer['device']}"
        return {"seconds": answer["seconds"], "deviation": deviation, "note": note}

    session.add(case, variant, measure, expected=5.0 + 3 * likely)


def _others(session: Session, case: Case, variant: str) -> list[Figure]:
    """Return the figures of a variant for the same problem at any length."""
    any_length = {**case, "n_steps": 0}
    return [
        f
        for f in session.figures
        if f.variant == variant and {**f.case, "n_steps": 0} == any_length
    ]


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
    for n_units, n_batch, n_steps in session.cases(PARTS, 1):
        case = {"n_units": n_units, "n_batch": n_batch, "n_steps": session.size(n_steps)}
        session.attempt(case, _parts, session, case)
        release()


def _parts(session: Session, case: Case) -> None:
    backend = seqsolve.get_backend("cupy")
    problem = Problem(**case)
    bound = problem.cell.bind(problem.x)
    y = cupy.zeros((*problem.x.shape[:-1], case["n_units"]), dtype=np.float32)
    fy, complete = bound.linearize(y)
    A = complete()
    y3, fy3 = (a.reshape(len(a), -1, case["n_units"]) for a in (y, fy))
    A4 = A.reshape(*y3.shape, *A.shape[y.ndim :])
    atol = cupy.full(case["n_units"], 1e-6, dtype=np.float32)
    parts: dict[str, tuple[Callable[[], Any], int]] = {
        "step function": (lambda: bound.linearize(y)[0], 0),
        "step function and Jacobian": (lambda: bound.linearize(y)[1](), 0),
        "newton_update": (
            lambda: backend.newton_update(A4, fy3, y3, method="auto"),
            A.nbytes + 3 * y.nbytes,
        ),
        "residual_test": (lambda: backend.residual_test(y3, fy3, 1e-6, atol), 2 * y.nbytes),
    }
    for part, (call, n_bytes) in parts.items():
        call()
        session.add(case, part, partial(measured, session, [call], n_bytes=n_bytes))


def cell_on_device(cell: Any) -> Any:
    """Return the cell with its parameters on the device."""
    return cell.with_params({name: cupy.asarray(p) for name, p in cell.params.items()})
