"""Runs the tests that need a GPU, a few at a time in processes of their own.

    python tests/support/gpu_tests.py LOGS SECONDS [TESTS]

The processes share the GPU; most of their time is the host's, which compiles. A kernel that hangs
or faults costs the few tests of its process. Each leaves a log, in which the tests and what failed
so far are named even if it is ended.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

#: Tests of a process, seconds that it may take, and processes at a time.
TESTS, LIMIT, PROCESSES = 12, 300.0, min(8, os.cpu_count() or 1)

#: Seconds after which a test shows where it is, and that pytest has to report when interrupted.
SLOW, REPORTING = 100, 15.0

#: Versions are those of the machine: what they warn of is listed, and fails nothing.
PYTEST = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", "-W", "default"]

#: Options for other runs, `-n` say, are none for these: tests of a process go one after the other.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}

_NAME = re.compile(r"\S+\.py::\S+")


def main(logs: Path, seconds: float, tests: str) -> int:
    """Run the tests for at most so many seconds; return 1 where any failed or did not end."""
    end = time.monotonic() + seconds
    command = [*PYTEST, "--collect-only", "-q", "--continue-on-collection-errors", tests]
    collected = subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    (logs / "tests-collected.log").write_text(collected.stdout + collected.stderr)
    names = [line for line in collected.stdout.splitlines() if _NAME.match(line)]
    parts = [names[i : i + TESTS] for i in range(0, len(names), TESTS)]
    print(f"{len(names)} tests, {PROCESSES} processes at a time", flush=True)
    with ThreadPoolExecutor(PROCESSES) as pool:
        runs = [
            pool.submit(_run, part, logs / f"tests-{i:02}.log", end) for i, part in enumerate(parts)
        ]
    failed = collected.returncode != 0 or not all(run.result() for run in runs)
    if collected.returncode:
        print(f"not all tests were found: see {logs / 'tests-collected.log'}")
    return int(failed)


def _run(names: list[str], log: Path, end: float) -> bool:
    """Run some tests until a time, print what came of them, and return whether all is well."""
    limit = min(LIMIT, end - time.monotonic())
    if limit <= 0:
        print(f"no time left for {len(names)} tests from {names[0]} on", flush=True)
        return False
    options = ["-v", "-o", f"faulthandler_timeout={SLOW}"]
    with log.open("w") as file:
        process = subprocess.Popen(
            [*PYTEST, *options, *names],
            env=ENVIRONMENT,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        ended = _ended(process, limit)
    lines = log.read_text(errors="replace").splitlines()
    wrong = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    summary = [*wrong, lines[-1] if lines else "nothing was run"]
    if not ended:
        summary.append(f"ended after {limit:.0f} s, in or behind {_last(lines)}")
    print("\n".join(f"{log.name}: {line}" for line in summary), flush=True)
    return process.returncode == 0


def _ended(process: subprocess.Popen[bytes], limit: float) -> bool:
    """Wait for a process; interrupt it after `limit` seconds, so that it reports, or end it."""
    for seconds, how in ((limit, signal.SIGINT), (REPORTING, signal.SIGKILL)):
        try:
            process.wait(seconds)
            return how == signal.SIGINT
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, how)
    process.wait()
    return False


def _last(lines: list[str]) -> str:
    return next((m[0] for m in map(_NAME.match, reversed(lines)) if m), "the first test")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:] or ["tests"]))
