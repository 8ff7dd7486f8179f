"""What the functions of an ODE return, checked and as arrays of one shape."""

from __future__ import annotations

from copy import copy
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from seqsolve import _checks
from seqsolve.backend import Backend, get_backend

NDArray: TypeAlias = npt.NDArray[Any]


def as_numpy(value: Any, backend: Backend) -> NDArray:
    """Return numbers, arrays of the backend and nested lists of these as a NumPy array."""
    if isinstance(value, list | tuple):
        return np.asarray([as_numpy(v, backend) for v in value])
    own = hasattr(value, "shape") and not isinstance(value, np.ndarray | np.generic)
    return np.asarray(backend.to_numpy(value) if own else value)


def is_sparse(J: Any) -> bool:
    """Return whether something is a matrix of `scipy.sparse`."""
    return hasattr(J, "toarray")


class Returned:
    """Derivatives and Jacobians as the functions of a user return them.

    Parameters
    ----------
    n : int
        Number of states.
    dtype : dtype
        Of the states.
    backend : Backend
        Whose arrays the functions return. Those here are NumPy's, or with `on_backend` its own.
    """

    def __init__(self, n: int, dtype: Any, backend: Backend) -> None:
        self._n, self._dtype, self._backend = n, dtype, backend
        self._home = get_backend("numpy")

    def on_backend(self) -> Returned:
        """Return the same with the backend's arrays as the result."""
        other = copy(self)
        other._home = self._backend
        return other

    def derivative(self, f: Any) -> NDArray:
        """Return the derivatives at one point, ``(n,)``, as a NumPy array."""
        value = self._numbers("fun", f)
        if value.size != self._n:
            raise ValueError(
                f"`fun` must return {self._n} derivatives, as `y0` has {self._n} states; "
                f"got an array of shape {value.shape}."
            )
        return self._cast("fun", value.reshape(self._n))

    def derivatives(self, f: Any, m: int) -> NDArray:
        """Return the derivatives at many points, ``(m, n)``."""
        return self._cast("fun", self._filled("fun", f, (self._n, m))).T

    def matrix(self, J: Any) -> NDArray:
        """Return the Jacobian at one point, ``(n, n)``, as a NumPy array."""
        matrix = self._numbers("jac", J.toarray() if is_sparse(J) else J)
        if self._n == 1 and matrix.size == 1:
            matrix = matrix.reshape(1, 1)
        if matrix.shape != (self._n, self._n):
            raise ValueError(
                f"`jac` must have shape {(self._n, self._n)}, as `y0` has {self._n} states; "
                f"got {matrix.shape}."
            )
        return self._cast("jac", matrix)

    def matrices(self, J: Any, m: int) -> NDArray:
        """Return the Jacobians at many points, ``(m, n, n)``."""
        filled = self._filled("jac", J, (self._n, self._n, m))
        return np.moveaxis(self._cast("jac", filled), -1, 0).copy()

    def _filled(self, name: str, values: Any, shape: tuple[int, ...]) -> NDArray:
        """Return nested lists, whose entries may be scalars or have a point axis, as one array."""
        if isinstance(values, list | tuple) and len(shape) > 1:
            if len(values) != shape[0]:
                raise ValueError(
                    f"`{name}` must return {shape[0]} entries, at every time and state; "
                    f"got {len(values)}."
                )
            return np.stack([self._filled(name, v, shape[1:]) for v in values])
        on_host = self._home is not self._backend
        array = as_numpy(values, self._backend) if on_host else self._home.asarray(values)
        if array.shape == shape:
            return array
        if array.shape == shape[:-1]:
            return np.broadcast_to(array[..., None], shape)
        raise ValueError(
            f"`{name}` must return arrays of shape {shape}, points last, at every time and state; "
            f"got {array.shape}."
        )

    def _numbers(self, name: str, value: Any) -> NDArray:
        _checks.not_masked(f"what `{name}` returns", value)
        array = as_numpy(value, self._backend)
        if array.dtype.kind not in "biufc":
            raise TypeError(f"`{name}` must give numbers; got {value!r}.")
        return array

    def _cast(self, name: str, values: NDArray) -> NDArray:
        if values.dtype.kind == "c" and self._dtype.kind != "c":
            raise TypeError(
                f"`{name}` must return real values for a real `y0`; got {values.dtype}. "
                "Pass a complex `y0`."
            )
        return values.astype(self._dtype, copy=False)
