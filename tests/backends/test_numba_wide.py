"""The longest vector registers are used where a kernel asks for them."""

from __future__ import annotations

import llvmlite.binding
import numba
import numpy as np
import pytest

from seqsolve_numba.intrinsics import wide

VECTOR = numba.float32[::1]


def scaled(y):
    for i in range(y.size):
        y[i] = 2 * y[i] + 1


def scaled_wide(y):
    wide()
    for i in range(y.size):
        y[i] = 2 * y[i] + 1


def compiled(function):
    return numba.njit([numba.void(VECTOR)])(function)


def assembly(function):
    (text,) = compiled(function).inspect_asm().values()
    return text


def test_a_kernel_that_asks_computes_the_same():
    first, second = np.arange(100, dtype=np.float32), np.arange(100, dtype=np.float32)
    compiled(scaled)(first)
    compiled(scaled_wide)(second)
    np.testing.assert_array_equal(first, second)


@pytest.mark.skipif(
    not llvmlite.binding.get_host_cpu_features().get("avx512f"),
    reason="this processor has no registers of 512 bits",
)
def test_registers_of_512_bits_are_used_where_there_are_some():
    assert "zmm" in assembly(scaled_wide)


def test_nobody_else_is_affected():
    (text,) = compiled(scaled).inspect_llvm().values()
    assert "prefer-vector-width" not in text
    (text,) = compiled(scaled_wide).inspect_llvm().values()
    assert "prefer-vector-width" in text
