"""Makes the threads of Numba's CUDA simulator take turns.

The simulator starts a thread of Python for each of CUDA, and asks all of them
again and again whether they wait. Here they are kept from block to block, and
one of them runs at a time, from barrier to barrier, in an order that is drawn
anew each time: faster, repeatable, and hard on a barrier that is missing.
"""

from __future__ import annotations

import random
import sys
import threading
from typing import ClassVar

import numpy as np
from numba.cuda.simulator import kernel, kernelapi


class Thread(threading.Thread):
    """A thread of one block after the other."""

    def __init__(self):
        super().__init__(daemon=True)
        self._turn, self._back = threading.Lock(), threading.Lock()
        self._turn.acquire()
        self._back.acquire()
        self.start()

    def begin(self, function, block, index):
        """Take the place of a thread of a block."""
        self._function = function
        self.error, self.done = None, False
        self.blockIdx, self.threadIdx = kernelapi.Dim3(*block), kernelapi.Dim3(*index)

    def go_on(self):
        """Run to the next barrier, or to the end."""
        self._turn.release()
        self._back.acquire()

    def syncthreads(self):
        """Wait for the next turn: `numba.cuda.syncthreads`."""
        self._back.release()
        self._turn.acquire()

    def run(self):
        while True:
            self._turn.acquire()
            try:
                self._function()
            except Exception as error:
                self.error = error
            self.done = True
            self._back.release()


class BlockManager:
    """Runs the threads of one block: what the simulator calls for each."""

    _threads: ClassVar[list[Thread]] = []
    _order: ClassVar[random.Random] = random.Random(0)

    def __init__(self, function, grid_dim, block_dim, debug):
        self._function, self._block_dim = function, block_dim

    def run(self, block, *arguments):
        indices = list(np.ndindex(*self._block_dim))
        while len(self._threads) < len(indices):
            self._threads.append(Thread())
        running = self._threads[: len(indices)]
        for thread, index in zip(running, indices, strict=True):
            thread.begin(lambda: self._function(*arguments), block, index)
        while running:
            self._order.shuffle(running)
            for thread in running:
                thread.go_on()
                if thread.error is not None:
                    self._threads.clear()  # the others wait for ever
                    raise thread.error
            waiting = [thread for thread in running if not thread.done]
            if waiting and len(waiting) < len(running):
                self._threads.clear()
                raise AssertionError("Some threads of a block wait for threads that have ended.")
            running = waiting


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
