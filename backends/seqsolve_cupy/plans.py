"""How a recurrence is laid out over a device's threads: pure arithmetic on shapes."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["LARGEST", "Narrow", "Wide", "choose"]

#: The largest matrices that the kernels take.
LARGEST = 64

#: The largest whose affine maps fit a thread's registers, real and complex.
LARGEST_REAL_IN_REGISTERS, LARGEST_COMPLEX_IN_REGISTERS = 4, 3

#: The largest column of a chunk's map that fits a thread's registers, in bytes.
_LARGEST_COLUMN = 512

#: Threads for each multiprocessor that keep its memory busy, each with a run of steps in flight.
_BUSY_THREADS = 512

#: Bytes that one access to memory moves at least.
_SECTOR = 32

#: Tiles that a block walks sooner than blocks tell each other of.
_FEW_TILES = 4

#: How many tiles back a block looks at most.
_LONGEST_REACH = 128


@dataclass(frozen=True)
class Narrow:
    """A thread owns runs of adjacent steps.

    Parameters
    ----------
    lanes : int
        Sequences (states of diagonal recurrences) side by side in a block;
        with as many as there are threads, a thread walks a whole sequence.
    threads : int
        Threads of a block.
    reach : int
        How many tiles back a block looks for a state; 0: each block walks its
        sequences from start to end. At most ``threads / lanes``.
    """

    lanes: int
    threads: int
    reach: int = 0


@dataclass(frozen=True)
class Wide:
    """A group of threads owns a chunk of a sequence.

    Parameters
    ----------
    threads : int
        Threads of a block.
    n_chunks : int
        Pieces that each sequence is cut into.
    """

    threads: int
    n_chunks: int = 1


def run_length(n: int, itemsize: int) -> int:
    """Return how many steps a thread holds; ``run_length`` of ``kernels/narrow.cuh``."""
    return min(8, max(1, 128 // (n * n * itemsize)))


def map_memory(n: int, itemsize: int) -> int:
    """Return the shared memory in which ``wide_map`` of ``kernels/wide.cuh`` composes a chunk."""
    return n * (2 * n + 1) * itemsize


def choose(
    n_steps: int,
    n_lanes: int,
    n: int,
    *,
    itemsize: int,
    is_complex: bool,
    steps_adjacent: bool,
    n_multiprocessors: int,
    shared_memory: int,
) -> Narrow | Wide:
    """Return the plan for `n_lanes` recurrences of `n_steps` steps and `n` states.

    Parameters
    ----------
    n_steps, n_lanes : int
        Length and number of recurrences; a diagonal one of many states is many
        of one state.
    n : int
        States of each, at most `LARGEST`.
    itemsize : int
        Bytes of a number.
    is_complex : bool
        Whether numbers are complex.
    steps_adjacent : bool
        Whether adjacent steps, not adjacent lanes, are adjacent in memory.
    n_multiprocessors : int
        Of the device.
    shared_memory : int
        Bytes that a block may have, if it asks for them.

    Returns
    -------
    Narrow or Wide

    Examples
    --------
    Many sequences: one for each thread.

    >>> kind = {"itemsize": 4, "is_complex": False}
    >>> kind |= {"n_multiprocessors": 132, "shared_memory": 232448}
    >>> choose(1000, 10**6, 1, steps_adjacent=False, **kind)
    Narrow(lanes=256, threads=256, reach=0)

    A long one: tiles, and a look back.

    >>> choose(10**6, 1, 1, steps_adjacent=True, **kind)
    Narrow(lanes=1, threads=512, reach=128)
    """
    in_registers = LARGEST_COMPLEX_IN_REGISTERS if is_complex else LARGEST_REAL_IN_REGISTERS
    if n > in_registers:
        return _wide(n_steps, n_lanes, n, is_complex, n_multiprocessors, shared_memory)
    return _narrow(n_steps, n_lanes, n, itemsize, steps_adjacent, n_multiprocessors)


def _narrow(
    n_steps: int, n_lanes: int, n: int, itemsize: int, steps_adjacent: bool, n_multiprocessors: int
) -> Narrow:
    """Let threads own whole sequences, or runs of them where these alone are too few."""
    threads = 256 if n == 1 else 128
    if n_lanes >= _BUSY_THREADS * n_multiprocessors and not steps_adjacent:
        return Narrow(threads, threads)
    if steps_adjacent:
        lanes = 1
    elif n_lanes >= 2 * 32 * n_multiprocessors:
        lanes = 32
    else:
        lanes = min(max(1, _SECTOR // (n * itemsize)), 1 << (n_lanes - 1).bit_length())
    tile_steps = threads // lanes * run_length(n, itemsize)
    if n_steps <= _FEW_TILES * tile_steps or n_lanes >= 2 * lanes * n_multiprocessors:
        return Narrow(lanes, threads)
    if n == 1 and lanes == 1 and itemsize <= 8:
        threads = 512
    return Narrow(lanes, threads, reach=min(threads // lanes, _LONGEST_REACH))


def _wide(
    n_steps: int,
    n_batch: int,
    n: int,
    is_complex: bool,
    n_multiprocessors: int,
    shared_memory: int,
) -> Wide:
    """Cut sequences into chunks where there are too few of them to fill the device.

    The states between the chunks are stepped through, so there are no more
    chunks than balance that with the steps inside: ``sqrt(2 n_steps)``.
    """
    threads = 128
    number = 16 if is_complex else 8
    busy = n_multiprocessors * (16 if n <= 16 else 4)
    n_chunks = min(busy // n_batch, math.isqrt(2 * n_steps))
    fits = n * number <= _LARGEST_COLUMN and map_memory(n, number) <= shared_memory
    if n_chunks < 4 or not fits:
        return Wide(threads)
    return Wide(threads, n_chunks)
