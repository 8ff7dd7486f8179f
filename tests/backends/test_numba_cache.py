"""Compiled kernels on disk: found again, never mistaken, and never missed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numba
import numpy as np
import pytest
from numba import types
from numba.core.caching import IndexDataCacheFile

from seqsolve_numba.compilation import compile_kernel, writable

CACHED = """
import numpy as np, seqsolve
from seqsolve.models import GRU
from seqsolve_numba import NumbaBackend
backend = NumbaBackend()
cell = GRU.random(2, 2, rng=0).element_step()
seqsolve.sequential(cell, np.zeros((9, 2), "f4"), np.zeros(2, "f4"), backend=backend)
(special,) = backend._specializations._latest._kept.values()
stats = special._kernels["march"].stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def test_kernels_are_kept_on_disk(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    runs = [
        subprocess.run(
            [sys.executable, "-c", CACHED],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]
    assert runs == [["0", "1"], ["1", "0"]]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Both: Numba reads its variables anew when one has changed, as tests before this one may."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    return tmp_path


def kernel_that_sets(value):
    def kernel(out, start):
        out[start] = value

    return compile_kernel(kernel, (writable("f8", 1), types.intp), f"sets {value}")


def result(kernel):
    out = np.zeros(2)
    kernel(out, 1)
    return out.tolist()


def from_disk(kernel):
    return sum(kernel.stats.cache_hits.values()) == 1


def test_kernels_that_two_processes_keep_at_once_are_not_mistaken(folder, monkeypatch):
    """The other process read what there is before, and writes after, this one's index."""
    save, load = IndexDataCacheFile._save_data, IndexDataCacheFile._load_index

    def meanwhile(file, name, data):
        monkeypatch.setattr(IndexDataCacheFile, "_save_data", save)
        monkeypatch.setattr(IndexDataCacheFile, "_load_index", lambda file: {})
        kernel_that_sets(2.0)
        monkeypatch.setattr(IndexDataCacheFile, "_load_index", load)
        save(file, name, data)

    monkeypatch.setattr(IndexDataCacheFile, "_save_data", meanwhile)
    kernel_that_sets(1.0)
    for value in (1.0, 2.0):
        kernel = kernel_that_sets(value)
        assert from_disk(kernel)
        assert result(kernel) == [0.0, value]


def test_a_full_disk_is_no_error(folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "_save_data", full)
    assert result(kernel_that_sets(3.0)) == [0.0, 3.0]


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("left", [b"", b"\x80\x05K"])
def test_files_that_are_cut_short_are_written_anew(folder, ending, left):
    assert not from_disk(kernel_that_sets(4.0))
    (file,) = folder.rglob(f"*.{ending}")
    file.write_bytes(left)
    assert result(kernel_that_sets(4.0)) == [0.0, 4.0]
    assert from_disk(kernel_that_sets(4.0))
