"""The contract between the solvers and the arrays they run on.

A backend supplies *primitives*; every algorithm is written once, in the core,
on those. Backends are found through the entry-point group
``seqsolve.backends`` and loaded when first asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from seqsolve import _registry

if TYPE_CHECKING:
    from seqsolve.element import ElementStep
    from seqsolve.step import BoundStep

__all__ = [
    "Array",
    "Backend",
    "BackendStatus",
    "BackendUnavailableError",
    "BindsElementSteps",
    "Capabilities",
    "FusedOutcome",
    "FusedSteps",
    "HalfProducts",
    "JacobiSweeps",
    "Placed",
    "available_backends",
    "backend_status",
    "get_backend",
]

#: An array of any backend.
#:
#: Its type is the backend's business. Results that users get are declared as NumPy's arrays,
#: whose interface every backend's arrays have.
Array: TypeAlias = Any


class BackendUnavailableError(RuntimeError):
    """A backend is installed but cannot run here; the message says why.

    A backend's ``make_backend`` raises it when its library or driver is
    missing.
    """


@dataclass(frozen=True)
class Capabilities:
    """What a backend declares that it can do.

    Parameters
    ----------
    dtypes : tuple of str
        State dtypes that every primitive supports.
    linear_solvers : tuple of str
        Named methods of :meth:`Backend.linear_recurrence` besides ``"auto"``.
    """

    dtypes: tuple[str, ...] = ("float32", "float64", "complex64", "complex128")
    linear_solvers: tuple[str, ...] = ("scan", "cyclic_reduction", "sequential")


@runtime_checkable
class Backend(Protocol):
    """The primitives that a backend supplies.

    Shapes are already normalised when a primitive is called: time first, one
    batch axis, the state last. ``b`` and ``y`` are ``(n_steps, n_batch,
    n_state)``; ``A`` is ``(n_steps, n_batch, n_state)`` for a diagonal
    recurrence and ``(n_steps, n_batch, n_state, n_state)`` for a dense one
    (block-diagonal ones arrive as dense with a larger batch). All arrays of a
    call have one dtype. Inputs may have any strides, negative and zero ones
    included, and are never written to unless the method says so. ``n_steps``
    and ``n_batch`` may be 0.
    """

    name: str
    xp: Any
    """The array namespace: functions named and behaving as NumPy's."""
    capabilities: Capabilities

    def describe(self) -> Mapping[str, str]:
        """Return versions and the device, for people to read."""
        ...

    def asarray(self, a: Any, dtype: Any = None) -> Array:
        """Return `a` as this backend's array, moved and cast only if needed."""
        ...

    def to_numpy(self, a: Array) -> npt.NDArray[Any]:
        """Return `a` as a NumPy array in host memory."""
        ...

    def synchronize(self) -> None:
        """Wait until all work handed to the device is done."""
        ...

    def default_window(
        self, *, n_steps: int, n_batch: int, n_state: int, n_jacobian: int, dtype: Any
    ) -> int:
        """Return how many steps to solve together.

        `n_jacobian` is the number of Jacobian entries per step and sequence.
        1 tells the solvers to step through time, vectorised over the batch:
        the right answer where the batch alone keeps the hardware busy.
        """
        ...

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
        """Solve ``y[t] = A[t] y[t-1] + b[t]`` with ``y[-1] = y0`` (None: zero).

        With `reverse`, ``y[t] = A[t] y[t+1] + b[t]`` and ``y[n_steps] = y0``.
        With `transpose`, ``A[t]`` acts transposed (not conjugated). `method`
        is ``"auto"`` or one of ``capabilities.linear_solvers``. `out`, of the
        shape of `b`, receives the result and overlaps no input.
        """
        ...

    def residual_test(
        self, y: Array, fy: Array, rtol: float, atol: Array
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """Test ``|y - fy| <= atol + rtol |y|`` element by element.

        `atol` is a real array of shape ``(n_state,)``. Returns, in host memory
        and per sequence, the first step that fails (``n_steps`` if none does)
        and the largest ``|y - fy|``. A residual that is not finite fails, an
        infinite `y` included; NaN counts as infinite.
        """
        ...

    def newton_update(self, A: Array, fy: Array, y: Array, *, method: str) -> None:
        """Advance the iterate `y` in place by one linearised solve.

        ``y+[t] = fy[t] + A[t] (y+[t-1] - y[t-1])``, nothing added at ``t = 0``.
        `fy` and `A` may share memory with `y`. Where the new value is not
        finite, or larger than the square root of the largest number,
        ``fy[t]`` takes its place, however large, or the old ``y[t]`` if
        ``fy[t]`` is not finite either. Later steps may build on the increment
        before or after that repair. ``A[0]`` is not read.
        """
        ...


@runtime_checkable
class Placed(Protocol):
    """What a backend offers besides, if its arrays live on several devices.

    Optional: the public solvers ask whether a backend has this method.
    """

    def placed(self, arrays: Sequence[Array]) -> AbstractContextManager[Any]:
        """Return a context in which new arrays live beside `arrays`, and functions run there.

        `arrays` are the backend's own, those that the user passed. Raises
        ValueError if they live on different devices.
        """
        ...


@runtime_checkable
class HalfProducts(Protocol):
    """What a backend offers besides, if its hardware multiplies half-precision matrices.

    Optional: without it, likelihood-ratio gradients with products in half
    precision round the operands and multiply them as they are.
    """

    def half_matmul(self, a: Array, b: Array) -> Array:
        """Return ``a @ b``, with the operands rounded to float16, and sums in float32 at least.

        `a` has shape ``(m, k)``, `b` shape ``(k, n)``, of one real dtype, any
        strides; the result has that dtype.
        """
        ...


class FusedOutcome(NamedTuple):
    """What became of the windows of a fused solve.

    Parameters
    ----------
    converged : ndarray of int, shape (n_batch,)
        Steps of each sequence that meet the tolerance, from the first on.
    stuck : ndarray of bool, shape (n_batch,)
        Whether the step behind them fails the test although it was set to the
        step function's own value.
    nit : ndarray of int, shape (n_windows, n_batch)
        Iterations or sweeps; 0 in the windows behind the one that failed.
    residual : ndarray, shape (n_windows, n_batch)
        Largest residual at the end of each window that was solved or failed.
    trace : ndarray, shape (n_windows, at most maxiter + 1)
        Largest residual of all sequences before each iteration and at the
        end; of sweeps, the largest change in each.
    """

    converged: npt.NDArray[np.intp]
    stuck: npt.NDArray[np.bool_]
    nit: npt.NDArray[np.intp]
    residual: npt.NDArray[np.float64]
    trace: npt.NDArray[np.float64]


@runtime_checkable
class FusedSteps(Protocol):
    """What a backend offers besides, if it compiles element steps.

    Optional: the solvers ask whether a backend has these four methods, and
    use them for steps that are an :class:`seqsolve.ElementStep`, its
    parameters on the backend already. `x` is None or ``(n_steps, n_batch or
    1, *item)``. A step that cannot be compiled raises
    :class:`seqsolve.ElementStepError`, which shows the user's line.
    """

    def element_window(
        self, step: ElementStep, *, n_steps: int, n_batch: int, n_jacobian: int, dtype: Any
    ) -> int:
        """Return how many steps to solve together; 1 to step through time.

        `n_jacobian` is the number of Jacobian entries per step and sequence.
        """
        ...

    def fuses(self, step: ElementStep, dtype: Any) -> bool:
        """Return whether `newton_windows` takes the step; else its iterations run on arrays."""
        ...

    def march(self, step: ElementStep, x: Array | None, y: Array) -> None:
        """Set ``y[t + 1]`` to ``step(y[t], x[t])``, one step after the other.

        `y` is ``(n_steps + 1, n_batch, n_state)``; ``y[0]`` is given.
        """
        ...

    def newton_windows(
        self,
        step: ElementStep,
        x: Array | None,
        y: Array,
        *,
        guessed: bool,
        rtol: float,
        atol: Array,
        maxiter: int,
        scale: float,
        window: int,
    ) -> FusedOutcome:
        """Solve one window of `window` steps after the other by Newton's method.

        `y` is ``(n_steps + 1, n_batch, n_state)``; ``y[0]`` is given, and
        receives the trajectory. With `guessed`, ``y[1:]`` is the first
        iterate. Without, the first iterate is the backend's to choose: each
        window's initial state throughout, or better.
        The step's Jacobian is multiplied by `scale`. Iterates, test and
        repair are those of `residual_test` and `newton_update`; the steps
        that meet the tolerance are not updated again. A sequence ends with
        the window that fails: that window's last iterate stays, and its last
        state is repeated behind it.
        """
        ...


@runtime_checkable
class BindsElementSteps(Protocol):
    """What a backend offers besides, if element steps on arrays run compiled there.

    Optional: the solvers ask whether a backend has this method, and use it
    wherever they evaluate an element step at many positions.
    """

    def bind_step(self, step: ElementStep, x: Array | None) -> BoundStep:
        """Return the step with its input fixed.

        `x` has the leading axes of the states, or 1 in their place, then those
        of an item. Parameters are on the backend already.
        """
        ...


@runtime_checkable
class JacobiSweeps(Protocol):
    """What a backend with `FusedSteps` offers besides, if it fuses Jacobi sweeps.

    Optional: the Jacobi family uses it for element steps in real dtypes,
    through `triangular_map`.
    """

    def sweep_windows(
        self,
        step: ElementStep,
        x: Array | None,
        y: Array,
        *,
        rtol: float,
        atol: Array,
        maxiter: int,
        window: int,
        block_size: int,
    ) -> FusedOutcome:
        """Solve one window of `window` steps after the other by Jacobi sweeps.

        `y` is ``(n_steps + 1, n_batch, n_state)``; ``y[0]`` is given, ``y[1:]``
        is the first iterate, and receives the trajectory. Every sequence is
        swept as if it were alone. A sweep evaluates the step at the positions
        from the first that is not exact on, and tests what changed as
        `residual_test` does. The positions before the first that fails are
        solved and keep their old values; they and the one behind them, which
        is exact now, are not evaluated any more.

        With a `block_size` above 1, blocks of so many positions are swept in
        order inside and all at once; what is solved takes its new values, and
        so does the rest of the block behind it. At the end, all blocks but
        those that became exact one by one are swept position by position; so
        they are once a value in one of them is not finite.

        A sequence ends with the window in which an exact value is not finite
        (that step is `stuck`) or `maxiter` sweeps do not suffice; that
        window's last iterate stays, and so does the guess behind it. `trace`
        has at most `maxiter` columns.
        """
        ...


@dataclass(frozen=True)
class BackendStatus:
    """One installed backend: whether it runs here, and why not.

    Parameters
    ----------
    name : str
        The backend's name, as `backend=` takes it.
    available : bool
        Whether it can run now.
    reason : str
        Why it cannot; empty if it can.
    distribution : str
        The installed distribution that provides it, with its version.
    details : mapping of str to str
        What it says of itself: versions, device.
    """

    name: str
    available: bool
    reason: str
    distribution: str
    details: Mapping[str, str]


def get_backend(name: str) -> Backend:
    """Return the backend called `name`, loading it on first use.

    Parameters
    ----------
    name : str
        One of the installed backends: ``"numpy"`` or whatever other installed
        packages register.

    Returns
    -------
    Backend
        The backend; the same object at every call.

    Raises
    ------
    TypeError
        `name` is no string.
    ValueError
        No installed package registers a backend of that name.
    BackendUnavailableError
        It is installed but cannot run here.

    Examples
    --------
    >>> import seqsolve
    >>> seqsolve.get_backend("numpy").name
    'numpy'
    """
    if not isinstance(name, str):
        raise TypeError(f"`name` must be a string; got {type(name).__name__}.")
    try:
        backend: Backend = _registry.load(name)
    except _registry.UnavailableError as error:
        raise BackendUnavailableError(f"Backend {name!r} cannot run here: {error}") from error
    missing = [member for member in _PRIMITIVES if not hasattr(backend, member)]
    if missing:
        raise BackendUnavailableError(
            f"Backend {name!r} does not keep the contract: it lacks {', '.join(missing)}."
        )
    return backend


def available_backends() -> list[str]:
    """Return the names of the backends that can run here.

    Returns
    -------
    list of str
        In alphabetical order.

    Examples
    --------
    >>> import seqsolve
    >>> "numpy" in seqsolve.available_backends()
    True
    """
    return [name for name in _registry.names() if backend_status(name).available]


def backend_status(name: str) -> BackendStatus:
    """Return whether an installed backend can run here, and what it says of itself.

    Parameters
    ----------
    name : str
        The name of an installed backend.

    Returns
    -------
    BackendStatus
        Also for a backend that is installed but cannot run.

    Raises
    ------
    ValueError
        No installed package registers a backend of that name.

    Examples
    --------
    >>> import seqsolve
    >>> seqsolve.backend_status("numpy").available
    True
    """
    distribution = _registry.distribution(name)
    try:
        backend = get_backend(name)
    except BackendUnavailableError as error:
        return BackendStatus(name, False, str(error), distribution, {})
    return BackendStatus(name, True, "", distribution, backend.describe())


_PRIMITIVES = (
    "name",
    "xp",
    "capabilities",
    "describe",
    "asarray",
    "to_numpy",
    "synchronize",
    "default_window",
    "linear_recurrence",
    "residual_test",
    "newton_update",
)
