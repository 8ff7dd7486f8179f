"""The noise of likelihood ratios, generated where it is used; the same bits everywhere."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import seqsolve
from gpu.figures import Case, Session
from gpu.measure import measured, release
from seqsolve.random import NoiseKernels, NoiseStream, add_noise, weigh_noise

#: Copies, data, units.
LAYERS = [(64, 128, 1024), (1, 4096, 4096)]
STREAM = NoiseStream((1, 2), 3, "normal", False, None)


def measure_noise(session: Session) -> None:
    """Measure adding and weighing noise on every backend that has kernels for it."""
    for name in ("cupy", "numba"):
        backend = seqsolve.get_backend(name)
        if type(backend).__name__ == "NumbaBackend" and not session.tiny:
            continue  # of CPU threads
        for sizes in session.cases(LAYERS, 1):
            n_copies, n_data, n_units = (session.size(n, 8) for n in sizes)
            case = {"backend": name, "n_copies": n_copies, "n_data": n_data, "n_units": n_units}
            if isinstance(backend, NoiseKernels):
                session.attempt(case, _noise, session, backend, case)
            release()


def _noise(session: Session, backend: Any, case: Case) -> None:
    _, n_copies, n_data, n_units = case.values()
    z = np.random.default_rng(0).standard_normal((1, n_data, n_units), dtype=np.float32)
    weights = np.random.default_rng(1).standard_normal((n_copies, n_data), dtype=np.float32)
    session.add(case, "add_noise", partial(_noisy, session, backend, z, n_copies))
    session.add(case, "weigh_noise", partial(_weighed, session, backend, weights, n_units))


def _noisy(session: Session, backend: Any, z: Any, n_copies: int) -> dict[str, Any]:
    on_device = backend.asarray(z)

    def call(copies: range = range(n_copies)) -> Any:
        return backend.add_noise(on_device, 0.37, STREAM, copies)

    few = range(min(2, n_copies))
    deviation = _bits(backend.to_numpy(call(few)), add_noise(np, z, 0.37, STREAM, few))
    n_bytes = (1 + n_copies) * z.nbytes
    return {**measured(session, [call], n_bytes=n_bytes), "deviation": deviation}


def _weighed(session: Session, backend: Any, weights: Any, n_units: int) -> dict[str, Any]:
    n_copies, n_data = weights.shape
    few, copies = min(8, n_data), range(n_copies)
    exact = np.zeros((few, n_units), np.float32)
    weigh_noise(np, weights[:, :few], STREAM, copies, exact)
    on_device, out = backend.asarray(weights), backend.asarray(np.zeros((n_data, n_units), "f4"))

    def call() -> None:
        backend.weigh_noise(on_device, STREAM, copies, out)

    call()
    deviation = _bits(backend.to_numpy(out)[:few], exact)
    n_bytes = weights.nbytes + 2 * out.nbytes
    return {**measured(session, [call], n_bytes=n_bytes), "deviation": deviation}


def _bits(got: Any, expected: Any) -> float:
    """Return 0 where all bits agree."""
    return 0.0 if np.array_equal(got, expected) else float("inf")
