"""Nothing needs what only Linux has."""

from __future__ import annotations

import subprocess
import sys

#: What others need of the system they have by then.
PRELUDE = """
import errno, importlib.abc, io, mmap, os, pathlib, signal, sys
import concurrent.futures.thread, numba, numpy, scipy.special

for module, names in [
    (os, ["sched_getaffinity", "sched_setaffinity", "fork", "register_at_fork", "getuid", "uname"]),
    (signal, ["SIGALRM", "SIGKILL", "alarm", "setitimer"]),
    (mmap, ["MADV_DONTNEED", "PROT_READ", "MAP_SHARED"]),
]:
    for name in names:
        if hasattr(module, name):
            delattr(module, name)


class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in ("fcntl", "resource", "pwd", "grp", "termios", "posix_ipc"):
            raise ModuleNotFoundError(f"there is no {name} here")


sys.meta_path.insert(0, Absent())


def without_linux(function):
    def found(path, *arguments, **options):
        if str(path).startswith(("/proc", "/sys")):
            raise FileNotFoundError(errno.ENOENT, "there is none here", str(path))
        return function(path, *arguments, **options)

    return found


io.open, os.scandir, os.stat = map(without_linux, (io.open, os.scandir, os.stat))
"""

SOLVE = """
import numpy as np, seqsolve

x = np.sin(np.arange(300.0))[:, None]
for name in ("numpy", "numba"):
    f = lambda y, x: 0.5 * np.sin(y) + x
    assert seqsolve.deer(f, "2-point", x, [0.0], backend=name).success
    assert seqsolve.solve_ivp(lambda t, y: -y, (0, 1), [1.0], backend=name).success
print(seqsolve.get_backend("numpy").describe())
"""

HIDDEN = """
for attempt in [
    lambda: os.sched_getaffinity(0),
    lambda: signal.SIGALRM,
    lambda: __import__("resource"),
    lambda: pathlib.Path("/proc/cpuinfo").read_text(),
    lambda: next(pathlib.Path("/sys").glob("*")),
]:
    try:
        attempt()
    except (AttributeError, ImportError, OSError, StopIteration):
        print("hidden")
"""

SUBPACKAGES = """
from seqsolve import datasets, likelihood_ratio, models, testing, training
"""


def run_elsewhere(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", PRELUDE + code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_what_only_linux_has_is_hidden():
    assert run_elsewhere(HIDDEN).split() == 5 * ["hidden"]


def test_solvers_run_where_the_system_offers_little():
    assert "cores" in run_elsewhere(SOLVE)


def test_subpackages_are_imported_where_the_system_offers_little():
    run_elsewhere(SUBPACKAGES)
