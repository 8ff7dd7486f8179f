"""Linear recurrences against what else a user could run."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import cupy
from benchmarks.common import linear_problem
from peers.worker import Peers, sampled

import seqsolve
from gpu import verify
from gpu.figures import Case, Session
from gpu.measure import measured_by_user, release
from gpu.solvers import measure_peer

#: States, structure, steps.
SYSTEMS = [
    (1, "diagonal", 2**24),
    (4, "dense", 2**20),
    (2, "dense", 2**21),
    (16, "dense", 2**16),
    (64, "diagonal", 2**17),
    (64, "dense", 2**12),
]


def measure_linear(session: Session) -> None:
    """Measure the scan and `jax.lax.associative_scan`, both with the time of the call."""
    with Peers(session.tiny) as peers, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "peer.npy"
        for n_state, structure, n_steps in session.cases(SYSTEMS):
            case = {
                "n_state": n_state,
                "structure": structure,
                "n_steps": session.size(n_steps),
            }
            session.attempt(case, _linear, session, peers, case, file)


def _linear(session: Session, peers: Peers, case: Case, file: Path) -> None:
    A, b = map(
        cupy.asarray,
        linear_problem(case["n_steps"], case["n_state"], case["structure"], "float32"),
    )
    y = seqsolve.linear_recurrence(A, b)
    session.add(case, "seqsolve.linear_recurrence", partial(_ours, session, A, b, y))
    expected = cupy.asnumpy(sampled(y))
    del A, b, y
    release()
    variant = "jax.lax.associative_scan, jitted"
    measure_peer(session, peers, "jax_linear", variant, case, expected, file)


def _ours(session: Session, A: Any, b: Any, y: Any) -> dict[str, Any]:
    deviation = verify.recurrence(A[:, None], b[:, None], y[:, None])
    n_bytes = A.nbytes + 2 * b.nbytes
    result = measured_by_user(session, lambda: seqsolve.linear_recurrence(A, b), n_bytes=n_bytes)
    return {**result, "deviation": deviation}
