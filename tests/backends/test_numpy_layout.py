"""Which arrays the NumPy backend's kernels take as they are, and which are copied."""

from __future__ import annotations

import numpy as np
import pytest
from support.kernel_oracles import BROADCASTS, LAYOUTS

from seqsolve_numpy.layout import fit, has_contiguous_rows, has_contiguous_steps, is_interleaved

SHAPES = [(5, 3, 2), (5, 1, 2), (5, 3, 1), (5, 1, 1), (1, 3, 2)]
#: Views whose strides along an axis of length 1 are those of the longer array they are of.
PARTS = {
    "one sequence": lambda a: np.concatenate([a, a], axis=1)[:, 1:2],
    "one entry": lambda a: np.concatenate([a, a], axis=2)[..., 1:2],
    "one step": lambda a: np.asfortranarray(np.concatenate([a, a]))[1:2],
}
arrays = pytest.mark.parametrize(
    "a",
    [
        pytest.param(change(np.arange(np.prod(shape), dtype="f4").reshape(shape)), id=f"{name} {s}")
        for s, shape in enumerate(SHAPES)
        for name, change in (LAYOUTS | BROADCASTS | PARTS).items()
    ],
)


@arrays
def test_rows_and_steps_are_contiguous_as_numpy_says(a):
    rows = [a[i].flags.c_contiguous for i in np.ndindex(a.shape[:2])]
    assert has_contiguous_rows(a) == all(rows)
    assert has_contiguous_steps(a) == all(step.flags.c_contiguous for step in a)


@arrays
@pytest.mark.parametrize("layout", [has_contiguous_rows, has_contiguous_steps])
def test_only_what_does_not_fit_is_copied(a, layout):
    dtype = np.dtype("f4")
    fitting = fit(a, dtype, layout)
    np.testing.assert_array_equal(fitting, a)
    assert fitting.dtype.isnative
    assert layout(fitting)
    assert (fitting is a) == (a.dtype.isnative and layout(a))
    assert fit(a, np.dtype("f8"), layout).dtype == "f8"


def test_which_sequences_alternate_in_memory():
    a = np.zeros((5, 3, 2))
    assert is_interleaved(a)
    assert is_interleaved(a[::-1])
    assert is_interleaved(a[:, ::-1])
    by_sequence = LAYOUTS["sequence by sequence"](a)
    assert not is_interleaved(by_sequence)
    assert not is_interleaved(by_sequence[::-1])
    assert not is_interleaved(by_sequence[:, ::-1])
