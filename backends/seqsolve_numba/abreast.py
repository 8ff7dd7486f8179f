"""Stepping several sequences of a batch abreast, in vector instructions."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqsolve_numba.compilation import inlined
from seqsolve_numba.intrinsics import Layout, known, local, wide
from seqsolve_numba.specialization import KernelSource, Specialization

#: So many bytes of states go abreast: more do not stay in registers.
IN_REGISTERS = 128

#: Fewer sequences are stepped one by one.
FEWEST = 8

#: Of many, so many go abreast: what is read together has to lie together in memory.
OF_MANY = 64
MANY = 128

#: Up to this size of the state; the units of a larger one fill vector instructions themselves.
LARGEST_STATE = 8

#: Up to this size of the input, all of it in the first-level cache.
LARGEST_INPUT = 32

#: Every loop of a small step unrolls, but not the loop over the sequences.
UNROLL = 900


def pays(special: Specialization, n_batch: int) -> bool:
    """Return whether to step sequences abreast rather than one by one."""
    shapes = special.shapes
    small = shapes.n_state <= LARGEST_STATE and shapes.n_inputs <= LARGEST_INPUT
    return small and n_batch >= FEWEST


def lanes(special: Specialization, n_batch: int) -> int:
    """Return how many sequences of a batch go abreast, a power of two."""
    if n_batch >= MANY:
        return OF_MANY
    state = special.shapes.n_state * np.dtype(special.shapes.dtype).itemsize
    filling = -(-IN_REGISTERS // state)
    return max(FEWEST, min(1 << (filling - 1).bit_length(), 1 << n_batch.bit_length() - 1))


def build(special: Specialization, width: int) -> KernelSource:
    """Return the kernel, of the signature of the one that takes them one by one.

    Loops over `width` sequences, of known length, take half the time of loops over the rest.
    """
    group = _group(special, width)

    def kernel(x: Any, params: Any, y: Any, start: int, stop: int) -> None:
        wide()
        for begin in range(start, stop, width):
            if stop - begin >= width:
                group(x, params, y, begin, width)
            else:
                group(x, params, y, begin, stop - begin)

    return kernel, special.march_types


def _group(special: Specialization, width: int) -> Any:
    """Return the compiled function that steps up to `width` sequences abreast."""
    n, m = special.shapes.n_state, special.shapes.n_inputs
    step, argument, parameters = special.step, special.argument, special.parameters
    new_state, new_input = special.state, special.input
    states, inputs = local(n * width), local(max(1, m) * width)
    by_state = known(Layout.contiguous((n, width), np.dtype(special.shapes.dtype).itemsize))
    by_input = known(
        Layout.contiguous((max(1, m), width), np.dtype(special.shapes.x_dtype).itemsize)
    )

    def group(x: Any, params: Any, y: Any, begin: int, count: int) -> None:
        known_params = parameters(params)
        lanes, lane_inputs = by_state(states(y)), by_input(inputs(x))
        state, new, numbers = new_state(y), new_state(y), new_input(x)
        for p in range(count):
            for i in range(n):
                lanes[i, p] = y[0, begin + p, i]
        for t in range(y.shape[0] - 1):
            for p in range(count):
                for i in range(m):
                    lane_inputs[i, p] = x[t, begin + p, i]
            for p in range(count):
                for i in range(n):
                    state[i] = lanes[i, p]
                    new[i] = np.nan
                for i in range(m):
                    numbers[i] = lane_inputs[i, p]
                step(state, argument(numbers), known_params, new)
                for i in range(n):
                    lanes[i, p] = new[i]
            for p in range(count):
                for i in range(n):
                    y[t + 1, begin + p, i] = lanes[i, p]

    return inlined(group)
