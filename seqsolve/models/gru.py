"""Gated recurrent units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from seqsolve import _checks
from seqsolve.backend import Array
from seqsolve.element import ElementStep
from seqsolve.jacobian import BlockDiagonal, Structure
from seqsolve.models import _gru_element, _gru_step
from seqsolve.models._gru_cell import Cell
from seqsolve.models._gru_rows import HeadWeights
from seqsolve.step import StepCotangents

__all__ = ["GRU", "MultiHeadGRU"]


@dataclass(frozen=True, eq=False, repr=False)
class _GatedRecurrentUnit:
    """What the forms of the GRU share."""

    weight_ih: Array
    weight_hh: Array
    bias_ih: Array | None = None
    bias_hh: Array | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None or field.name.startswith("weight"):
                object.__setattr__(self, field.name, _parameter(field.name, value))
        self._check_shapes()

    def _check_shapes(self) -> None:
        raise NotImplementedError

    @property
    def n_inputs(self) -> int:
        """Size of the input."""
        return int(self.weight_ih.shape[-1])

    @property
    def params(self) -> Mapping[str, Array]:
        """The parameters by name, without biases that are None."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: a for name, a in named.items() if a is not None}

    def with_params(self, params: Mapping[str, Array], /) -> Self:
        """Return the same cell with other parameters.

        Parameters
        ----------
        params : mapping of str to array
            As :attr:`params` names and shapes them; those left out are kept.
        """
        unknown = sorted(set(params) - set(self.params))
        if unknown:
            raise ValueError(
                f"`params` must be named {', '.join(self.params)}; got {', '.join(unknown)}."
            )
        return replace(self, **params)

    def __call__(self, y_prev: Array, x: Array, /) -> Array:
        """Return the new state.

        Parameters
        ----------
        y_prev : array, shape (..., n_units)
            The state.
        x : array, shape (..., n_inputs)
            The input; leading axes are broadcast.

        Returns
        -------
        array, shape (..., n_units)
            A new array.
        """
        return _gru_step.evaluate(self._cell, y_prev, x)

    def jac(self, y_prev: Array, x: Array, /) -> Array:
        """Return the Jacobian of the new state with respect to the old.

        Parameters
        ----------
        y_prev : array, shape (..., n_units)
            The state.
        x : array, shape (..., n_inputs)
            The input; leading axes are broadcast.

        Returns
        -------
        array, shape (..., n_units, n_units) or (..., n_heads, head_size, head_size)
            A new array.
        """
        return self.bind(x).linearize(y_prev)[1]()

    def bind(self, x: Array, /) -> _gru_step.BoundGRU:
        """Return the cell with its input fixed.

        Parameters
        ----------
        x : array, shape (..., n_inputs)
            The input.

        Returns
        -------
        BoundStep
            For the states at any leading axes that `x` is broadcast to. The
            states it returns are new arrays; Jacobians live in a buffer that
            its next call overwrites.
        """
        return _gru_step.BoundGRU(self._cell, x, self._jac_shape)

    def vjp(self, y_prev: Array, x: Array, lam: Array, /) -> StepCotangents:
        """Return the cotangents of state, input and parameters, given the new state's.

        Parameters
        ----------
        y_prev : array, shape (..., n_units)
            The state.
        x : array, shape (..., n_inputs)
            The input; leading axes are broadcast.
        lam : array, shape (..., n_units)
            Cotangent of the new state.

        Returns
        -------
        StepCotangents
            Those of the parameters are summed over all leading axes.
        """
        y_bar, x_bar, weights_bar = _gru_step.pull_back(self._cell, y_prev, x, lam)
        bars = weights_bar._asdict()
        params = {name: bars[name].reshape(a.shape) for name, a in self.params.items()}
        return StepCotangents(y_bar, x_bar, params)

    def element_step(self) -> ElementStep:
        """Return the cell as an element step, which compiling backends fuse with the solver.

        Returns
        -------
        ElementStep
            With the parameters of a `MultiHeadGRU`, biases included. In single
            precision, tanh and logistic function are rational, to 4e-7.

        Examples
        --------
        >>> import numpy as np, seqsolve
        >>> gru = seqsolve.models.GRU.random(n_inputs=3, n_units=2, rng=0)
        >>> x = np.random.default_rng(1).standard_normal((100, 3), dtype=np.float32)
        >>> y = seqsolve.deer(gru.element_step(), None, x, np.zeros(2, np.float32)).y
        >>> exact = seqsolve.deer(gru, None, x, np.zeros(2, np.float32)).y
        >>> bool(abs(y - exact).max() < 4e-6)
        True
        """
        h, k = self._cell.n_heads, self._cell.head_size
        zeros = np.zeros_like(self.weight_hh, shape=(h, 3 * k))
        heads = MultiHeadGRU(
            self.weight_ih.reshape(h, 3 * k, -1),
            self.weight_hh.reshape(h, 3 * k, k),
            zeros if self.bias_ih is None else self.bias_ih.reshape(h, 3 * k),
            zeros if self.bias_hh is None else self.bias_hh.reshape(h, 3 * k),
        )
        return _gru_element.element_gru(
            heads.params, lambda y, x, params, lam: MultiHeadGRU(**params).vjp(y, x, lam)
        )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}={value}" for name, value in self._sizes.items())
        return f"{type(self).__name__}({sizes}, dtype={self._cell.dtype})"

    @property
    def _sizes(self) -> dict[str, int]:
        raise NotImplementedError

    @property
    def _jac_shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    @cached_property
    def _cell(self) -> Cell:
        raise NotImplementedError


@dataclass(frozen=True, eq=False, repr=False)
class GRU(_GatedRecurrentUnit):
    """A gated recurrent unit as a step of a recurrence.

    With ``s`` the logistic function, ``x`` the input and ``h`` the state::

        r  = s(W_ir x + b_ir + W_hr h + b_hr)
        z  = s(W_iz x + b_iz + W_hz h + b_hz)
        nn = tanh(W_in x + b_in + r * (W_hn h + b_hn))
        h' = (1 - z) * nn + z * h

    The parameters are laid out as those of PyTorch's ``torch.nn.GRUCell``,
    and may be given in the order of its ``parameters()``.

    Parameters
    ----------
    weight_ih : array_like, shape (3 * n_units, n_inputs)
        ``W_ir``, ``W_iz`` and ``W_in``, one below the other. Parameters are
        copied; integers become float64.
    weight_hh : array_like, shape (3 * n_units, n_units)
        ``W_hr``, ``W_hz`` and ``W_hn``, one below the other.
    bias_ih : array_like, shape (3 * n_units,), optional
        ``b_ir``, ``b_iz`` and ``b_in``. Default: zero.
    bias_hh : array_like, shape (3 * n_units,), optional
        ``b_hr``, ``b_hz`` and ``b_hn``. Default: zero.

    Raises
    ------
    TypeError
        A parameter is not an array of numbers.
    ValueError
        A parameter has another shape.

    See Also
    --------
    MultiHeadGRU : Independent heads, with a block-diagonal Jacobian.

    Notes
    -----
    It brings its exact Jacobian, its vector-Jacobian product and a bound form
    that shares the work between states and Jacobian (:mod:`seqsolve.step`).
    States have the widest dtype among parameters, input and state: all in
    float32 give float32.

    References
    ----------
    .. [1] K. Cho et al., "Learning Phrase Representations using RNN
       Encoder-Decoder for Statistical Machine Translation", 2014,
       arXiv:1406.1078.
    .. [2] ``torch.nn.GRUCell``, PyTorch documentation: the form with the
       reset gate after the product ``W_hn h + b_hn``.

    Examples
    --------
    >>> import numpy as np, seqsolve
    >>> from seqsolve.models import GRU
    >>> gru = GRU.random(n_inputs=3, n_units=16, rng=0)
    >>> gru
    GRU(n_inputs=3, n_units=16, dtype=float32)
    >>> x = np.random.default_rng(1).standard_normal((1000, 3), dtype=np.float32)
    >>> solution = seqsolve.deer(gru, None, x, np.zeros(16, np.float32))
    >>> solution.y.shape, solution.success
    ((1000, 16), True)
    """

    @classmethod
    def random(
        cls,
        n_inputs: int,
        n_units: int,
        *,
        bias: bool = True,
        dtype: Any = "float32",
        rng: Any = None,
    ) -> Self:
        """Return a cell with random parameters.

        As in PyTorch, all are uniform between ``-1 / sqrt(n_units)`` and
        ``1 / sqrt(n_units)``.

        Parameters
        ----------
        n_inputs : int
            Size of the input.
        n_units : int
            Size of the state.
        bias : bool
            Whether it has biases.
        dtype : dtype
            A real floating-point dtype.
        rng : int, numpy.random.Generator or None
            Random numbers, or a seed for them.

        Returns
        -------
        GRU
            Its parameters are NumPy arrays.
        """
        n = _checks.integer("n_units", n_units, 1)
        heads = _random_heads(n_inputs, 1, n, bias, dtype, rng)
        return cls(*(a if a is None else a[0] for a in heads))

    @property
    def n_units(self) -> int:
        """Size of the state."""
        return int(self.weight_hh.shape[-1])

    @property
    def jac_structure(self) -> str:
        """The structure of the Jacobian: ``"dense"``."""
        return "dense"

    def _check_shapes(self) -> None:
        shape = tuple(self.weight_ih.shape)
        if len(shape) != 2 or shape[0] % 3 or shape[0] == 0:
            raise ValueError(f"`weight_ih` must have shape (3 * n_units, n_inputs); got {shape}.")
        n = shape[0] // 3
        _check_shape("weight_hh", self.weight_hh, "(3 * n_units, n_units)", (3 * n, n))
        _check_shape("bias_ih", self.bias_ih, "(3 * n_units,)", (3 * n,))
        _check_shape("bias_hh", self.bias_hh, "(3 * n_units,)", (3 * n,))

    @property
    def _sizes(self) -> dict[str, int]:
        return {"n_inputs": self.n_inputs, "n_units": self.n_units}

    @property
    def _jac_shape(self) -> tuple[int, ...]:
        return (self.n_units, self.n_units)

    @cached_property
    def _cell(self) -> Cell:
        one_head = (None if a is None else a[None] for a in _values(self))
        return Cell(HeadWeights(*one_head))


@dataclass(frozen=True, eq=False, repr=False)
class MultiHeadGRU(_GatedRecurrentUnit):
    """Independent gated recurrent units side by side, the heads, on the same input.

    Head ``i`` is a :class:`GRU` whose state is ``h[i * head_size : (i + 1) *
    head_size]``. The Jacobian is block-diagonal, so a step of the linear
    recurrence costs ``n_units * head_size`` multiplications, not
    ``n_units**2``. Heads of one unit make the recurrence elementwise.

    Parameters
    ----------
    weight_ih : array_like, shape (n_heads, 3 * head_size, n_inputs)
        Input weights. ``weight_ih[i]`` and so on are the parameters of head
        ``i``, laid out as those of PyTorch's ``torch.nn.GRUCell``. Parameters
        are copied; integers become float64.
    weight_hh : array_like, shape (n_heads, 3 * head_size, head_size)
        Recurrent weights.
    bias_ih : array_like, shape (n_heads, 3 * head_size), optional
        Biases beside the input weights. Default: zero.
    bias_hh : array_like, shape (n_heads, 3 * head_size), optional
        Biases beside the recurrent weights. Default: zero.

    Raises
    ------
    TypeError
        A parameter is not an array of numbers.
    ValueError
        A parameter has another shape.

    See Also
    --------
    GRU : One head; the equations.

    References
    ----------
    .. [1] K. Cho et al., "Learning Phrase Representations using RNN
       Encoder-Decoder for Statistical Machine Translation", 2014,
       arXiv:1406.1078.
    .. [2] F. Danieli et al., "ParaRNN: Unlocking Parallel Training of
       Nonlinear RNNs for Large Language Models", 2025, arXiv:2510.21450:
       structured Jacobians for fast parallel training.

    Examples
    --------
    >>> import numpy as np, seqsolve
    >>> from seqsolve.models import MultiHeadGRU
    >>> gru = MultiHeadGRU.random(n_inputs=3, n_units=16, n_heads=4, rng=0)
    >>> x = np.random.default_rng(1).standard_normal((1000, 3), dtype=np.float32)
    >>> gru.jac(np.zeros((1000, 16), np.float32), x).shape
    (1000, 4, 4, 4)
    >>> seqsolve.deer(gru, None, x, np.zeros(16, np.float32)).success
    True
    """

    @classmethod
    def random(
        cls,
        n_inputs: int,
        n_units: int,
        *,
        n_heads: int,
        bias: bool = True,
        dtype: Any = "float32",
        rng: Any = None,
    ) -> Self:
        """Return a cell with random parameters.

        As in PyTorch for each head, all are uniform between ``-1 /
        sqrt(head_size)`` and ``1 / sqrt(head_size)``.

        Parameters
        ----------
        n_inputs : int
            Size of the input.
        n_units : int
            Size of the state, of all heads together.
        n_heads : int
            Number of heads, a divisor of `n_units`.
        bias : bool
            Whether it has biases.
        dtype : dtype
            A real floating-point dtype.
        rng : int, numpy.random.Generator or None
            Random numbers, or a seed for them.

        Returns
        -------
        MultiHeadGRU
            Its parameters are NumPy arrays.
        """
        n, h = _checks.integer("n_units", n_units, 1), _checks.integer("n_heads", n_heads, 1)
        if n % h:
            raise ValueError(f"`n_heads` must divide `n_units`, {n}; got {h}.")
        return cls(*_random_heads(n_inputs, h, n // h, bias, dtype, rng))

    @property
    def n_units(self) -> int:
        """Size of the state."""
        return self.n_heads * self.head_size

    @property
    def n_heads(self) -> int:
        """Number of heads."""
        return int(self.weight_hh.shape[0])

    @property
    def head_size(self) -> int:
        """Size of the state of a head."""
        return int(self.weight_hh.shape[-1])

    @property
    def jac_structure(self) -> Structure:
        """The structure of the Jacobian: blocks of `head_size`."""
        return BlockDiagonal(self.head_size)

    def _check_shapes(self) -> None:
        shape = tuple(self.weight_ih.shape)
        if len(shape) != 3 or shape[1] % 3 or 0 in shape[:2]:
            raise ValueError(
                f"`weight_ih` must have shape (n_heads, 3 * head_size, n_inputs); got {shape}."
            )
        h, k = shape[0], shape[1] // 3
        matrix, vector = "(n_heads, 3 * head_size, head_size)", "(n_heads, 3 * head_size)"
        _check_shape("weight_hh", self.weight_hh, matrix, (h, 3 * k, k))
        _check_shape("bias_ih", self.bias_ih, vector, (h, 3 * k))
        _check_shape("bias_hh", self.bias_hh, vector, (h, 3 * k))

    @property
    def _sizes(self) -> dict[str, int]:
        return {"n_inputs": self.n_inputs, "n_units": self.n_units, "n_heads": self.n_heads}

    @property
    def _jac_shape(self) -> tuple[int, ...]:
        return (self.n_heads, self.head_size, self.head_size)

    @cached_property
    def _cell(self) -> Cell:
        return Cell(HeadWeights(*_values(self)))


def _values(unit: _GatedRecurrentUnit) -> tuple[Array | None, ...]:
    return unit.weight_ih, unit.weight_hh, unit.bias_ih, unit.bias_hh


def _parameter(name: str, a: Any) -> Array:
    """Return a copy of a parameter; where the library allows, a read-only one."""
    a = _checks.array(name, a)
    native = isinstance(a, np.ndarray) or not hasattr(a, "__array_function__")
    copy = np.array(a) if native else a.copy()
    if copy.dtype.kind in "iub":
        copy = copy.astype("float64")
    if native:
        copy.flags.writeable = False
    return copy


def _check_shape(name: str, a: Array | None, symbols: str, shape: tuple[int, ...]) -> None:
    if a is not None and tuple(a.shape) != shape:
        raise ValueError(f"`{name}` must have shape {symbols} = {shape}; got {tuple(a.shape)}.")


def _random_heads(
    n_inputs: int, n_heads: int, head_size: int, bias: bool, dtype: Any, rng: Any
) -> HeadWeights:
    m = _checks.integer("n_inputs", n_inputs, 1)
    if np.dtype(dtype).kind != "f":
        raise TypeError(f"`dtype` must be a real floating-point dtype; got {dtype!r}.")
    generator = np.random.default_rng(rng)
    bound = head_size**-0.5

    def draw(*shape: int) -> Array:
        return generator.uniform(-bound, bound, (n_heads, 3 * head_size, *shape)).astype(dtype)

    biases = (draw(), draw()) if _checks.boolean("bias", bias) else (None, None)
    return HeadWeights(draw(m), draw(head_size), *biases)
