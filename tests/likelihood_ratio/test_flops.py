"""Operations that layers say they need, against those of the products that they make."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from scipy import sparse
from support.stacks import PROBLEMS

from seqsolve.likelihood_ratio.layer import Pass
from seqsolve.models import Stack, layers


class Counting(Pass):
    """Counts the operations of the products."""

    def __init__(self):
        self.flops = 0

    def matmul(self, a, b):
        product = super().matmul(a, b)
        self.flops += 2 * a.shape[-1] * product.size
        return product

    def taken(self):
        self.flops, flops = 0, self.flops
        return flops


def values(flow):
    return getattr(flow, "values", flow)


@pytest.mark.parametrize("name", sorted(set(PROBLEMS) - {"graph"}))
def test_products(name):
    model, x = PROBLEMS[name](np.random.default_rng(0), 3)
    flow, counting = x[None], Counting()
    for layer in model.layers:
        expected = layer.flops(values(flow).shape[1:])
        u = layer.project(flow, counting)
        project = counting.taken()
        flow = layer.finish(u, counting)
        assert expected == (project, counting.taken())


class CountedMatrix:
    """An adjacency that counts the operations of its products."""

    def __init__(self, matrix, counting):
        self.matrix, self.counting = matrix, counting
        self.shape, self.dtype = matrix.shape, matrix.dtype
        self.nnz = sparse.csr_array(matrix).nnz

    def __matmul__(self, x):
        self.counting.flops += 2 * self.nnz * prod(x.shape[1:])
        return self.matrix @ x


@pytest.mark.parametrize(("n_in", "n_out"), [(2, 5), (5, 2), (3, 3)])
def test_graphs(n_in, n_out):
    rng = np.random.default_rng(0)
    counting = Counting()
    adjacency = CountedMatrix((rng.random((7, 7)) < 0.3) / 1.0, counting)
    layer = layers.GraphConv(rng.standard_normal((n_out, n_in)), adjacency=adjacency)
    layer.project(rng.standard_normal((1, 7, n_in)), counting)
    assert layer.flops((7, n_in)) == (counting.taken(), 0)
    dense = layers.GraphConv(layer.weight, adjacency=np.eye(7))
    assert dense.flops((7, n_in))[0] == 2 * 7 * n_in * n_out + 2 * 49 * min(n_in, n_out)


def test_several_copies_cost_as_many_times():
    model = Stack((layers.Linear(np.ones((2, 3))),))
    counting = Counting()
    model.layers[0].project(np.ones((4, 5, 3)), counting)
    assert counting.taken() == 4 * model.layers[0].flops((5, 3))[0]
