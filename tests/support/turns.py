"""Makes the threads of Numba's CUDA simulator take turns.

The simulator starts a thread of Python for each of CUDA, and asks all of them
again and again whether they wait. Here one runs at a time, from barrier to
barrier, in an order that is drawn anew each time: faster, repeatable, and hard
on a barrier that is missing. Where no thread meets a barrier, all are one
thread of Python; those that there are serve block after block.
"""

from __future__ import annotations

import random
import sys
import threading
from typing import ClassVar

import numpy as np
from numba.cuda.simulator import kernel, kernelapi


class Thread(threading.Thread):
    """Threads of a block, one after the other, up to the first that meets a barrier."""

    def __init__(self):
        super().__init__(daemon=True)
        self._turn, self._back = threading.Lock(), threading.Lock()
        self._turn.acquire()
        self._back.acquire()
        self.start()

    def begin(self, function, block, left):
        """Take the places of threads of a block: of those that are `left`, an index for each."""
        self._function, self._left = function, left
        self._waits, self._error = False, None
        self.blockIdx = kernelapi.Dim3(*block)

    def go_on(self):
        """Run to the next barrier, or to the end; return whether it is a barrier."""
        self._turn.release()
        self._back.acquire()
        if self._error is not None:
            raise self._error
        return self._waits

    def syncthreads(self):
        """Wait for the next turn: `numba.cuda.syncthreads`."""
        self._waits = True
        self._back.release()
        self._turn.acquire()

    def run(self):
        while True:
            self._turn.acquire()
            try:
                while self._left:
                    self.threadIdx = kernelapi.Dim3(*self._left.pop())
                    self._function()
            except Exception as error:
                self._error = error
            self._waits = False
            self._back.release()


class BlockManager:
    """Runs the threads of one block: what the simulator calls for each."""

    _threads: ClassVar[list[Thread]] = []
    _order: ClassVar[random.Random] = random.Random(0)

    def __init__(self, function, grid_dim, block_dim, debug):
        self._function, self._block_dim = function, block_dim

    def run(self, block, *arguments):
        try:
            self._run(block, lambda: self._function(*arguments))
        except Exception:
            self._threads.clear()  # those that wait do so for ever
            raise

    def _run(self, block, function):
        left = list(np.ndindex(*self._block_dim))
        self._order.shuffle(left)
        n_threads, waiting = len(left), []
        while left:
            if len(self._threads) == len(waiting):
                self._threads.append(Thread())
            thread = self._threads[len(waiting)]
            thread.begin(function, block, left)
            if thread.go_on():
                waiting.append(thread)
        while waiting:
            if len(waiting) < n_threads:
                raise AssertionError("Some threads of a block wait for threads that have ended.")
            self._order.shuffle(waiting)
            waiting = [thread for thread in waiting if thread.go_on()]


def shared_array(self, shape, dtype, alignment=None):
    """Return the array of the line that asks: `numba.cuda.shared.array` of the simulator."""
    frame = sys._getframe(1)
    line = (frame.f_code.co_filename, frame.f_lineno)
    if line not in self._allocations:
        numbers = dtype if isinstance(dtype, type) else str(dtype)  # a type of Numba's
        unset = np.empty(shape, numbers)
        unset.view(np.uint8)[...] = 255  # NaN, or -1: nothing to rely on
        self._allocations[line] = unset
    return self._allocations[line]


def take_turns():
    """Replace what the simulator does."""
    kernel.BlockManager = BlockManager
    kernelapi.FakeCUDAShared.array = shared_array
