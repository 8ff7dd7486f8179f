"""The NumPy backend's compiled kernels on disk: found again, and never mistaken."""

from __future__ import annotations

import errno

import numba
import numpy as np
import pytest
from numba import types
from numba.core.caching import IndexDataCacheFile

from seqsolve_numpy.kernels.compilation import compiled, writable


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))


def kernel_that_sets(value):
    def kernel(out, start):
        out[start] = value

    return compiled(kernel, writable(np.dtype("f8"), 1), types.intp)


def result(kernel):
    out = np.zeros(2)
    kernel(out, 1)
    return out.tolist()


def from_disk(kernel):
    return sum(kernel.stats.cache_hits.values()) == 1


def test_kernels_that_two_processes_keep_at_once_are_not_mistaken(monkeypatch):
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


def test_a_full_disk_is_no_error(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "_save_data", full)
    assert result(kernel_that_sets(3.0)) == [0.0, 3.0]
