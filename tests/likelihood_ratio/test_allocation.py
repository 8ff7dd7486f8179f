"""How copies are allotted: whatever the layers, within the budget, or the fewest there may be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seqsolve import likelihood_ratio as lr


@example(layers=[(4, 0)], copies=0.0, minimum=2, overhead=1e-6)
@given(
    layers=st.lists(st.tuples(st.integers(1, 500), st.integers(0, 10**6)), min_size=1, max_size=6),
    copies=st.floats(0, 100),
    minimum=st.integers(1, 9),
    overhead=st.sampled_from([0.0, 1e-6, 0.5, 32.0]),
)
def test_the_budget_is_kept_and_used(layers, copies, minimum, overhead):
    layers = [lr.LayerCost(i, *numbers) for i, numbers in enumerate(layers)]
    costs = np.array([layer.cost + overhead * layer.units for layer in layers])
    priced = np.maximum(costs, costs.max() / 100) if costs.any() else np.ones(len(layers))
    budget = copies * priced.sum()
    found = np.array(lr.allocate(layers, budget, minimum=minimum, overhead=overhead))
    fewest = minimum + minimum % 2
    assert (found % 2 == 0).all()
    assert (found >= fewest).all()
    if copies < fewest:
        assert (found == fewest).all()
    else:
        spent = found @ priced
        assert spent <= budget * (1 + 1e-9)
        assert spent > budget * (1 - 1e-9) - 2 * priced.sum()


@given(units=st.integers(1, 300), cost=st.integers(1, 10**5), ratio=st.sampled_from([2, 3, 5]))
def test_copies_follow_the_root_of_units_over_cost(units, cost, ratio):
    layers = [lr.LayerCost(0, units, cost * ratio**2), lr.LayerCost(1, units, cost)]
    few, many = lr.allocate(layers, 10_000 * cost * (ratio**2 + ratio), overhead=0.0)
    assert many / few == pytest.approx(ratio, rel=2e-3)
    layers = [lr.LayerCost(0, units * ratio**2, cost), lr.LayerCost(1, units, cost)]
    many, few = lr.allocate(layers, 10_000 * cost * (1 + ratio))
    assert many / few == pytest.approx(ratio, rel=2e-3)


def test_bad_arguments():
    layers = [lr.LayerCost(0, 4, 10)]
    with pytest.raises(ValueError, match="`budget` must be finite and at least 0"):
        lr.allocate(layers, -1)
    with pytest.raises(ValueError, match="`minimum` must be at least 1; got 0"):
        lr.allocate(layers, 100, minimum=0)
