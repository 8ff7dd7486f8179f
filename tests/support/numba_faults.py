"""What may be wrong with the kernels of Numba's CUDA side: texts to replace in their sources."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from contextlib import ExitStack, contextmanager
from unittest import mock

from seqsolve_numba.gpu import linear

#: By the function that builds a kernel: the check that must fail, what the source says, and what
#: it should not say.
FAULTS = {
    "newton._one_block": [
        ("one_block", "chunk + 1, team", "chunk, team"),
        ("one_block", "calm)", "0.0)"),
    ],
    "shared_windows._compose": [
        ("many_blocks", "y[begin + low, k, i]", "y[begin + low - 1, k, i]"),
        ("many_blocks", "(size - base + n_chunks - 1)", "(size - base)"),
        ("many_blocks", "thread - reach, thread", "thread - 1, thread"),
        ("many_blocks", "min(heads[thread], heads[thread - reach])", "heads[thread]"),
        ("many_blocks", "max(tops[thread], tops[thread - reach])", "tops[thread]"),
    ],
    "shared_windows._scan": [
        ("many_blocks", "chunk % team + 1", "chunk % team"),
        ("many_blocks", "starts[k, block + 1, i]", "starts[k, block, i]"),
        ("many_blocks", "ends[0, i] = ends[team, i]", "pass"),
        ("many_blocks", "carry(ends, products, 0, ", "carry(ends, products, 1, "),
        ("many_blocks", "calm[k, c] if", "0.0 if"),
        ("many_blocks", "max(peak, block_peaks[k, b])", "peak"),
    ],
    "shared_windows._update": [
        ("many_blocks", "block > chunk // team", "False"),
        ("many_blocks", "block * team + 1, 0", "block * team, 0"),
        ("many_blocks", "max(low, front), min(", "low, min("),
        ("many_blocks", "vectors[k, c, 2, i] if", "y[begin + low, k, i] if"),
    ],
    "chunks.fill_rows": [
        ("many_blocks", "row + 1 + thread", "row + 2 + thread"),
    ],
    "iterations.examine": [
        ("one_block", "max(peaks[k, 0], peaks[k, 1])", "peaks[k, 0]"),
        ("one_block", "= front + 1", "= front + 2"),
    ],
    "chunks.compose_chunk": [
        (
            "one_block",
            "if p > front:\n                    row",
            "if False:\n                    row",
        ),
        ("one_block", "front == size and not passed", "not passed"),
    ],
    "chunks.update_chunk": [
        ("many_blocks", "state[i] = old", "state[i] = total"),
    ],
    "chunks.combine_maps": [
        ("many_blocks", "ends[left + 1, low + j]", "ends[left + 1, i]"),
    ],
    "chunks._append": [
        ("one_block", "product[i, m] = column[i]", "pass"),
    ],
    "positions.test_change": [
        ("family", "return largest, passed", "return 0.0, True"),
    ],
    "positions.evaluate_step": [
        ("family", "argument(x, t, k)", "argument(x, max(t - 1, 0), k)"),
    ],
    "sweeps._sweep_blocks": [
        ("family", "low + inner, size", "low + inner - 1, size"),
        ("family", "low == 0 else", "low == first else"),
    ],
    "sweeps._sweep_tiles": [
        ("family", "thread - halo", "thread - halo + 1"),
        ("family", "own = thread >= halo", "own = thread >= halo - 1"),
        ("family", "(size - first + kept - 1)", "(size - first)"),
        ("iterates", "j == 0 or not trial", "j == 0"),
        ("family", "elif p == -1", "elif p == -2"),
    ],
    "sweeps._round": [
        ("family", "where[k, SETTLED] + thread", "where[k, SETTLED] + thread + 1"),
        ("iterates", "end = size if phase == STORE else first", "end = first"),
    ],
    "verdict._count_valid": [
        ("same_bits", "front >= first + kept", "front > size"),
        ("iterates", "s + 1 < depth", "False"),
    ],
    "verdict._settle": [
        ("family", "where[k, SETTLED] = first", "where[k, SETTLED] = size"),
        ("family", "first = behind", "first = front"),
        ("iterates", "behind > first + inner", "False"),
    ],
    "verdict._prepare": [
        ("family", "maxiter - where[k, COUNT]", "most"),
    ],
    "linear._chunks": [
        ("chunked", "range(c * length, (c + 1) * length)", "range(0)"),
        ("chunked", "(c + 1) * length)", "(c + 1) * length - 1)"),
        ("chunked", "state[m] = 1", "state[m] = 1 + (c == 3)"),
        ("chunked", "affine and c == 0", "False"),
    ],
    "linear._solve": [
        ("chunked", "starts[c, k, low + i]", "starts[max(c - 1, 0), k, low + i]"),
        ("chunked", "fresh and t == 0", "fresh and t % length == 0"),
    ],
    "linear._residual": [
        ("residuals", "+ cuda.threadIdx.x", "+ cuda.threadIdx.x + 1"),
        ("residuals", "cuda.gridDim.y *", "2 * cuda.gridDim.y *"),
        ("nan_residuals", "r < np.inf", "True"),
    ],
}

#: The checks that must fail where any of a function's barriers is missing.
BARRIERS = {
    "newton._one_block": "one_block",
    "shared_windows._compose": "many_blocks",
    "shared_windows._scan": "many_blocks",
    "shared_windows._update": "many_blocks",
    "sweeps._one_block": "alone",
    "sweeps._sweep_tiles": "family",
}

_BARRIER = re.compile(r"cuda\.syncthreads\(\)")


def all_faults():
    """Return every fault: the function, the check that must fail, and the wrong source."""
    found = []
    for function, faults in FAULTS.items():
        source = inspect.getsource(_get(function))
        for check, right, wrong in faults:
            assert right in source, (function, right)
            found.append((function, check, source.replace(right, wrong)))
    for function, check in BARRIERS.items():
        source = inspect.getsource(_get(function))
        for barrier in _BARRIER.finditer(source):
            wrong = f"{source[: barrier.start()]}pass{source[barrier.end() :]}"
            found.append((function, check, wrong))
    return found


@contextmanager
def planted(function, source):
    """Replace a function by what another source of it makes."""
    original, made = _get(function), {}
    exec(source, original.__globals__, made)
    (replacement,) = made.values()
    name = original.__name__
    users = [m for m in list(sys.modules.values()) if getattr(m, name, None) is original]
    with ExitStack() as stack:
        stack.callback(_forget)
        for user in users:
            stack.enter_context(mock.patch.object(user, name, replacement))
        _forget()
        yield


def _get(function):
    module, name = function.split(".")
    return getattr(importlib.import_module(f"seqsolve_numba.gpu.{module}"), name)


def _forget():
    linear._Kernels.of.cache_clear()
    linear._residual_kernel.cache_clear()
