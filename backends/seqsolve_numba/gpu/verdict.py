"""What a round of Jacobi sweeps has come to, and what the next one is to do.

The first position that fails in a sweep, its *front*, becomes exact; those
before it are solved, and the next sweep begins behind it. In a trial round,
tiles sweep as if all fronts stayed in the first of them: what the halo of the
second gets wrong then is always behind the front. The sweep in which the front
leaves is the last that counts: the round is made again up to it, from the same
iterate, now that its fronts are known.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seqsolve_numba.gpu import launch

#: Columns of the row of integers that says where a sequence is. A round reads the iterate from `y`
#: (`SOURCE` is 0) or from the other array (1) and writes the other one; both have what stands
#: before `SETTLED`.
PHASE, BEGIN, SIZE, FIRST, SETTLED, UNVERIFIED, COUNT, DEPTH, SOURCE, NEXT, COLUMNS = range(11)

#: What the next round does: it stores the iterate in `y`, nothing, or sweeps.
STORE, DONE, TRIAL, KNOWN, ORDERED = range(5)


def examine(n: int, kept: int, most: int, record: Any) -> Any:
    """Return the device function by which a thread examines a round and prepares the next.

    Parameters
    ----------
    n : int
        States.
    kept : int
        Positions of a tile.
    most : int
        Sweeps of a round.
    record : device function
        ``record(trace, w, count, peak)`` reports the largest change in a sweep.
    """
    count_valid, settle, prepare = _count_valid(n, kept), _settle(n, record), _prepare(most)

    def examined(
        k: int, y: Any, other: Any, maxiter: int, window: int, inner: int,
        progress: Any, report: Any,
    ) -> None:  # fmt: skip
        where, fronts, peaks, solved, _ = progress
        converged, stuck, nit, residual, trace = report
        n_steps = y.shape[0] - 1
        if where[k, PHASE] != STORE:
            target = y if where[k, SOURCE] == 1 else other
            if where[k, PHASE] == TRIAL:
                depth, again = count_valid(k, target, where, fronts)
                if again:
                    where[k, PHASE], where[k, DEPTH] = KNOWN, depth
                    solved[k, 0] = 0.0
                    return
            begin, size = where[k, BEGIN], where[k, SIZE]
            w = begin // window
            finite = settle(k, w, target, inner, where, fronts, peaks, trace)
            solved[k, 1] = max(solved[k, 1], solved[k, 0])
            first, count = where[k, FIRST], where[k, COUNT]
            if first < size and finite and count < maxiter:
                prepare(k, maxiter, where, fronts, peaks, solved)
                return
            if where[k, PHASE] == ORDERED and finite:
                first = min(first, where[k, UNVERIFIED])
            nit[w, k], residual[w, k] = count, solved[k, 1]
            where[k, NEXT] = begin + window
            if first < size or not finite:
                converged[k], stuck[k] = begin + first, not finite
                where[k, NEXT] = n_steps
            where[k, PHASE] = STORE
            if where[k, SOURCE] == 1:
                return
        begin = where[k, NEXT]
        if begin >= n_steps:
            where[k, PHASE] = DONE
            return
        where[k, PHASE] = ORDERED if inner > 1 else TRIAL
        where[k, BEGIN], where[k, SIZE] = begin, min(window, n_steps - begin)
        where[k, UNVERIFIED] = where[k, SIZE]
        where[k, FIRST] = where[k, SETTLED] = where[k, COUNT] = where[k, SOURCE] = 0
        solved[k, 1] = 0.0
        prepare(k, maxiter, where, fronts, peaks, solved)

    return launch.device_function(examined)


def _count_valid(n: int, kept: int) -> Any:
    """Return the device function that tells how many sweeps of a trial count.

    And whether they are to be made again: not all count, or there are tiles
    that should have known the last front.
    """
    finite = _finite(n)

    def count_valid(k: int, target: Any, where: Any, fronts: Any) -> Any:
        first, size, depth = where[k, FIRST], where[k, SIZE], where[k, DEPTH]
        alone = first + kept >= size
        for s in range(depth):
            front = fronts[k, s]
            if not alone and front >= first + kept:
                return s + 1, True
            if front < size and not finite(target, where[k, BEGIN] + front + 1, k):
                return s + 1, s + 1 < depth
        return depth, False

    return launch.device_function(count_valid)


def _settle(n: int, record: Any) -> Any:
    """Return the device function that takes the sweeps of a round into account.

    It returns whether all that they made exact is finite.
    """
    finite = _finite(n)

    def settle(
        k: int, w: int, target: Any, inner: int, where: Any, fronts: Any, peaks: Any, trace: Any
    ) -> Any:
        begin, size, first = where[k, BEGIN], where[k, SIZE], where[k, FIRST]
        ordered = where[k, PHASE] == ORDERED
        stride, all_finite = inner if ordered else 1, True
        where[k, SETTLED] = first
        for s in range(where[k, DEPTH]):
            if first < size and all_finite:
                record(trace, w, where[k, COUNT], peaks[k, s])
                where[k, COUNT] += 1
                front = fronts[k, s]
                behind = min(size, first + ((front - first) // stride + 1) * stride)
                if ordered and behind > first + inner:
                    where[k, UNVERIFIED] = min(where[k, UNVERIFIED], first + inner)
                first = behind
                for p in range(behind - 1, front - 1, -1):
                    if not finite(target, begin + p + 1, k):
                        first, all_finite = p, False
        where[k, SOURCE] = 1 - where[k, SOURCE]
        unverified = where[k, UNVERIFIED]
        if ordered and (first == size or (not all_finite and first >= unverified)):
            ordered, first, all_finite = False, unverified, True
            where[k, SETTLED] = min(where[k, SETTLED], first)
        where[k, PHASE] = ORDERED if ordered else TRIAL
        where[k, FIRST] = first
        return all_finite

    return launch.device_function(settle)


def _prepare(most: int) -> Any:
    """Return the device function that clears what the next round reports."""

    def prepare(k: int, maxiter: int, where: Any, fronts: Any, peaks: Any, solved: Any) -> None:
        ordered = where[k, PHASE] == ORDERED
        where[k, DEPTH] = 1 if ordered else min(most, maxiter - where[k, COUNT])
        for s in range(most):
            fronts[k, s], peaks[k, s] = where[k, SIZE], 0.0
        solved[k, 0] = 0.0

    return launch.device_function(prepare)


def _finite(n: int) -> Any:
    """Return the device function that tells whether a state is finite."""

    def finite(y: Any, row: int, k: int) -> Any:
        so_far = True
        for i in range(n):
            so_far = so_far and abs(y[row, k, i]) < np.inf
        return so_far

    return launch.device_function(finite)
