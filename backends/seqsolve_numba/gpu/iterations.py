"""What a Newton iteration has come to, and what is to be done next."""

from __future__ import annotations

from typing import Any

from seqsolve_numba.gpu import launch

#: Columns of the row of integers that says where a sequence is. `BASE` is the front of the
#: iteration before: threads share what is behind it. What stands before `EXACT` is exact.
PHASE, BEGIN, SIZE, BASE, FRONT, EXACT, ITERATION, NEXT, COLUMNS = range(9)

#: What is done next: nothing yet, the first iterate of a window, an update, what is behind the
#: window that failed, nothing more.
START, FILL, UPDATE, TAIL, DONE = range(5)


def examine() -> Any:
    """Return the device function by which a thread takes a test into account.

    It returns what there is to trace: the window, the iteration and the largest
    residual; a window of -1 if there is nothing.
    """

    def examined(
        k: int, n_steps: int, maxiter: int, window: int, progress: Any, report: Any
    ) -> Any:
        where, fronts, peaks, _ = progress
        converged, stuck, nit, residual, _ = report
        if where[k, PHASE] == TAIL:
            where[k, PHASE] = DONE
            return -1, 0, 0.0
        w, iteration, largest = -1, 0, 0.0
        if where[k, PHASE] != START:
            begin, size, front = where[k, BEGIN], where[k, SIZE], fronts[k]
            w, iteration = begin // window, where[k, ITERATION]
            largest = max(peaks[k, 0], peaks[k, 1])
            failed = front < size and (front < where[k, EXACT] or iteration == maxiter)
            if front < size and not failed:
                where[k, PHASE], where[k, ITERATION] = UPDATE, iteration + 1
                where[k, BASE], where[k, FRONT] = where[k, FRONT], front
                where[k, EXACT] = front + 1
                fronts[k], peaks[k, 0] = size, 0.0
                return w, iteration, largest
            nit[w, k], residual[w, k] = iteration, largest
            if failed:
                converged[k], stuck[k] = begin + front, front < where[k, EXACT]
                where[k, PHASE] = TAIL
                return w, iteration, largest
            where[k, NEXT] = begin + window
        begin = where[k, NEXT]
        where[k, PHASE] = FILL if begin < n_steps else DONE
        where[k, BEGIN], where[k, SIZE] = begin, min(window, n_steps - begin)
        where[k, BASE] = where[k, FRONT] = where[k, EXACT] = where[k, ITERATION] = 0
        fronts[k] = where[k, SIZE]
        peaks[k, 0] = peaks[k, 1] = 0.0
        return w, iteration, largest

    return launch.device_function(examined)
