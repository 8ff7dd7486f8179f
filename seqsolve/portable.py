"""Backend primitives written in the NumPy API alone.

Readable references for faster kernels, and a complete backend for any
array library that has NumPy's functions: derive from `PortableBackend` and
replace one primitive after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from seqsolve import _registry
from seqsolve.backend import Array, Capabilities

__all__ = ["PortableBackend", "cyclic_reduction", "scan", "sequential"]


class PortableBackend:
    """All primitives of :class:`seqsolve.backend.Backend` on a NumPy-like namespace.

    Parameters
    ----------
    name : str
        The backend's name.
    xp : namespace
        Array functions named and behaving as NumPy's.

    Examples
    --------
    >>> import numpy as np, seqsolve
    >>> from seqsolve.portable import PortableBackend
    >>> backend = PortableBackend("plain", np)
    >>> f = lambda y, x: np.tanh(0.5 * y + x)
    >>> seqsolve.deer(f, "cs", np.ones((100, 1)), [0.0], backend=backend).backend
    'plain'
    """

    capabilities = Capabilities()

    def __init__(self, name: str, xp: Any) -> None:
        self.name = name
        self.xp = xp

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Return what a copy or a pickle holds: a registered backend's name."""
        if _registry.is_loaded(self):
            return _registry.load, (self.name,)
        return super().__reduce_ex__(protocol)

    def describe(self) -> Mapping[str, str]:
        """Return the array library's version."""
        return {self.xp.__name__: str(getattr(self.xp, "__version__", "unknown version"))}

    def asarray(self, a: Any, dtype: Any = None) -> Array:
        """Return `a` as this backend's array."""
        return self.xp.asarray(a, dtype=dtype)

    def to_numpy(self, a: Array) -> npt.NDArray[Any]:
        """Return `a` in host memory."""
        return np.asarray(a)

    def synchronize(self) -> None:
        """Return at once: nothing runs asynchronously."""

    def default_window(
        self, *, n_steps: int, n_batch: int, n_state: int, n_jacobian: int, dtype: Any
    ) -> int:
        """Return a window whose Jacobians take about 16 MiB."""
        bytes_per_step: int = n_batch * (n_jacobian + 8 * n_state) * np.dtype(dtype).itemsize
        return max(16, min(n_steps, 2**24 // max(1, bytes_per_step)))

    def linear_recurrence(
        self,
        A: Array,
        b: Array,
        y0: Array | None,
        *,
        reverse: bool,
        transpose: bool,
        method: str,
        out: Array | None,
    ) -> Array:
        """Solve the recurrence by the named method; ``"auto"`` is the scan.

        The parallel methods multiply many matrices. In single precision the
        products would be off by more than all steps together, so they are
        computed in double precision.
        """
        if transpose and A.ndim > b.ndim:
            A = A.swapaxes(-1, -2)
        if reverse:
            A, b = A[::-1], b[::-1]
        if y0 is not None and b.shape[0]:
            b = self.xp.concatenate([b[:1] + _apply(self.xp, A[:1], y0[None]), b[1:]])
        dtype = np.result_type(str(A.dtype), str(b.dtype)).name
        if method != "sequential" and dtype in _DOUBLE:
            A, b = self.asarray(A, dtype=_DOUBLE[dtype]), self.asarray(b, dtype=_DOUBLE[dtype])
            y = self.asarray(_SOLVERS[method](self.xp, A, b), dtype=dtype)
        else:
            y = _SOLVERS[method](self.xp, A, b)
        if reverse:
            y = y[::-1]
        if out is None:
            return y
        out[...] = y
        return out

    def residual_test(
        self, y: Array, fy: Array, rtol: float, atol: Array
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """Return each sequence's first failing step and largest residual."""
        xp = self.xp
        if 0 in y.shape:
            return np.full(y.shape[1], y.shape[0], np.intp), np.zeros(y.shape[1])
        r = xp.abs(y - fy)
        fails = ~((r <= atol + rtol * xp.abs(y)) & xp.isfinite(r)).all(axis=-1)
        first = xp.where(fails.any(axis=0), fails.argmax(axis=0), y.shape[0])
        largest = xp.where(xp.isnan(r), xp.inf, r).max(axis=(0, 2))
        return self.to_numpy(first).astype(np.intp), self.to_numpy(largest).astype(np.float64)

    def newton_update(self, A: Array, fy: Array, y: Array, *, method: str) -> None:
        """Advance the iterate by a linear recurrence on its increments."""
        xp = self.xp
        limit = float(np.finfo(np.dtype(str(y.dtype))).max) ** 0.5
        d = self.linear_recurrence(
            A, fy - y, None, reverse=False, transpose=False, method=method, out=None
        )
        new = xp.concatenate([fy[:1], fy[1:] + _apply(xp, A[1:], d[:-1])])
        within = xp.abs(new) <= limit
        y[...] = xp.where(within, new, xp.where(xp.isfinite(fy), fy, y))


def scan(xp: Any, A: Array, b: Array) -> Array:
    """Solve ``y[t] = A[t] y[t-1] + b[t]``, ``y[-1] = 0``, by a parallel prefix scan.

    Neighbouring steps are merged by the associative operator
    ``(A2, b2) o (A1, b1) = (A2 A1, A2 b1 + b2)``, the half-length recurrence
    of every second step is solved the same way, and the steps between follow
    from their predecessors: ``2 n_steps`` operator applications in
    ``2 log2(n_steps)`` parallel rounds.

    Parameters
    ----------
    xp : namespace
        Array functions named and behaving as NumPy's.
    A : array, shape (n_steps, ..., n_state) or (n_steps, ..., n_state, n_state)
        Diagonal or dense matrices.
    b : array, shape (n_steps, ..., n_state)
        Right-hand side.

    Returns
    -------
    array, shape (n_steps, ..., n_state)
        The solution.

    References
    ----------
    .. [1] G. E. Blelloch, "Prefix sums and their applications", Carnegie
       Mellon University, CMU-CS-90-190, 1990.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.portable import scan
    >>> scan(np, np.full((5, 1), 0.5), np.ones((5, 1)))[:, 0]
    array([1.    , 1.5   , 1.75  , 1.875 , 1.9375])
    """
    n_steps = b.shape[0]
    if n_steps <= 1:
        return b + xp.zeros_like(b)
    n_pairs = n_steps // 2
    A1, A2 = A[0 : 2 * n_pairs : 2], A[1 : 2 * n_pairs : 2]
    b1, b2 = b[0 : 2 * n_pairs : 2], b[1 : 2 * n_pairs : 2]
    compose = xp.matmul if A.ndim > b.ndim else xp.multiply
    y = xp.empty_like(b)
    y[1::2] = scan(xp, compose(A2, A1), _apply(xp, A2, b1) + b2)
    y[:1] = b[:1]
    y[2::2] = _apply(xp, A[2::2], y[1 : n_steps - 1 : 2]) + b[2::2]
    return y


def cyclic_reduction(xp: Any, A: Array, b: Array) -> Array:
    """Solve the same recurrence by parallel cyclic reduction.

    For ``s = 1, 2, 4, ... < n_steps`` and all ``t >= s`` at once,
    ``b[t] += A[t] b[t-s]`` and ``A[t] = A[t] A[t-s]``: ``log2(n_steps)``
    rounds, ``n_steps log2(n_steps)`` operator applications.

    Parameters
    ----------
    xp : namespace
        Array functions named and behaving as NumPy's.
    A, b : array
        As for `scan`.

    Returns
    -------
    array, shape (n_steps, ..., n_state)
        The solution.

    References
    ----------
    .. [1] F. Danieli et al., "DeepPCR: Parallelizing sequential operations in
       neural networks", arXiv:2309.16318, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.portable import cyclic_reduction
    >>> cyclic_reduction(np, np.full((4, 1), 2.0), np.ones((4, 1)))[:, 0]
    array([ 1.,  3.,  7., 15.])
    """
    n_steps = b.shape[0]
    compose = xp.matmul if A.ndim > b.ndim else xp.multiply
    stride = 1
    while stride < n_steps:
        b = xp.concatenate([b[:stride], b[stride:] + _apply(xp, A[stride:], b[:-stride])])
        if 2 * stride < n_steps:
            A = xp.concatenate([A[:stride], compose(A[stride:], A[:-stride])])
        stride *= 2
    return b + xp.zeros_like(b)


def sequential(xp: Any, A: Array, b: Array) -> Array:
    """Solve the same recurrence one step after the other.

    Parameters
    ----------
    xp : namespace
        Array functions named and behaving as NumPy's.
    A, b : array
        As for `scan`.

    Returns
    -------
    array, shape (n_steps, ..., n_state)
        The solution.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.portable import sequential
    >>> sequential(np, np.full((4, 1), 2.0), np.ones((4, 1)))[:, 0]
    array([ 1.,  3.,  7., 15.])
    """
    y = b + xp.zeros_like(b)
    for t in range(1, b.shape[0]):
        y[t] = _apply(xp, A[t], y[t - 1]) + b[t]
    return y


def _apply(xp: Any, A: Array, v: Array) -> Array:
    if A.ndim > v.ndim:
        return xp.matmul(A, v[..., None])[..., 0]
    return A * v


_DOUBLE = {"float32": "float64", "complex64": "complex128"}

_SOLVERS = {
    "auto": scan,
    "scan": scan,
    "cyclic_reduction": cyclic_reduction,
    "sequential": sequential,
}
