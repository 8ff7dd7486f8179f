"""Matrix products of half-precision operands, summed in single precision: cuBLAS."""

from __future__ import annotations

import cupy
import numpy as np

from seqsolve.backend import Array

__all__ = ["half_matmul"]


def half_matmul(a: Array, b: Array) -> Array:
    """Return ``a @ b``, the operands rounded to float16, the sums float32.

    ``cupy.matmul`` of two float16 arrays sums in float32 as well, but rounds
    what it returns to float16.

    Parameters
    ----------
    a : cupy.ndarray, shape (m, k)
        Float32 or float64.
    b : cupy.ndarray, shape (k, n)
        Of the same dtype.

    Returns
    -------
    cupy.ndarray, shape (m, n)
        Of the dtype of the operands.
    """
    from cupy.cuda import cublas, runtime  # loads cuBLAS, which nothing else here needs

    (m, k), n = a.shape, b.shape[1]
    if not m * n * k:
        return cupy.zeros((m, n), dtype=a.dtype)
    rows = cupy.ascontiguousarray(a, dtype="float16")
    columns = cupy.ascontiguousarray(b.T, dtype="float16")
    out = cupy.empty((m, n), dtype="float32")
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    # To cuBLAS, whose matrices are stored by columns, all three are transposed.
    cublas.gemmEx(
        cupy.cuda.get_cublas_handle(),
        *(cublas.CUBLAS_OP_T, cublas.CUBLAS_OP_N, n, m, k, one.ctypes.data),
        *(columns.data.ptr, runtime.CUDA_R_16F, k),
        *(rows.data.ptr, runtime.CUDA_R_16F, k, zero.ctypes.data),
        *(out.data.ptr, runtime.CUDA_R_32F, n),
        *(cublas.CUBLAS_COMPUTE_32F, cublas.CUBLAS_GEMM_DEFAULT),
    )
    return out.astype(a.dtype, copy=False)
