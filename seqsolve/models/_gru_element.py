"""A multi-head GRU for one position."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from seqsolve.backend import Array
from seqsolve.element import ElementStep, element_step
from seqsolve.jacobian import BlockDiagonal
from seqsolve.models import _activations
from seqsolve.step import StepCotangents

Function = Callable[[Any, Any, Any, Any], None]
_Pair = tuple[Function, Function]


def element_gru(
    params: Mapping[str, Array],
    vjp: Callable[..., StepCotangents],
    activations: Literal["exact", "rational"] = "exact",
) -> ElementStep:
    """Return the element step of a multi-head GRU.

    Parameters
    ----------
    params : mapping of str to array
        All four parameters of a ``MultiHeadGRU``, in its order.
    vjp : callable
        Its vector-Jacobian product, as `element_step` takes it.
    activations : {"exact", "rational"}
        Rational functions are used where all parameters are in single
        precision: compilers turn them into vector instructions.

    Returns
    -------
    ElementStep
        The units of a small head lie side by side in its parameters, the
        inputs of a unit in those of a large one: where vector instructions
        take them.
    """
    single = np.result_type(*(a.dtype for a in params.values())) == np.float32
    step, jac = _RATIONAL if single and activations == "rational" else _EXACT
    h, _, k = params["weight_hh"].shape
    order: Literal["F", "C"] = "F" if k <= _SMALL_HEAD else "C"
    laid_out = {
        name: np.asarray(a, order=order) if isinstance(a, np.ndarray) else a
        for name, a in params.items()
    }
    return element_step(
        step,
        jac,
        n_state=h * k,
        params=laid_out,
        jac_structure=BlockDiagonal(k),
        vjp=vjp,
    )


def _functions(tanh: Callable[[Any], Any], sigmoid: Callable[[Any], Any]) -> _Pair:
    def gates(y_prev: Any, x: Any, params: Any, head: int, i: int) -> Any:
        """Return r, z, the candidate and ``W_hn h + b_hn`` of unit `i` of a head."""
        weight_ih, weight_hh, bias_ih, bias_hh = params
        k, first = weight_hh.shape[2], head * weight_hh.shape[2]
        r = bias_ih[head, i] + bias_hh[head, i]
        z = bias_ih[head, k + i] + bias_hh[head, k + i]
        candidate = bias_ih[head, 2 * k + i]
        hidden = bias_hh[head, 2 * k + i]
        for j in range(len(x)):
            r += weight_ih[head, i, j] * x[j]
            z += weight_ih[head, k + i, j] * x[j]
            candidate += weight_ih[head, 2 * k + i, j] * x[j]
        for j in range(k):
            r += weight_hh[head, i, j] * y_prev[first + j]
            z += weight_hh[head, k + i, j] * y_prev[first + j]
            hidden += weight_hh[head, 2 * k + i, j] * y_prev[first + j]
        r, z = sigmoid(r), sigmoid(z)
        return r, z, tanh(candidate + r * hidden), hidden

    def step(y_prev: Any, x: Any, params: Any, y_out: Any) -> None:
        h, k = params[1].shape[0], params[1].shape[2]
        for head in range(h):
            for i in range(k):
                _, z, candidate, _ = gates(y_prev, x, params, head, i)
                y_out[head * k + i] = candidate * (1.0 - z) + z * y_prev[head * k + i]

    def jac(y_prev: Any, x: Any, params: Any, jac_out: Any) -> None:
        weight_hh = params[1]
        h, k = weight_hh.shape[0], weight_hh.shape[2]
        for head in range(h):
            for i in range(k):
                r, z, candidate, hidden = gates(y_prev, x, params, head, i)
                by_candidate = (1.0 - z) * (1.0 - candidate * candidate)
                by_r = by_candidate * hidden * r * (1.0 - r)
                by_z = (y_prev[head * k + i] - candidate) * z * (1.0 - z)
                by_hidden = by_candidate * r
                for j in range(k):
                    jac_out[head, i, j] = (
                        by_r * weight_hh[head, i, j]
                        + by_z * weight_hh[head, k + i, j]
                        + by_hidden * weight_hh[head, 2 * k + i, j]
                    )
                jac_out[head, i, i] += z

    return step, jac


#: Loops over the states of a head up to this size are unrolled where they are compiled.
_SMALL_HEAD = 32

_RATIONAL = _functions(_activations.rational_tanh, _activations.rational_sigmoid)
_EXACT = _functions(_activations.tanh, _activations.sigmoid)
