"""Faults of emulated kernels that end their process: a sanitizer's, and stacks that overflow."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
from support.emulation import EMULATION, reason_not_to_emulate

if reason_not_to_emulate():
    pytest.skip(reason_not_to_emulate(), allow_module_level=True)

import cuda_host


def in_subprocess(code, environment):
    """Run Python code that launches kernels; return its exit status and what it said."""
    outcome = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**environment, "PYTHONPATH": str(EMULATION)},
        capture_output=True,
        text=True,
    )
    return outcome.returncode, outcome.stdout + outcome.stderr


SANITIZED = """
    import cupy
    import numpy as np

    SOURCE = r'''
    extern "C" __global__ void good(float *y, const float *x, int n) {
        __shared__ float tile[64];
        for (int i = threadIdx.x; i < n; i += blockDim.x) {
            tile[i] = x[i];
            __syncthreads();
            y[i] = tile[n - 1 - i];
        }
    }
    extern "C" __global__ void reads_behind(float *y, const float *x, int n) {
        y[threadIdx.x] = x[threadIdx.x + 1];
    }
    extern "C" __global__ void reads_behind_shared(float *y, const float *x, int n) {
        extern __shared__ float tile[];
        y[threadIdx.x] = tile[threadIdx.x];
    }
    extern "C" __global__ void reads_behind_local(float *y, const float *x, int n) {
        float a[4] = {x[0], x[1], x[2], x[3]};
        y[threadIdx.x] = a[(n - 60 + threadIdx.x) % 5];
    }
    extern "C" __global__ void overflows(float *y, const float *x, int n) {
        y[threadIdx.x] = n + 2147483600 + threadIdx.x % 2;
        int big = 2147483600 + n;
        y[threadIdx.x] = big;
    }
    extern "C" __global__ void misaligned(float *y, const float *x, int n) {
        const float2 v = *reinterpret_cast<const float2 *>(x + 1);
        y[threadIdx.x] = v.x;
    }
    '''
    x, y = cupy.arange(64, dtype="float32"), cupy.zeros(64, dtype="float32")
    module = cupy.RawModule(code=SOURCE)
    module.get_function("good")((1,), (64,), (y, x, np.int32(64)))
    assert (y == x[::-1]).all()
    print("ran the good one", flush=True)
    module.get_function("{name}")((1,), (64,), (y, x, np.int32(64)))
    print("ran to the end")
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("good", "ran to the end"),
        ("reads_behind", "use-after-poison"),
        ("reads_behind_shared", "use-after-poison"),
        ("reads_behind_local", "stack-buffer-overflow|out of bounds"),
        ("overflows", "signed integer overflow"),
        ("misaligned", "misaligned address"),
    ],
)
def test_sanitizers(name, message):
    code = SANITIZED.replace("{name}", name)
    status, said = in_subprocess(code, cuda_host.sanitizer_environment())
    assert "ran the good one" in said, said
    assert (status == 0) == (name == "good"), said
    assert any(part in said for part in message.split("|")), said


def test_stacks_that_overflow_end_in_a_fault_not_in_silence():
    code = """
        import cuda_host
        source = '''
        __device__ __noinline__ int deep(volatile int *y, int n) {
            volatile int pad[4096];
            pad[n % 4096] = n;
            return n ? deep(y, n - 1) + pad[n % 4096] : pad[0];
        }
        __global__ void k(int n) { volatile int y = 0; y = deep(&y, n); }
        '''
        import numpy as np
        kernel = cuda_host.Module(source, ("k",), [])["k"]
        kernel.launch((1,), (1,), (np.int32(2),), 0)
        print("shallow", flush=True)
        kernel.launch((1,), (1,), (np.int32(1000),), 0)
        print("deep")
    """
    status, said = in_subprocess(code, dict(os.environ))
    assert "shallow" in said, said
    assert status < 0, said
    assert "deep" not in said
