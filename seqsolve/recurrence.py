"""Linear recurrences, solved in parallel."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from seqsolve import _checks
from seqsolve._placement import placed
from seqsolve.backend import Array, Backend
from seqsolve.jacobian import structure_of

__all__ = ["cyclic_reduction", "linear_recurrence"]


@placed
def linear_recurrence(
    A: Any,
    b: Any,
    y0: Any = None,
    *,
    backend: Any = None,
    reverse: bool = False,
    method: str = "auto",
    out: Any = None,
) -> npt.NDArray[Any]:
    """Solve ``y[t] = A[t] y[t-1] + b[t]`` for all steps.

    Parameters
    ----------
    A : array_like
        The matrices, one axis more than `b` for dense ones, of shape
        ``(n_steps, *batch, n, n)``; two more for block-diagonal ones,
        ``(n_steps, *batch, h, k, k)`` with ``h * k = n``; as many for diagonal
        ones, ``(n_steps, *batch, n)``. Leading axes may be 1: they broadcast. A
        number is the same factor of all states.
    b : array_like, shape (n_steps, *batch, n)
        Right-hand side.
    y0 : array_like, shape (*batch, n), optional
        State before the first step, or behind the last with `reverse`; zero by
        default.
    backend : str or Backend, optional
        Where to run; by default where the arrays live.
    reverse : bool
        Solve ``y[t] = A[t] y[t+1] + b[t]``, from the end. Default: False.
    method : {"auto", "scan", "cyclic_reduction", "sequential"}
        The backend's fastest, by default; parallel prefix scan; parallel cyclic
        reduction; or one step after the other.
    out : array, shape (n_steps, *batch, n), optional
        Receives the result.

    Returns
    -------
    array, shape (n_steps, *batch, n)
        The solution, in the common dtype of the arguments.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong; the message names it.
    BackendUnavailableError
        The backend cannot run here.

    Notes
    -----
    Scan and cyclic reduction multiply the matrices of many steps. If these
    products grow beyond the largest number, states that they meet become NaN,
    zeros included, where ``"sequential"`` would keep them finite.

    References
    ----------
    .. [1] G. E. Blelloch, "Prefix sums and their applications", Carnegie
       Mellon University, CMU-CS-90-190, 1990.

    Examples
    --------
    >>> import numpy as np, seqsolve
    >>> seqsolve.linear_recurrence(np.full((5, 1), 0.5), np.ones((5, 1)))[:, 0]
    array([1.    , 1.5   , 1.75  , 1.875 , 1.9375])

    Three coupled states, driven by noise, from the end:

    >>> rng = np.random.default_rng(0)
    >>> A, b = 0.3 * rng.standard_normal((100, 3, 3)), rng.standard_normal((100, 3))
    >>> y = seqsolve.linear_recurrence(A, b, reverse=True)
    >>> bool(np.allclose(y[:-1], np.einsum("tij,tj->ti", A[:-1], y[1:]) + b[:-1]))
    True
    """
    engine = _checks.choose_backend(backend, A=A, b=b, y0=y0)
    _checks.one_of("method", method, ("auto", *engine.capabilities.linear_solvers))
    reverse = _checks.boolean("reverse", reverse)
    b = _checks.numeric("b", b, engine)
    if isinstance(A, int | float | complex):
        A = engine.asarray(A, dtype=np.result_type(str(b.dtype), A).name)
    else:
        A = _checks.numeric("A", A, engine)
    if b.ndim < 2:
        one = " One sequence of one state is `b[:, None]`." if b.ndim == 1 else ""
        raise ValueError(f"`b` must have shape (n_steps, *batch, n_state); got {b.shape}.{one}")
    if y0 is not None:
        y0 = _checks.numeric("y0", y0, engine)
        if y0.shape != b.shape[1:]:
            raise ValueError(
                f"`y0` must have shape {b.shape[1:]}, as a step of `b`; got {y0.shape}."
            )
    dtype = np.result_type(*(str(a.dtype) for a in (A, b, y0) if a is not None)).name
    if dtype not in engine.capabilities.dtypes:
        raise TypeError(
            f"`b` must have a dtype that backend {engine.name!r} supports; got {dtype}."
        )
    A, lanes = _flatten(A, tuple(b.shape), engine)
    target: npt.NDArray[Any] | None = (
        None if out is None else _checks.output("out", out, tuple(b.shape), dtype)
    )
    direct = _as_lanes(target, lanes, dtype, A, b, y0)
    y: npt.NDArray[Any] = engine.linear_recurrence(
        engine.asarray(A, dtype=dtype),
        engine.asarray(b, dtype=dtype).reshape(lanes),
        None if y0 is None else engine.asarray(y0, dtype=dtype).reshape(lanes[1:]),
        reverse=reverse,
        transpose=False,
        method=method,
        out=direct,
    ).reshape(b.shape)
    if target is None:
        return y
    if direct is None:
        target[...] = engine.to_numpy(y) if isinstance(target, np.ndarray) else y
    return target


def cyclic_reduction(
    A: Any, b: Any, y0: Any = None, *, backend: Any = None, reverse: bool = False
) -> npt.NDArray[Any]:
    """Solve the block-bidiagonal system ``y[t] - A[t] y[t-1] = b[t]`` by cyclic reduction.

    The same as `linear_recurrence` with ``method="cyclic_reduction"``:
    ``log2(n_steps)`` rounds of ``n_steps`` matrix products each.

    Parameters
    ----------
    A : array_like, shape (n_steps, *batch, n) or with matrices in place of ``n``
        The matrices: diagonal, dense ``(n, n)`` or block-diagonal ``(h, k, k)``,
        as for `linear_recurrence`.
    b : array_like, shape (n_steps, *batch, n)
        Right-hand side.
    y0 : array_like, shape (*batch, n), optional
        State before the first step, or behind the last with `reverse`; zero by
        default.
    backend : str or Backend, optional
        Where to run; by default where the arrays live.
    reverse : bool
        Solve ``y[t] - A[t] y[t+1] = b[t]``, from the end. Default: False.

    Returns
    -------
    array, shape (n_steps, *batch, n)
        The solution.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong; the message names it.
    BackendUnavailableError
        The backend cannot run here.

    References
    ----------
    .. [1] F. Danieli et al., "DeepPCR: Parallelizing sequential operations in
       neural networks", arXiv:2309.16318, section 3.

    Examples
    --------
    >>> import numpy as np, seqsolve
    >>> seqsolve.cyclic_reduction(np.full((4, 1), 2.0), np.ones((4, 1)))[:, 0]
    array([ 1.,  3.,  7., 15.])
    """
    return linear_recurrence(A, b, y0, backend=backend, reverse=reverse, method="cyclic_reduction")


def _flatten(
    A: Array, b_shape: tuple[int, ...], engine: Backend
) -> tuple[Array, tuple[int, int, int]]:
    """Bring `A` into the backend's form; return it with the shape that `b` takes."""
    n_steps, *batch, n = b_shape
    if A.ndim == 0:
        A = engine.xp.broadcast_to(A, (*(1 for _ in b_shape[1:]), n))
    extra = A.ndim - len(b_shape)
    matrix = tuple(A.shape[len(b_shape) - 1 :])
    lead = tuple(A.shape[: len(b_shape) - 1])
    if extra not in (0, 1, 2) or any(
        a not in (1, b) for a, b in zip(lead, b_shape[:-1], strict=True)
    ):
        raise ValueError(
            f"`A` must have shape {(*b_shape[:-1], n)}, {(*b_shape[:-1], n, n)} or "
            f"({', '.join(map(str, b_shape[:-1]))}, h, k, k) with h * k = {n}, as `b` has shape "
            f"{b_shape}, with 1 in place of what is shared; "
            f"got {tuple(A.shape)}."
        )
    try:
        structure_of(matrix, (n,))
    except ValueError:
        raise ValueError(
            f"`A` must have matrices of shape ({n},), ({n}, {n}) or (h, k, k) with h * k = {n}, "
            f"as `b` has shape {b_shape}; got {tuple(A.shape)}."
        ) from None
    heads, block = (matrix[0], matrix[1:]) if extra == 2 else (1, matrix)
    n_batch, width = prod(batch), matrix[-1] if extra else n
    if all(a == 1 for a in lead[1:]) and heads == 1:
        A = A.reshape(lead[0], 1, *block)
    else:
        A = engine.xp.broadcast_to(A, (lead[0], *batch, *matrix))
        A = A.reshape(lead[0], n_batch * heads, *block)
    A = engine.xp.broadcast_to(A, (n_steps, n_batch * heads, *block))
    if extra and width == 1:
        A = A[..., 0]
    return A, (n_steps, n_batch * heads, width)


def _as_lanes(
    out: Any, lanes: tuple[int, int, int], dtype: str, *inputs: Array | None
) -> Array | None:
    """Return a view of `out` that the backend can write, or None if there is none."""
    given = [a for a in inputs if a is not None]
    if not all(isinstance(a, np.ndarray) for a in (out, *given)):
        return None
    usable = out.dtype.name == dtype and out.flags.c_contiguous
    if not usable or any(np.may_share_memory(out, a) for a in given):
        return None
    return out.reshape(lanes)
