"""Peers in processes of their own, which may take too long, or too much memory.

    python -m peers.worker PEER [--tiny]

reads cases and writes answers, a line of JSON each.
"""

from __future__ import annotations

import json
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import benchmarks  # noqa: F401  # first of all: NumPy reads the number of threads when loaded
import numpy as np

#: Seconds that a measurement is repeated, and repeats at least and at most.
SECONDS, LEAST, MOST = 0.3, 3, 50

#: Steps whose states are compared.
SAMPLES = 1000

#: JAX takes memory as needed, and leaves some to others on the device.
ENVIRONMENT = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.45"}


class PeerError(RuntimeError):
    """A peer could not compute a case; the text says why."""


def sampled(y: Any) -> Any:
    """Return the states that are compared: at most `SAMPLES` steps, the last one among them."""
    n_steps = y.shape[0]
    return y[:: -max(1, n_steps // SAMPLES)]


class Peers:
    """Processes in which peers run; each is started when first asked for.

    Parameters
    ----------
    tiny : bool
        They may run without a GPU: what is tested is the report.
    """

    def __init__(self, tiny: bool) -> None:
        self._tiny = tiny
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def __enter__(self) -> Peers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for peer in list(self._processes):
            self._end(peer)

    def measure(self, peer: str, case: dict[str, Any], file: Path, timeout: float) -> Any:
        """Have a peer compute a case, and return its answer.

        Parameters
        ----------
        peer : str
            A module of this package.
        case : dict
            ``n_units``, ``n_batch`` and ``n_steps`` of a GRU of `gru_problem`, or ``n_state``,
            ``structure`` and ``n_steps`` of a recurrence of `linear_problem`.
        file : Path
            Receives the states at the steps of `sampled`.
        timeout : float
            Seconds until the process is ended.

        Returns
        -------
        dict
            ``seconds``, the median; ``first``, of the first call; ``device``.

        Raises
        ------
        PeerError
            It is missing, failed or took too long.
        """
        if peer not in self._processes:
            self._processes[peer] = self._start(peer)
        process = self._processes[peer]
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(json.dumps({**case, "file": str(file)}) + "\n")
            process.stdin.flush()
        except OSError:
            self._end(peer)
            raise PeerError("its process has ended") from None
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, timeout))
        line = process.stdout.readline() if ready else ""
        if not line:
            self._end(peer)
            reason = "its process has ended" if ready else f"took more than {timeout:.0f} s"
            raise PeerError(reason)
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def _start(self, peer: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "peers.worker", peer, *(["--tiny"] if self._tiny else [])],
            cwd=Path(__file__).parents[1],
            env={**os.environ, **ENVIRONMENT, "PYTHONSAFEPATH": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _end(self, peer: str) -> None:
        process = self._processes.pop(peer)
        process.kill()
        process.communicate()


def main(peer: str, tiny: bool) -> None:
    """Answer cases until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        try:
            answer = _answer(import_module(f"peers.{peer}"), json.loads(line), tiny)
        except Exception as error:  # each library has its own
            answer = {"error": f"{type(error).__name__}: {error}".replace("\n", " ")[:160]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _answer(peer: Any, case: dict[str, Any], tiny: bool) -> dict[str, Any]:
    if not tiny and not peer.on_gpu():
        raise PeerError("is not installed with a GPU")
    run, shape = _problem(peer, case)
    start = time.perf_counter()
    y = run()
    first = time.perf_counter() - start
    np.save(case["file"], sampled(np.asarray(_on_host(y)).reshape(shape)))
    del y
    times: list[float] = []
    end = time.monotonic() + (0.0 if tiny else SECONDS)
    while len(times) < LEAST or (len(times) < MOST and time.monotonic() < end):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    device = "gpu" if peer.on_gpu() else "cpu"
    return {"seconds": statistics.median(times), "first": first, "device": device}


def _problem(peer: Any, case: dict[str, Any]) -> tuple[Callable[[], Any], tuple[int, ...]]:
    """Return what a peer computes, and the shape of the states."""
    from benchmarks.common import gru_problem, linear_problem

    n_steps = case["n_steps"]
    if "structure" in case:
        A, b = linear_problem(n_steps, case["n_state"], case["structure"], "float32")
        return peer.linear(A, b), b.shape
    batch = () if case["n_batch"] == 1 else (case["n_batch"],)
    cell, x, y0 = gru_problem(case["n_units"], n_steps, batch)
    return peer.gru(cell, x, y0), (n_steps, *y0.shape)


def _on_host(y: Any) -> Any:
    return y.cpu().numpy() if hasattr(y, "cpu") else y


if __name__ == "__main__":
    main(sys.argv[1], "--tiny" in sys.argv)
