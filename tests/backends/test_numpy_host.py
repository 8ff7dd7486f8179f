"""What the NumPy backend knows of the processor, and the windows it makes of that."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import pytest
from support.kernel_oracles import BACKEND, PORTABLE

from seqsolve_numpy import host, window


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("model name\t: Big: 64 bit\nmodel name\t: Other\n", ("arm", "x"), "Big: 64 bit"),
        ("processor : 0\nmodel : 6\n", ("arm", "aarch64"), "arm"),
        (None, ("", "aarch64"), "aarch64"),
        (None, ("", ""), "unknown CPU"),
    ],
)  # fmt: skip
def test_the_name_of_the_processor(text, names, expected, monkeypatch, tmp_path):
    file = tmp_path / "cpuinfo"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    monkeypatch.setattr(host, "Path", {"/proc/cpuinfo": file}.__getitem__)
    monkeypatch.setattr(platform, "processor", lambda: names[0])
    monkeypatch.setattr(platform, "machine", lambda: names[1])
    assert host.cpu_name.__wrapped__() == expected


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    counted = SimpleNamespace(sched_getaffinity={0: {1, 4, 5}}.__getitem__, cpu_count=lambda: 8)
    monkeypatch.setattr(host, "os", counted)
    assert host.n_cores() == 3
    del counted.sched_getaffinity
    assert host.n_cores() == 8
    counted.cpu_count = lambda: None
    assert host.n_cores() == 1


def test_the_description():
    about = BACKEND.describe()
    assert about["numpy"] == np.__version__
    assert about["numba"] == version("numba")
    assert about["cores"] == str(host.n_cores())
    assert int(about["cores"]) <= os.cpu_count()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({1: "48K", 2: "2048K", 3: "266240K"}, (2 * 2**20, 260 * 2**20)),
        ({1: "64K", 2: "512K"}, (2**19, 2**19)),
        ({2: "1M", 4: "1G"}, (2**20, 2**30)),
        ({2: "65536"}, (2**16, 2**16)),
        ({2: "256K", "broken": "8M", 3: "?"}, (2**18, 2**18)),
        ({}, (2**20, 2**23)),
    ],
)
def test_sizes_of_caches(found, expected, monkeypatch, tmp_path):
    for i, (level, size) in enumerate(found.items()):
        entry = tmp_path / f"index{i}"
        entry.mkdir()
        (entry / "level").write_text(f"{level}\n")
        (entry / "size").write_text(f"{size}\n")
    (tmp_path / "index9").mkdir()
    monkeypatch.setattr(window, "Path", lambda path: tmp_path)
    assert window.cache_sizes.__wrapped__() == expected


@pytest.mark.parametrize("n_state", [1, 8, 32])
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("caches", [(2**20, 2**23), (2**16, 2**26), (2**22, 2**19)])
def test_a_window_is_the_largest_that_fits(caches, dense, dtype, n_state, monkeypatch):
    """Twelve numbers for each element of a state, and the Jacobians in an eighth."""
    monkeypatch.setattr(window, "cache_sizes", lambda: caches)
    n_jacobian = n_state**2 if dense else n_state

    def chosen(n_steps):
        return BACKEND.default_window(
            n_steps=n_steps, n_batch=2, n_state=n_state, n_jacobian=n_jacobian, dtype=dtype
        )

    size = 2 * np.dtype(dtype).itemsize

    def fits(n_steps):
        return (
            12 * n_state * n_steps * size <= caches[0]
            and n_jacobian * n_steps * size <= caches[1] // 8
        )

    steps = chosen(10**9)
    assert steps > 1
    assert fits(steps)
    assert not fits(steps + 1)
    assert [chosen(n) for n in (0, 1, steps - 1, steps, steps + 1)] == [
        1,
        1,
        steps - 1,
        steps,
        steps,
    ]


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("method", ["scan", "cyclic_reduction"])
def test_a_solver_that_is_named_is_used(method, dense):
    """Bit by bit as the portable one; the compiled loop rounds otherwise."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((100, 1, 3, 3) if dense else (100, 1, 3)) / 2
    b, y = rng.standard_normal((2, 100, 1, 3))
    options = {"reverse": False, "transpose": False, "out": None}
    named, portable, compiled = (
        backend.linear_recurrence(A, b, None, method=m, **options)
        for backend, m in ((BACKEND, method), (PORTABLE, method), (BACKEND, "sequential"))
    )
    np.testing.assert_array_equal(named, portable)
    assert (named != compiled).any()
    named, portable, compiled = y.copy(), y.copy(), y.copy()
    BACKEND.newton_update(A, b, named, method=method)
    PORTABLE.newton_update(A, b, portable, method=method)
    BACKEND.newton_update(A, b, compiled, method="sequential")
    np.testing.assert_array_equal(named, portable)
    assert (named != compiled).any()
