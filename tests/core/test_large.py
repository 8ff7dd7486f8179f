"""Long sequences, many sequences, and bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import seqsolve
from seqsolve.models import GRU

LONG = """
import sys
import numpy as np, seqsolve

folder, dtype, n_steps = sys.argv[1], sys.argv[2], 10**7
x = np.memmap(f"{folder}/x", dtype, "r", shape=(n_steps, 1))
y = np.memmap(f"{folder}/y", dtype, "w+", shape=(n_steps, 1))
solution = seqsolve.deer(
    lambda y, x: np.tanh(0.9 * y + x),
    lambda y, x: 0.9 * (1 - np.tanh(0.9 * y + x) ** 2),
    x, np.zeros(1, dtype), out=y,
)
assert solution.success, solution
assert solution.y is y
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def warm_up(x, dtype):
    """Have the kernels compiled, whose memory is not what is measured."""
    seqsolve.deer(lambda y, x: np.tanh(0.9 * y + x), "cs", x, np.zeros(1, dtype), window=50)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ten_million_steps_in_little_memory(tmp_path, dtype):
    n_steps = 10**7
    x = np.memmap(tmp_path / "x", dtype, "w+", shape=(n_steps, 1))
    x[:, 0] = np.sin(0.001 * np.arange(n_steps))
    x.flush()
    warm_up(np.zeros((100, 1), dtype), dtype)
    command = [sys.executable, "-c", LONG, str(tmp_path), dtype]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) < 300_000  # KiB

    y = np.memmap(tmp_path / "y", dtype, "r", shape=(n_steps, 1))
    tolerance = {"float32": 1e-5, "float64": 1e-10}[dtype]
    for start in (0, 123_456, n_steps - 1000):
        state = y[start - 1] if start else np.zeros(1, dtype)
        for t in range(start, start + 1000):
            state = np.tanh(np.asarray(0.9, dtype) * state + x[t])
            assert abs(state - y[t]).item() < tolerance


def images() -> np.ndarray:
    """Return MNIST's test images as sequences of pixels, or noise of that form, but fewer."""
    if "SEQSOLVE_DATA" in os.environ:
        pixels = np.load(Path(os.environ["SEQSOLVE_DATA"]) / "mnist.npz")["test_images"]
    else:
        pixels = np.random.default_rng(0).integers(0, 256, (500, 28, 28)) * (np.arange(28) % 7 < 3)
    sequences = (pixels.reshape(len(pixels), 784) / np.float32(255)).astype(np.float32)
    return np.ascontiguousarray(sequences.T)[..., None]


@pytest.fixture(scope="module")
def pixels():
    return images()


def largest_deviation(gru, x, y):
    state, largest = np.zeros(y.shape[1:], y.dtype), 0.0
    for x_t, y_t in zip(x, y, strict=True):
        state = gru(state, x_t)
        largest = max(largest, float(abs(state - y_t).max()))
    return largest


def test_all_images_in_one_call(pixels):
    gru = GRU.random(1, 16, rng=0)
    n_images = pixels.shape[1]
    tracemalloc.start()
    solution = seqsolve.deer(gru, None, pixels, np.zeros((n_images, 16), np.float32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert solution.success
    assert solution.y.dtype == np.float32
    assert largest_deviation(gru, pixels, solution.y) < 1e-5
    assert peak < solution.y.nbytes + 64e6 * n_images / 10_000 + 32e6


def test_images_by_newton_in_windows(pixels):
    gru, x = GRU.random(1, 16, rng=0), pixels[:, :200]
    window = 28
    seqsolve.deer(gru, None, x[:40], np.zeros((200, 16), np.float32), window=20)  # compiles
    tracemalloc.start()
    solution = seqsolve.deer(gru, None, x, np.zeros((200, 16), np.float32), window=window)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert solution.success
    assert solution.njev > 0
    assert largest_deviation(gru, x, solution.y) < 1e-5
    jacobians = window * 200 * 16 * 16 * 4
    assert peak < solution.y.nbytes + 4 * jacobians
