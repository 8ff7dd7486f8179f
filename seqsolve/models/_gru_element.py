"""A multi-head GRU for one position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from seqsolve.models import _activations

Function = Callable[[Any, Any, Any, Any], None]
_Pair = tuple[Function, Function]


def functions(single_precision: bool) -> tuple[Function, Function]:
    """Return ``step`` and ``jac`` of an element step.

    Parameters
    ----------
    single_precision : bool
        Whether rational activations, exact to single precision, will do.

    Returns
    -------
    step, jac : callable
        For the parameters weight_ih, weight_hh, bias_ih and bias_hh, all of
        the shapes that ``MultiHeadGRU`` gives them. The Jacobian is
        ``(h, k, k)``.
    """
    if single_precision:
        return _SINGLE
    return _DOUBLE


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
                y_out[head * k + i] = candidate + z * (y_prev[head * k + i] - candidate)

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


_SINGLE = _functions(_activations.rational_tanh, _activations.rational_sigmoid)
_DOUBLE = _functions(_activations.tanh, _activations.sigmoid)
