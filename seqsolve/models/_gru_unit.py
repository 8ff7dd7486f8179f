"""What every form of a GRU is: a step with parameters, its Jacobian and its products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np

from seqsolve import _checks
from seqsolve.backend import Array
from seqsolve.element import ElementStep
from seqsolve.models import _gru_element, _gru_step
from seqsolve.models._gru_cell import Cell
from seqsolve.models._gru_rows import HeadWeights
from seqsolve.step import StepCotangents


@dataclass(frozen=True, eq=False, repr=False)
class GatedRecurrentUnit:
    """What the forms of the GRU share: parameters, and being a step of a recurrence."""

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
        return self._element_step("rational")

    def element_form(self) -> ElementStep:
        """Return the cell as an element step with the activations of its array form.

        Returns
        -------
        ElementStep
            What the solvers use by themselves where the backend fuses it.
        """
        return self._element_step("exact")

    def _element_step(self, activations: Literal["exact", "rational"]) -> ElementStep:
        h, k = self._cell.n_heads, self._cell.head_size
        zeros = np.zeros_like(self.weight_hh, shape=(h, 3 * k))
        heads = HeadWeights(
            self.weight_ih.reshape(h, 3 * k, -1),
            self.weight_hh.reshape(h, 3 * k, k),
            zeros if self.bias_ih is None else self.bias_ih.reshape(h, 3 * k),
            zeros if self.bias_hh is None else self.bias_hh.reshape(h, 3 * k),
        )
        return _gru_element.element_gru(heads._asdict(), _pull_back, activations)

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


def _pull_back(y_prev: Array, x: Array, params: Mapping[str, Array], lam: Array) -> StepCotangents:
    y_bar, x_bar, bars = _gru_step.pull_back(Cell(HeadWeights(**params)), y_prev, x, lam)
    return StepCotangents(y_bar, x_bar, bars._asdict())


def values(unit: GatedRecurrentUnit) -> tuple[Array | None, ...]:
    """Return the parameters in order, None for those that a cell does not have."""
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


def check_shape(name: str, a: Array | None, symbols: str, shape: tuple[int, ...]) -> None:
    """Raise unless a parameter is None or has a shape."""
    if a is not None and tuple(a.shape) != shape:
        raise ValueError(f"`{name}` must have shape {symbols} = {shape}; got {tuple(a.shape)}.")


def random_heads(
    n_inputs: int, n_heads: int, head_size: int, bias: bool, dtype: Any, rng: Any
) -> HeadWeights:
    """Return parameters drawn as PyTorch draws them, for each head."""
    m = _checks.integer("n_inputs", n_inputs, 1)
    if np.dtype(dtype).kind != "f":
        raise TypeError(f"`dtype` must be a real floating-point dtype; got {dtype!r}.")
    generator = np.random.default_rng(rng)
    bound = head_size**-0.5

    def draw(*shape: int) -> Array:
        return generator.uniform(-bound, bound, (n_heads, 3 * head_size, *shape)).astype(dtype)

    biases = (draw(), draw()) if _checks.boolean("bias", bias) else (None, None)
    return HeadWeights(draw(m), draw(head_size), *biases)
