"""Element steps: a recurrence's step for a single position, in numbers and loops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from seqsolve import _checks, _lanes
from seqsolve.backend import Array
from seqsolve.jacobian import Structure, parse_structure
from seqsolve.step import ElementStepError, StepCotangents

__all__ = ["ElementStep", "element_step"]


class ElementStep:
    """A step written for a single position; made by `element_step`.

    It is an array step as well: every solver takes it on every backend. There
    it is evaluated at all positions at once where its functions allow that,
    else position by position in plain Python. Backends that compile
    (:class:`seqsolve.backend.FusedSteps`) run it without temporary arrays.

    Parameters
    ----------
    step : callable
        ``step(y_prev, x, params, y_out)`` for one position.
    jac : callable or None
        ``jac(y_prev, x, params, jac_out)`` for one position.
    n_state : int
        Size of the state.
    params : mapping of str to array_like, or None
        Parameters.
    jac_structure : {"dense", "diagonal"} or BlockDiagonal
        The structure of the Jacobian.
    vjp : callable or None
        ``vjp(y_prev, x, params, lam)`` on arrays.
    """

    def __init__(
        self,
        step: Callable[..., Any],
        jac: Callable[..., Any] | None,
        *,
        n_state: int,
        params: Mapping[str, Any] | None,
        jac_structure: str | Structure,
        vjp: Callable[..., StepCotangents] | None,
    ) -> None:
        self.function = _checks.function("step", step)
        """``step(y_prev, x, params, y_out)`` for one position."""
        self.jac_function = _checks.function("jac", jac, optional=True)
        """``jac(y_prev, x, params, jac_out)`` for one position, or None."""
        self.n_state = _checks.integer("n_state", n_state, 1)
        structure = parse_structure(jac_structure, self.n_state)
        if structure is None or (structure.kind == "block_diagonal" and not structure.block_size):
            raise ValueError(
                "`jac_structure` must be 'diagonal', 'dense' or BlockDiagonal(block_size) for an "
                f"element step; got {jac_structure!r}."
            )
        self.jac_structure = structure
        self._vjp: Any = _checks.function("vjp", vjp, optional=True)
        self._params = _parameters(params)

    @property
    def params(self) -> Mapping[str, Array]:
        """The parameters by name, in the order in which the functions receive them."""
        return dict(self._params)

    def with_params(self, params: Mapping[str, Array], /) -> Self:
        """Return the same step with other parameters; those left out are kept.

        Parameters
        ----------
        params : mapping of str to array
            New values, by name.

        Returns
        -------
        ElementStep
            A new object.
        """
        unknown = sorted(set(params) - set(self._params))
        if unknown:
            raise ValueError(
                f"`params` must be named {', '.join(self._params) or 'nothing'}; "
                f"got {', '.join(unknown)}."
            )
        return type(self)(
            self.function,
            self.jac_function,
            n_state=self.n_state,
            params={**self._params, **params},
            jac_structure=self.jac_structure,
            vjp=self._vjp,
        )

    @property
    def jac_shape(self) -> tuple[int, ...]:
        """The shape of the Jacobian at one position."""
        n, k = self.n_state, self.jac_structure.width(self.n_state)
        shapes = {"diagonal": (n,), "dense": (n, n)}
        return shapes.get(self.jac_structure.kind, (n // k, k, k))

    def result_dtype(self, y_prev: Array, x: Array | None) -> np.dtype[Any]:
        """Return the dtype in which new states are computed."""
        dtype: np.dtype[Any] = _lanes.result_dtype(y_prev, x, tuple(self._params.values()))
        return dtype

    def __call__(self, y_prev: Array, x: Array | None, /) -> Array:
        """Return the new states.

        Parameters
        ----------
        y_prev : array, shape (..., n_state)
            The states.
        x : array, shape (..., *item), or None
            The input; as many leading axes as `y_prev` has, or of size 1.

        Returns
        -------
        array, shape (..., n_state)
            A new array.
        """
        return self._evaluate("step", self.function, y_prev, x, (self.n_state,))

    @property
    def jac(self) -> Callable[[Array, Array | None], Array] | None:
        """The Jacobian as a function of arrays, or None if there is none."""
        return None if self.jac_function is None else self._jac

    @property
    def vjp(self) -> Callable[[Array, Array | None, Array], StepCotangents] | None:
        """The vector-Jacobian product as a function of arrays, or None if there is none."""
        return None if self._vjp is None else self._pull_back

    def _jac(self, y_prev: Array, x: Array | None, /) -> Array:
        return self._evaluate("jac", self.jac_function, y_prev, x, self.jac_shape)

    def _pull_back(self, y_prev: Array, x: Array | None, lam: Array, /) -> StepCotangents:
        cotangents: StepCotangents = self._vjp(y_prev, x, self.params, lam)
        return cotangents

    def _evaluate(
        self, name: str, function: Any, y_prev: Array, x: Array | None, shape: tuple[int, ...]
    ) -> Array:
        n = y_prev.shape[-1]
        if n != self.n_state:
            raise ValueError(
                f"`y_prev` must have n_state = {self.n_state} elements on its last axis; "
                f"got shape {tuple(y_prev.shape)}."
            )
        check_input(x, y_prev.ndim - 1)
        params = tuple(self._params.values())
        try:
            return _lanes.evaluate(function, y_prev, x, params, shape)
        except _lanes.UnsetError as error:
            what = "y_out" if name == "step" else "jac_out"
            raise ElementStepError(
                f"`{name}` must set every element of `{what}`; {error} is not set."
            ) from None
        except _lanes.NotRealError as error:
            raise TypeError(
                f"`{name}` must be real for real arguments; element {error} is not."
            ) from None
        except Exception:
            # Whatever positions cannot do together, they may do one by one.
            return _lanes.loop(function, y_prev, x, params, shape)

    def __repr__(self) -> str:
        name = getattr(self.function, "__qualname__", repr(self.function))
        return f"ElementStep({name}, n_state={self.n_state}, {self.jac_structure})"


def element_step(
    step: Callable[..., Any],
    jac: Callable[..., Any] | None = None,
    *,
    n_state: int,
    params: Mapping[str, Any] | None = None,
    jac_structure: str | Structure = "dense",
    vjp: Callable[..., StepCotangents] | None = None,
) -> ElementStep:
    """Make a step of a recurrence from plain Python functions for a single position.

    Backends that compile turn the functions into machine code and fuse them
    with the solver: no array of Jacobians is ever stored. Name one of them,
    ``backend="numba"`` for NumPy arrays: on other backends, and when it is
    called, the step works on arrays like any other, and its loops are Python's.

    Parameters
    ----------
    step : callable
        ``step(y_prev, x, params, y_out)``: sets every element of `y_out`,
        shape ``(n_state,)``. `x` is the input at this position, or None;
        `params` a tuple of the parameters in their order. In plain Python:
        numbers, loops, branches, functions of numbers; no slices, no
        allocation. A parameter of shape () arrives as a number.
    jac : callable, optional
        ``jac(y_prev, x, params, jac_out)``: sets every element of the
        Jacobian, of shape ``(n_state,)`` if diagonal, ``(h, k, k)`` if
        block-diagonal, ``(n_state, n_state)`` if dense.
    n_state : int
        Size of the state.
    params : mapping of str to array_like, optional
        Parameters. Integers become float64.
    jac_structure : {"dense", "diagonal"} or BlockDiagonal
        The structure of the Jacobian.
    vjp : callable, optional
        ``vjp(y_prev, x, params, lam) -> StepCotangents`` on arrays, `params`
        a mapping: gradients of input and parameters for `seqsolve.vjp`.

    Returns
    -------
    ElementStep
        For every solver of recurrences.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong; the message names it.

    Notes
    -----
    Write numbers that enter the state as floating-point literals: ``1.0 - z``
    keeps float32 in compiled code, ``1 - z`` computes in float64.

    References
    ----------
    .. [1] F. Danieli et al., "ParaRNN: Unlocking Parallel Training of
       Nonlinear RNNs for Large Language Models", 2025, arXiv:2510.21450:
       cells fused with the solver of their Newton iterations.

    Examples
    --------
    >>> import math
    >>> import numpy as np, seqsolve
    >>> def step(y_prev, x, params, y_out):
    ...     (w,) = params
    ...     for i in range(len(y_prev)):
    ...         y_out[i] = math.tanh(w[i] * y_prev[i] + x[i])
    >>> def jac(y_prev, x, params, jac_out):
    ...     (w,) = params
    ...     for i in range(len(y_prev)):
    ...         t = math.tanh(w[i] * y_prev[i] + x[i])
    ...         jac_out[i] = w[i] * (1.0 - t * t)
    >>> w = np.array([0.5, -0.8])
    >>> cell = seqsolve.element_step(
    ...     step, jac, n_state=2, params={"w": w}, jac_structure="diagonal"
    ... )
    >>> cell(np.zeros((5, 2)), np.ones((5, 2))).shape
    (5, 2)
    >>> x = np.sin(np.arange(600.0)).reshape(300, 2)
    >>> solution = seqsolve.deer(cell, None, x, np.zeros(2))
    >>> solution.success
    True
    """
    return ElementStep(
        step, jac, n_state=n_state, params=params, jac_structure=jac_structure, vjp=vjp
    )


def check_input(x: Any, n_lead: int) -> None:
    """Raise unless the input of an element step is None or an array with leading axes."""
    if x is None:
        return
    if not hasattr(x, "shape"):
        raise TypeError(
            "`x` must be one array, or None, for an element step; "
            f"got {type(x).__name__}. Join its parts along the last axis."
        )
    if len(x.shape) < n_lead:
        raise ValueError(
            f"`x` must have at least the {n_lead} leading axes of `y_prev` for an element step; "
            f"got shape {tuple(x.shape)}."
        )


def _parameters(params: Mapping[str, Any] | None) -> dict[str, Array]:
    if params is None:
        return {}
    if not isinstance(params, Mapping):
        raise TypeError(f"`params` must map names to arrays; got {params!r}.")
    return {name: _parameter(f"params[{name!r}]", a) for name, a in params.items()}


def _parameter(name: str, a: Any) -> Array:
    array = _checks.array(name, a)
    try:
        dtype = _checks.dtype_name(array.dtype)
    except TypeError as error:
        raise TypeError(f"`{name}` {error}") from None
    return array if array.dtype == dtype else array.astype(dtype)
