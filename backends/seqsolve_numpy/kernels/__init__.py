"""Compiled inner loops; importing them loads Numba.

The loops are written once for all dtypes; a kernel is compiled when it is
first asked for, and kept on disk.
"""

from __future__ import annotations

from seqsolve_numpy.kernels.dense import dense_kernel
from seqsolve_numpy.kernels.diagonal import diagonal_kernel
from seqsolve_numpy.kernels.residual import residual_kernel

__all__ = ["dense_kernel", "diagonal_kernel", "residual_kernel"]
