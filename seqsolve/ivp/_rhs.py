"""The right-hand side of an ODE, called at many points at once."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from seqsolve.backend import Backend, get_backend
from seqsolve.ivp._arguments import Arguments
from seqsolve.ivp._bands import Bands
from seqsolve.ivp._columns import Columns
from seqsolve.ivp._differences import differences, displacement
from seqsolve.ivp._probe import POINTS, Places, places, probe
from seqsolve.ivp._returned import Returned, is_sparse

if TYPE_CHECKING:
    from scipy.sparse import csc_array

NDArray: TypeAlias = npt.NDArray[Any]

#: Bytes of the Jacobians that are kept at a time.
_JACOBIAN_BYTES = 2**26

#: Algebraic equations add small variables to large ones, which hide smaller changes than this.
_LEAST_MOVE = 1e-3


class RightHandSide:
    """``fun`` and its Jacobian on rows of points, with counts of what was called.

    Functions that broadcast over columns are called once for all points. The
    others, which a probe at the start finds out, are called point by point, as
    `scipy.integrate.solve_ivp` calls them.

    Parameters
    ----------
    fun : callable
        ``fun(t, y)``; `t` of shape ``(k,)``, `y` of shape ``(n, k)``.
    jac : callable, array_like or None
        ``jac(t, y)``, a constant matrix, or None for forward differences.
    t_span : tuple of float
        Where the probe may evaluate.
    y0 : ndarray, shape (n,) or (n, n_trajectories)
        Initial states.
    arguments : Arguments
        Further arguments of the functions.
    mass : ndarray, shape (n, n), or None
        The matrix in front of the derivatives.
    backend : Backend
        Whose arrays the functions take and return. Points and values here are
        NumPy's, or with `on_backend` the backend's too.
    pattern : sparse matrix, shape (n, n), or None
        Nonzero where the Jacobian may be; None: the stored entries of a sparse
        `jac`, if it is one.

    Attributes
    ----------
    bands : Bands or None
        How Jacobians are stored: None for dense ones, ``(..., n, n)``.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        jac: Any,
        t_span: tuple[float, float],
        y0: NDArray,
        arguments: Arguments | None = None,
        mass: NDArray | None = None,
        backend: Backend | None = None,
        pattern: csc_array | None = None,
    ) -> None:
        self.n, self.dtype = y0.shape[0], y0.dtype
        self.nfev = self.njev = self.nlu = self.depth = 0
        self.arguments = Arguments(()) if arguments is None else arguments
        self.mass = mass
        self.backend = get_backend("numpy") if backend is None else backend
        self.home = get_backend("numpy")
        self._fun, self._jac = fun, jac
        self._columns, self._pattern = Columns(self.n, pattern), pattern
        self.bands: Bands | None = None
        self._banded_weights: NDArray | None = None
        self._returned = Returned(self.n, self.dtype, self.backend)
        with np.errstate(all="ignore"):
            self._try_functions(places(t_span, y0))
            if pattern is not None and jac is None:
                self._check_pattern(t_span[0], y0)

    def banded(self) -> RightHandSide:
        """Return the same with banded Jacobians, if it is known that they are, and that pays."""
        if self._pattern is None:
            return self
        pattern = self._pattern
        if self.mass is not None:
            pattern = pattern + type(pattern)(self.mass != 0)
        bands = Bands(pattern)
        if not bands.pay:
            return self
        other = copy(self)
        other.bands = bands
        weights = bands.identity if self.mass is None else bands.gathered(self.mass)
        other._banded_weights = weights
        if not callable(self._jac) and self._jac is not None:
            other._jac = bands.gathered(self._jac)
        return other

    def _try_functions(self, at: Places) -> None:
        returned = self._returned

        def fun(t: Any, y: NDArray, lane: Any) -> Any:
            return self.called(self._fun, t, y, lane)

        def jac(t: Any, y: NDArray, lane: Any) -> Any:
            return self.called(self._jac, t, y, lane)

        #: The derivatives at the first point, and whether `fun` takes many points.
        self.first, self.broadcasts = probe(fun, returned.derivative, returned.derivatives, at)
        self.nfev += POINTS + 2
        self.depth += 3
        self._jac_broadcasts = False
        if callable(self._jac):
            _, self._jac_broadcasts = probe(jac, self._first_matrix, returned.matrices, at)
            self.njev += POINTS + 2
            self.depth += 3
        elif self._jac is not None:
            self._jac = self._first_matrix(self._jac)

    def _first_matrix(self, J: Any) -> NDArray:
        """Return a Jacobian, and note where it may differ from zero, if it says so."""
        matrix = self._returned.matrix(J)
        if self._pattern is None and is_sparse(J):
            from scipy.sparse import coo_array, csc_array

            stored: Any = coo_array(J)
            ones = np.ones(stored.row.size, bool)
            self._pattern = csc_array((ones, (stored.row, stored.col)), shape=matrix.shape)
        return matrix

    def _check_pattern(self, t: float, y0: NDArray) -> None:
        """Compare the Jacobian with a change in all directions at once."""
        lane = None if y0.ndim == 1 else np.zeros(1, int)
        y = y0[None] if lane is None else y0[:, 0][None]
        signs = np.where(np.random.default_rng(0).random(self.n) < 0.5, -1.0, 1.0)
        move = signs * displacement(y, float(np.finfo(float).eps) ** 0.5)
        times = np.array([t, t])
        f, moved = self(
            times, np.concatenate([y, y + move]), None if lane is None else lane[[0, 0]]
        )
        wanted = moved - f
        self.bands = Bands(self._pattern)
        found = self.times(self.jacobian(times[:1], y, f[None], lane), move)[0]
        self.bands = None
        off = np.abs(found - wanted)
        if (off > 1e-3 * np.abs(wanted).max() + 1e-12 * np.abs(f).max()).any():
            raise ValueError(
                "`jac_sparsity` must be nonzero wherever the Jacobian of `fun` is; at the initial "
                f"state derivative {int(off.argmax())} depends on more states than it says."
            )

    def renewed(self) -> RightHandSide:
        """Return the same with counts of its own."""
        other = copy(self)
        other.nfev = other.njev = other.nlu = other.depth = 0
        return other

    def on_backend(self) -> RightHandSide:
        """Return the same on points that are the backend's arrays, its values as well."""
        other, backend = copy(self), self.backend
        other.home, other._returned = backend, self._returned.on_backend()
        if self.bands is not None:  # in host memory, as the arrays of this backend are
            return other
        other._columns = self._columns.on(backend)
        other.mass = None if self.mass is None else backend.asarray(self.mass)
        if not callable(self._jac) and self._jac is not None:
            other._jac = backend.asarray(self._jac)
        return other

    def steps_together(self, stages: int) -> int:
        """Return how many steps to take at a time: their Jacobians fit into some megabytes."""
        return max(16, _JACOBIAN_BYTES // (8 * stages * self.jacobian_size))

    @property
    def jacobian_size(self) -> int:
        """The number of entries that a Jacobian is stored with."""
        return self.n**2 if self.bands is None else prod(self.bands.shape)

    @property
    def weights(self) -> NDArray:
        """The matrix in front of the derivatives, `mass` or the identity, as Jacobians are."""
        if self._banded_weights is not None:
            return self._banded_weights
        identity: NDArray = self.home.xp.eye(self.n)
        return identity if self.mass is None else self.mass

    def weighed(self, v: NDArray) -> NDArray:
        """Return the mass matrix times vectors ``(..., n)``."""
        if self.mass is None:
            return v
        return v @ self.mass.T if self.bands is None else self.bands.times(self.weights, v)

    def times(self, J: NDArray, v: NDArray, *, transpose: bool = False) -> NDArray:
        """Return the products of Jacobians and vectors ``(..., n)``."""
        if self.bands is not None:
            return self.bands.times(J, v, transpose=transpose)
        matrices = J.swapaxes(-1, -2) if transpose else J
        product: NDArray = (matrices @ v[..., None])[..., 0]
        return product

    def __call__(self, t: NDArray, y: NDArray, lane: NDArray | None = None) -> NDArray:
        """Return the derivatives at points ``(m,)``, ``(m, n)``, as ``(m, n)``."""
        self.depth += 1
        return self._evaluate(t.copy(), y.copy(), lane)

    def with_argument(
        self, t: NDArray, y: NDArray, lane: NDArray | None, i: int, value: Any
    ) -> NDArray:
        """Return the derivatives at points where argument `i` is `value`.

        What differs from point to point has the points on its last axis.
        """
        self.nfev += t.size
        varies = self.arguments.parts[i].varies

        def value_at(s: Any, v: NDArray, which: Any, value: Any) -> Any:
            args = self.arguments.at(s, which)
            return self._fun(*self._moved(s, v.copy()), *args[:i], value, *args[i + 1 :])

        if self.broadcasts:
            return self._returned.derivatives(value_at(t.copy(), y.T, lane, value), t.size)
        rows = np.empty(y.shape, self.dtype)
        for j in range(t.size):
            own = value[..., j] if varies else value
            rows[j] = self._returned.derivative(value_at(float(t[j]), y[j], _at(lane, j), own))
        return rows

    def jacobian(
        self,
        t: NDArray,
        y: NDArray,
        f: NDArray | None = None,
        lane: NDArray | None = None,
        *,
        central: bool = False,
    ) -> NDArray:
        """Return the Jacobians ``(m, n, n)``; `f`, the derivatives there, saves work.

        Without `jac` they are forward differences, or the more exact central ones.
        With `bands` they are ``(m, n, 2 w + 1)``.
        """
        m = len(y)
        self.njev += m
        if callable(self._jac):
            self.depth += 1
            if not self._jac_broadcasts:
                return self._jacobians_one_by_one(t, y, lane)
            if self.bands is None:
                return self._jacobians_together(t, y, lane)
            return self._jacobians_in_parts(self.bands, t, y, lane)
        if self._jac is not None:
            return np.broadcast_to(self._jac, (m, *self._jac.shape))
        return self._differences(t, y, f, lane, central)[1]

    def _jacobians_together(self, t: NDArray, y: NDArray, lane: NDArray | None) -> NDArray:
        J = self.called(self._jac, t.copy(), y.T.copy(), lane)
        return self._returned.matrices(J, len(y))

    def _jacobians_one_by_one(self, t: NDArray, y: NDArray, lane: NDArray | None) -> NDArray:
        to_numpy, bands, matrix = self.home.to_numpy, self.bands, self._returned.matrix
        t, y = to_numpy(t), to_numpy(y)
        shape = (self.n, self.n) if bands is None else bands.shape
        found = np.empty((len(y), *shape), self.dtype)
        for i in range(len(y)):
            J = self.called(self._jac, float(t[i]), y[i].copy(), _at(lane, i))
            if bands is None:
                found[i] = matrix(J)
            else:
                found[i] = bands.scattered(J) if is_sparse(J) else bands.gathered(matrix(J))
        moved: NDArray = self.home.asarray(found)
        return moved

    def _jacobians_in_parts(
        self, bands: Bands, t: NDArray, y: NDArray, lane: NDArray | None
    ) -> NDArray:
        """Return banded Jacobians without holding many dense ones at a time."""
        found = np.empty((len(y), *bands.shape), self.dtype)
        together = max(1, _JACOBIAN_BYTES // (8 * self.n**2))
        for first in range(0, len(y), together):
            part = slice(first, first + together)
            own = None if lane is None else lane[part]
            found[part] = bands.gathered(self._jacobians_together(t[part], y[part], own))
        return found

    def linearized(
        self, t: NDArray, y: NDArray, lane: NDArray | None = None, *, central: bool = False
    ) -> tuple[NDArray, NDArray]:
        """Return derivatives and Jacobians: one call if these are differences."""
        if self._jac is not None:
            f = self(t, y, lane)
            return f, self.jacobian(t, y, f, lane)
        self.njev += len(t)
        return self._differences(t, y, None, lane, central)

    def _differences(
        self, t: NDArray, y: NDArray, f: NDArray | None, lane: NDArray | None, central: bool
    ) -> tuple[NDArray, NDArray]:
        """Return derivatives and Jacobians by differences, in one call."""
        self.depth += 1

        def grid(points: NDArray) -> NDArray:
            k, n = points.shape[1:]
            lanes = None if lane is None else np.repeat(lane, k)
            values = self._evaluate(np.repeat(t, k), points.reshape(-1, n), lanes)
            return values.reshape(points.shape)

        algebraic = self.mass is not None
        return differences(
            grid, y, f, self._columns, self.bands,
            central=central or algebraic, least=_LEAST_MOVE if algebraic else 0,
        )  # fmt: skip

    def _evaluate(self, t: NDArray, y: NDArray, lane: NDArray | None) -> NDArray:
        self.nfev += t.size
        if self.broadcasts:
            return self._returned.derivatives(self.called(self._fun, t, y.T, lane), t.size)
        t, y = self.home.to_numpy(t), self.home.to_numpy(y)
        rows = np.empty(y.shape, self.dtype)
        for i in range(t.size):
            rows[i] = self._returned.derivative(
                self.called(self._fun, float(t[i]), y[i], _at(lane, i))
            )
        values: NDArray = self.home.asarray(rows)
        return values

    def called(self, fun: Callable[..., Any], t: Any, y: Any, lane: Any) -> Any:
        """Return what a function of time and state gives with the further arguments."""
        return fun(*self._moved(t, y), *self.arguments.at(t, lane))

    def _moved(self, t: Any, y: NDArray) -> tuple[Any, Any]:
        asarray = self.backend.asarray
        return t if isinstance(t, float) else asarray(t), asarray(y)


def _at(lane: NDArray | None, i: int) -> Any:
    return None if lane is None else lane[i]
