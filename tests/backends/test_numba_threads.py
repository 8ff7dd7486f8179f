"""Pieces of a batch on threads: nobody is left behind, whatever fails and whoever forks."""

from __future__ import annotations

import os
import time

import pytest

from seqsolve_numba import threads


@pytest.fixture(autouse=True)
def _three(monkeypatch):
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")


def spread(run, n_sequences=3):
    threads.over_sequences(run, n_sequences, n_sequences * threads.MIN_VALUES)


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_is_raised_when_all_pieces_are_done(failing):
    done = []

    def run(start, stop):
        if start == failing:
            raise MemoryError(start)
        time.sleep(0.1)
        done.append(start)

    with pytest.raises(MemoryError, match=str(failing)):
        spread(run)
    assert sorted([failing, *done]) == [0, 1, 2]


@pytest.mark.parametrize("n_sequences", [1, 3, 7])
def test_pieces_are_all_of_the_batch(n_sequences):
    seen = []
    spread(lambda start, stop: seen.extend(range(start, stop)), n_sequences)
    assert sorted(seen) == list(range(n_sequences))


@pytest.mark.parametrize("n_sequences", [1, 4, 5, 8, 9, 31, 32, 33])
@pytest.mark.parametrize("multiple", [1, 4, 16])
def test_pieces_are_multiples_but_for_the_last(n_sequences, multiple):
    pieces = []
    threads.over_sequences(lambda *piece: pieces.append(piece), n_sequences, 2**20, multiple)
    pieces.sort()
    assert [start for start, _ in pieces[1:]] == [stop for _, stop in pieces[:-1]]
    assert (pieces[0][0], pieces[-1][1]) == (0, n_sequences)
    assert all(start % multiple == 0 for start, _ in pieces)
    assert len(pieces) == min(3, -(-n_sequences // multiple))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    spread(lambda start, stop: None)  # the parent's threads are there, the child's are not
    child = os.fork()
    if not child:
        seen = []
        spread(lambda start, stop: seen.append(start))
        os._exit(0 if sorted(seen) == [0, 1, 2] else 1)
    for _ in range(100):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.1)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("The child waits for threads of its parent.")
    assert status == 0


@pytest.mark.parametrize("told", ["", "0", "²", "many"])
def test_what_is_no_number_of_threads_is_not_taken(told, monkeypatch):
    monkeypatch.setenv("NUMBA_NUM_THREADS", told)
    assert threads.n_threads() >= 1
