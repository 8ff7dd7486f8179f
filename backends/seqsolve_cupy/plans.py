"""How a recurrence is laid out over a device's threads: pure arithmetic on shapes."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["LARGEST", "Tiles", "Walk", "Wide", "choose"]

#: The largest matrices that the kernels take.
LARGEST = 64

#: The largest whose affine maps fit a thread's registers, real and complex.
LARGEST_REAL_IN_REGISTERS, LARGEST_COMPLEX_IN_REGISTERS = 4, 2

#: The largest column of a chunk's map that fits a thread's registers, in bytes.
_LARGEST_COLUMN = 512

#: Vectors that a step brings, of Newton's update: the most of any task.
MOST_VECTORS = 2

#: Threads for each multiprocessor that keep its memory busy, each with a run of steps in flight.
_BUSY_THREADS = 512

#: Bytes that one access to memory moves at least.
_SECTOR = 32

#: Sequences side by side where there are enough, of numbers and of matrices: a warp's copies are
#: adjacent.
_WIDE_LANES = (32, 8)

#: Threads of a block that solves tiles, at most and at least.
_TILE_THREADS, _LEAST_TILE_THREADS = 128, 32

#: Tiles of a group, and groups of a stretch, where one warp can read them at once.
_LONGEST_REACH = 32

#: Items that a thread composes one after the other, looking back on several lanes.
_ITEMS_OF_THREAD = 4

#: Shared memory that a block has besides what it asks for, at most.
_STATIC_MEMORY = 8 << 10


@dataclass(frozen=True)
class Walk:
    """A thread owns a sequence (a state of a diagonal recurrence), and walks it.

    Parameters
    ----------
    threads : int
        Threads of a block.
    """

    threads: int


@dataclass(frozen=True)
class Tiles:
    """Blocks solve tiles, in which a thread owns runs of adjacent steps.

    Parameters
    ----------
    lanes : int
        Sequences (states of diagonal recurrences) side by side in a tile, at
        most 32.
    threads : int
        Threads of a block: `lanes` by the runs of a tile.
    reach : int
        Tiles whose map is told as one, and groups of tiles after which a state
        is told.
    """

    lanes: int
    threads: int
    reach: int


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


def staged_length(n: int, itemsize: int) -> int:
    """Return the steps of a run in a tile; ``staged_length`` of ``kernels/staging.cuh``."""
    least = 128 if n == 1 else 256
    return 1 << max(0, (-(-least // (n * n * itemsize)) - 1).bit_length())


def staged_memory(n: int, itemsize: int, threads: int, n_vectors: int) -> int:
    """Return the shared memory of two tiles; ``Stage`` of ``kernels/staging.cuh``."""
    steps = staged_length(n, itemsize)
    packs = [steps * m * itemsize // 16 | 1 for m in (n * n, *n_vectors * [n])]
    return 2 * threads * 16 * sum(packs)


def map_memory(n: int, itemsize: int) -> int:
    """Return the shared memory in which ``wide_map`` of ``kernels/wide.cuh`` composes a chunk."""
    return n * (2 * n + 1) * itemsize


def reach_of(lanes: int) -> int:
    """Return how many items a warp composes at once, looking back on so many lanes."""
    return min(_LONGEST_REACH, 32 // lanes * _ITEMS_OF_THREAD)


def board_sizes(n_tiles: int, reach: int) -> tuple[int, int]:
    """Return the maps and states that tiles tell; ``Board`` of ``kernels/look_back.cuh``."""
    n_groups = n_tiles // reach
    return (n_tiles + n_groups, n_groups // reach) if n_tiles > 1 else (0, 0)


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
) -> Walk | Tiles | Wide:
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
    Walk, Tiles or Wide

    Examples
    --------
    Many sequences: one for each thread.

    >>> kind = {"itemsize": 4, "is_complex": False}
    >>> kind |= {"n_multiprocessors": 132, "shared_memory": 232448}
    >>> choose(1000, 10**6, 1, steps_adjacent=False, **kind)
    Walk(threads=256)

    A long one: tiles.

    >>> choose(10**6, 1, 1, steps_adjacent=True, **kind)
    Tiles(lanes=1, threads=128, reach=32)
    """
    in_registers = LARGEST_COMPLEX_IN_REGISTERS if is_complex else LARGEST_REAL_IN_REGISTERS
    if n > in_registers:
        return _wide(n_steps, n_lanes, n, is_complex, n_multiprocessors, shared_memory)
    tiles = _tiles(n_steps, n_lanes, n, itemsize, steps_adjacent, n_multiprocessors, shared_memory)
    many = n_lanes >= _BUSY_THREADS * n_multiprocessors
    short = 2 * n_steps <= _LEAST_TILE_THREADS * staged_length(n, itemsize)
    return Walk(256 if n == 1 else 128) if many and (short or not steps_adjacent) else tiles


def _tiles(
    n_steps: int,
    n_lanes: int,
    n: int,
    itemsize: int,
    steps_adjacent: bool,
    n_multiprocessors: int,
    shared_memory: int,
) -> Tiles:
    """Let a tile's accesses be whole sectors, and be no longer than the sequences."""
    if steps_adjacent:
        lanes = 1
    elif n_lanes >= 2 * _WIDE_LANES[n > 1] * n_multiprocessors:
        lanes = _WIDE_LANES[n > 1]
    else:
        lanes = min(max(1, _SECTOR // (n * itemsize)), 1 << (n_lanes - 1).bit_length())
    fits = n_steps <= _LEAST_TILE_THREADS // lanes * staged_length(n, itemsize)
    memory = staged_memory(n, itemsize, _TILE_THREADS, MOST_VECTORS) + _STATIC_MEMORY
    threads = _LEAST_TILE_THREADS if fits or memory > shared_memory else _TILE_THREADS
    return Tiles(lanes, threads, reach_of(lanes))


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
