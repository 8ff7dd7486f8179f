"""The one function of cuBLAS that is used: products of matrices stored by columns."""

from __future__ import annotations

import ctypes

import numpy as np
from cupy._memory import current_device
from cupy.cuda import runtime

CUBLAS_OP_N, CUBLAS_OP_T = 0, 1
CUBLAS_COMPUTE_32F = 68
CUBLAS_GEMM_DEFAULT = -1

_DTYPES = {runtime.CUDA_R_16F: np.float16, runtime.CUDA_R_32F: np.float32}


class CUBLASError(RuntimeError):
    """As `cupy.cuda.cublas.CUBLASError`."""


def get_cublas_handle() -> int:
    """Return the handle of the current device."""
    return current_device() + 1


def gemmEx(
    handle: int,
    transa: int,
    transb: int,
    m: int,
    n: int,
    k: int,
    alpha: int,
    A: int,
    Atype: int,
    lda: int,
    B: int,
    Btype: int,
    ldb: int,
    beta: int,
    C: int,
    Ctype: int,
    ldc: int,
    computeType: int,
    algo: int,
) -> None:
    """Set ``C = alpha op(A) op(B) + beta C``, summed in float32."""
    if handle != get_cublas_handle():
        raise CUBLASError("CUBLAS_STATUS_NOT_INITIALIZED")
    if computeType != CUBLAS_COMPUTE_32F or Atype != Btype or Ctype not in (Atype, 0):
        raise CUBLASError("CUBLAS_STATUS_NOT_SUPPORTED")
    if lda < (m, k)[transa] or ldb < (k, n)[transb] or ldc < m:
        raise CUBLASError("CUBLAS_STATUS_INVALID_VALUE")
    a = _by_columns(A, Atype, lda, *((m, k), (k, m))[transa])
    b = _by_columns(B, Btype, ldb, *((k, n), (n, k))[transb])
    c = _by_columns(C, Ctype, ldc, m, n)
    left, right = (x.T if turned else x for x, turned in ((a, transa), (b, transb)))
    scales = [ctypes.c_float.from_address(address).value for address in (alpha, beta)]
    product = np.float32(scales[0]) * (left.astype(np.float32) @ right.astype(np.float32))
    c[...] = product if scales[1] == 0 else product + np.float32(scales[1]) * c


def _by_columns(address: int, kind: int, leading: int, rows: int, columns: int) -> np.ndarray:
    dtype = np.dtype(_DTYPES[kind])
    size = ((columns - 1) * leading + rows) * dtype.itemsize
    flat = np.frombuffer((ctypes.c_ubyte * size).from_address(address), dtype)
    strides = (dtype.itemsize, leading * dtype.itemsize)
    return np.lib.stride_tricks.as_strided(flat, (rows, columns), strides)
