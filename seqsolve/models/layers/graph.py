"""Graph convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from seqsolve import _checks
from seqsolve.backend import Array
from seqsolve.likelihood_ratio.layer import Pass, Site, Tape
from seqsolve.models.layers import activation as activations
from seqsolve.models.layers.affine import Affine, _match, _require, linear_gradients, matmul_last

__all__ = ["GraphConv"]

#: Nodes up to which a sparse matrix is made dense for other array libraries.
_MOST_DENSE = 8192


@dataclass(frozen=True, eq=False, repr=False)
class GraphConv(Affine):
    """``activation(A X W.T + b)``, for all nodes of a graph.

    Noise at a node changes the losses of the nodes that its output reaches,
    and only those count in its gradient.

    Parameters
    ----------
    weight : array, shape (n_out, n_in)
        ``W``.
    bias : array, shape (n_out,), optional
        ``b``. None: zero.
    adjacency : array or sparse matrix, shape (n_nodes, n_nodes)
        ``A``: what a node takes from which other; anything with ``@``, ``.T``,
        ``!=`` and ``.astype`` as those of NumPy, CuPy and scipy.sparse. It is
        cast to the dtype of `weight` and moved to its library, where a sparse
        matrix of SciPy becomes a dense one; for large graphs on CuPy, give one
        of ``cupyx``.
    activation : str or Activation
        What follows.

    References
    ----------
    .. [1] T. N. Kipf and M. Welling, "Semi-supervised classification with graph
       convolutional networks", arXiv:1609.02907, equation 2.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve.models import Stack, layers
    >>> path = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    >>> layer = layers.GraphConv(np.array([[1.0]]), adjacency=path)
    >>> Stack((layer,))(np.array([[1.0], [2.0], [3.0]]))[:, 0]
    array([2., 4., 2.])
    """

    weight: Array
    bias: Array | None = None
    adjacency: Any = None
    activation: Any = "identity"

    _parameters = ("weight", "bias")

    def __post_init__(self) -> None:
        _require("weight", self.weight, 2)
        _match("bias", self.bias, self.weight.shape[:1])
        activations.find(self.activation)
        shape: Any = getattr(self.adjacency, "shape", ())
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(f"`adjacency` must be a square matrix; got shape {tuple(shape)}.")
        object.__setattr__(self, "adjacency", self._beside_the_weight())

    def site(self, data_shape: tuple[int, ...]) -> Site | None:
        """Return one site, with a node as datum."""
        self._check(data_shape)
        return Site(data_shape[:1], (self.weight.shape[0],))

    def reach(self, data_shape: tuple[int, ...]) -> tuple[Array | None, Array | None]:
        """Return where the adjacency is not zero: behind it comes the noise."""
        return (self.adjacency != 0).astype(self.adjacency.dtype), None

    def flops(self, data_shape: tuple[int, ...]) -> tuple[int, int]:
        """Return two for each weight and node, and for each edge and input, or output if fewer."""
        n_edges = int(getattr(self.adjacency, "nnz", self.adjacency.shape[0] ** 2))
        return 2 * (data_shape[0] * self.weight.size + n_edges * min(self.weight.shape)), 0

    def gradients(self, tape: Tape, delta: Array) -> dict[str, Array]:
        """Return ``(A.T delta).T X`` and the sum of ``delta``."""
        found = linear_gradients(self.adjacency.T @ delta, tape.x[0], False)
        if self.bias is not None:
            found["bias"] = delta.sum(axis=0)
        return found

    def pull(self, tape: Tape, delta: Array) -> Array:
        """Return ``A.T delta W``."""
        return matmul_last(self.adjacency.T @ delta, self.weight)

    def _beside_the_weight(self) -> Any:
        """Return the adjacency in the weight's library and dtype."""
        xp, adjacency = _checks.namespace(self.weight), self.adjacency
        if xp is not np and type(adjacency).__module__.startswith("scipy.sparse"):
            if adjacency.shape[0] > _MOST_DENSE:
                raise TypeError(
                    f"`adjacency` must be of {xp.__name__}, as `weight`, for more than "
                    f"{_MOST_DENSE} nodes: on CuPy, cupyx.scipy.sparse.csr_matrix(adjacency); "
                    f"got SciPy's {type(adjacency).__name__} of {adjacency.shape[0]} nodes."
                )
            adjacency = adjacency.toarray()
        if xp is not np and isinstance(adjacency, np.ndarray):
            adjacency = xp.asarray(adjacency)
        same = adjacency.dtype == self.weight.dtype
        return adjacency if same else adjacency.astype(self.weight.dtype)

    def _map(self, x: Array, p: Pass) -> Array:
        self._check(x.shape[1:])
        data = tuple(x.shape[1:2])
        weight = p.weight("weight", self.weight, data)
        if weight.ndim == 2 and weight.shape[0] < weight.shape[1]:
            z = self._gather(p.product(x, weight))
        else:
            z = p.product(self._gather(x), weight)
        return z if self.bias is None else z + p.weight("bias", self.bias, data)

    def _gather(self, x: Array) -> Array:
        """Return ``A x`` for all copies, as one product."""
        copies, nodes, n = x.shape
        if copies == 1:
            return (self.adjacency @ x[0])[None]
        columns = x.swapaxes(0, 1).reshape(nodes, copies * n)
        return (self.adjacency @ columns).reshape(nodes, copies, n).swapaxes(0, 1)

    def _check(self, data_shape: tuple[int, ...]) -> None:
        wanted = (self.adjacency.shape[0], self.weight.shape[1])
        if tuple(data_shape) != wanted:
            raise ValueError(f"`x` must have shape {wanted} at {self!r}; got {tuple(data_shape)}.")
