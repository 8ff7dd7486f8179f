"""Gated recurrent units."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from seqsolve import _checks
from seqsolve.jacobian import BlockDiagonal, Structure
from seqsolve.models._gru_cell import Cell
from seqsolve.models._gru_rows import HeadWeights
from seqsolve.models._gru_unit import GatedRecurrentUnit, check_shape, random_heads, values

__all__ = ["GRU", "MultiHeadGRU"]


@dataclass(frozen=True, eq=False, repr=False)
class GRU(GatedRecurrentUnit):
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
        heads = random_heads(n_inputs, 1, n, bias, dtype, rng)
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
        check_shape("weight_hh", self.weight_hh, "(3 * n_units, n_units)", (3 * n, n))
        check_shape("bias_ih", self.bias_ih, "(3 * n_units,)", (3 * n,))
        check_shape("bias_hh", self.bias_hh, "(3 * n_units,)", (3 * n,))

    @property
    def _sizes(self) -> dict[str, int]:
        return {"n_inputs": self.n_inputs, "n_units": self.n_units}

    @property
    def _jac_shape(self) -> tuple[int, ...]:
        return (self.n_units, self.n_units)

    @cached_property
    def _cell(self) -> Cell:
        one_head = (None if a is None else a[None] for a in values(self))
        return Cell(HeadWeights(*one_head))


@dataclass(frozen=True, eq=False, repr=False)
class MultiHeadGRU(GatedRecurrentUnit):
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
        return cls(*random_heads(n_inputs, h, n // h, bias, dtype, rng))

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
        check_shape("weight_hh", self.weight_hh, matrix, (h, 3 * k, k))
        check_shape("bias_ih", self.bias_ih, vector, (h, 3 * k))
        check_shape("bias_hh", self.bias_hh, vector, (h, 3 * k))

    @property
    def _sizes(self) -> dict[str, int]:
        return {"n_inputs": self.n_inputs, "n_units": self.n_units, "n_heads": self.n_heads}

    @property
    def _jac_shape(self) -> tuple[int, ...]:
        return (self.n_heads, self.head_size, self.head_size)

    @cached_property
    def _cell(self) -> Cell:
        return Cell(HeadWeights(*values(self)))
