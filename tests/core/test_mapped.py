"""Memory-mapped arrays: their pages are let go of, their values are kept."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

import seqsolve
from seqsolve import _mapped
from seqsolve._mapped import MappedArrays

N_STEPS, WIDTH = 4096, 512  # 16 MiB of float64
STEP = WIDTH * 8


def resident(path):
    """Return how many bytes of a mapped file are in this process's memory."""
    of_file = re.compile(rf"^\S+ .*{re.escape(str(path))}\n(?:\S+:.*\n)*?Rss: +(\d+) kB", re.M)
    return sum(1024 * int(kib) for kib in of_file.findall(Path("/proc/self/smaps").read_text()))


@pytest.fixture
def little(monkeypatch):
    """Let few pages be resident."""
    monkeypatch.setattr(_mapped, "RESIDENT", 2**20)


VIEWS = {
    "itself": lambda a: a,
    "reversed": lambda a: a[::-1],
    "reshaped": lambda a: a.reshape(N_STEPS, 2, WIDTH // 2),
    "view of a view": lambda a: a[:, ::-1][:, :],
}


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells of no pages")
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("mode", ["r", "r+", "w+"])
def test_few_pages_stay(little, tmp_path, view, mode):
    path = tmp_path / "a"
    np.ones((N_STEPS, WIDTH)).tofile(path)
    a = VIEWS[view](np.memmap(path, "float64", mode, shape=(N_STEPS, WIDTH)))
    mapped = MappedArrays([None, np.ones(3), a])
    seen = []
    for t in range(0, N_STEPS, 16):
        if mode == "r":
            a[t : t + 16].sum()
        else:
            a[t : t + 16] = t
        mapped.advance(16)
        if t % 1000 < 16:
            seen.append(resident(path))
    assert 0 < max(seen) < a.nbytes / 2  # the system may bring in pages nearby
    if mode != "r":
        expected = np.repeat(np.arange(0, N_STEPS, 16), 16)
        np.testing.assert_array_equal(a.reshape(N_STEPS, WIDTH)[:, 0], expected)


class Pages:
    """In place of a map: counts how often its pages are let go of."""

    def __init__(self):
        self.calls = 0

    def madvise(self, advice):
        self.calls += 1


@pytest.mark.parametrize("steps", [1, 16, 100])
@pytest.mark.parametrize("n_arrays", [1, 3])
def test_pages_are_let_go_of_once_they_are_many(little, tmp_path, monkeypatch, steps, n_arrays):
    pages = Pages()
    monkeypatch.setattr(_mapped, "_map_of", lambda a: pages)
    arrays = [
        np.memmap(tmp_path / str(i), "float64", "w+", shape=(N_STEPS, WIDTH))
        for i in range(n_arrays)
    ]
    mapped = MappedArrays(arrays)
    n_parts = N_STEPS // steps
    for _ in range(n_parts):
        mapped.advance(steps)
    too_many = 1 + 2**20 // (n_arrays * steps * STEP)  # so many parts are more than may stay
    assert pages.calls == n_arrays * (n_parts // too_many)


def test_changes_that_no_file_keeps_are_kept(little, tmp_path):
    """The pages of a copy on write are the only place where they are."""
    np.zeros((N_STEPS, WIDTH)).tofile(tmp_path / "x")
    x = np.memmap(tmp_path / "x", "float64", "c", shape=(N_STEPS, WIDTH))
    x[...] = np.arange(N_STEPS)[:, None]
    out = np.lib.format.open_memmap(tmp_path / "y.npy", "w+", "float64", (N_STEPS, WIDTH))
    solution = seqsolve.sequential(lambda y, x: 0 * y + x, x, np.zeros(WIDTH), out=out)
    assert solution.y is out
    for a in (x, out):
        np.testing.assert_array_equal(a[:, 0], np.arange(N_STEPS))
        np.testing.assert_array_equal(a[:, -1], np.arange(N_STEPS))


def test_arrays_without_steps_have_no_pages(tmp_path):
    empty = np.memmap(tmp_path / "x", "float64", "w+", shape=(4, 1))[:0]
    number = np.memmap(tmp_path / "n", "float64", "w+", shape=())
    MappedArrays([empty, number]).advance(10**12)
    MappedArrays([]).advance(10**12)
