"""Windows that do not fit in memory, on any backend."""

from __future__ import annotations

import gc
import re
import weakref

import numpy as np
import pytest

import seqsolve
from seqsolve.portable import PortableBackend

N_STEPS = 1000


class SmallMemory(PortableBackend):
    """NumPy arrays; an update of more than `most` steps runs out of memory."""

    def __init__(self, most, window=N_STEPS):
        super().__init__("small", np)
        self.most, self.window = most, window
        self.attempts = []
        self.left_behind = []

    def default_window(self, **sizes):
        return self.window

    def newton_update(self, A, fy, y, *, method):
        assert not any(r() is not None for r in self.left_behind), "the failed attempt lives on"
        self.attempts.append(y.shape[0])
        if y.shape[0] > self.most:
            self.left_behind.append(weakref.ref(A))
            raise MemoryError("Unable to allocate 8 GiB")
        super().newton_update(A, fy, y, method=method)


def f(y, x):
    return np.tanh(0.7 * y + x)


def solve(backend, **options):
    x = np.sin(np.arange(N_STEPS * 2.0)).reshape(N_STEPS, 2)
    return seqsolve.deer(f, "2-point", x, np.zeros(2), backend=backend, **options)


@pytest.fixture(scope="module")
def expected():
    return solve(SmallMemory(N_STEPS)).y


@pytest.mark.parametrize("most", [999, 300, 62, 1])
def test_an_automatic_window_is_halved_until_it_fits(most, expected):
    gc.disable()  # what is freed is freed at once
    try:
        backend = SmallMemory(most)
        solution = solve(backend)
    finally:
        gc.enable()
    assert solution.success
    np.testing.assert_allclose(solution.y, expected, atol=1e-11)
    sizes = [record.stop - record.start for record in solution.history]
    assert sum(sizes) == N_STEPS
    assert max(sizes) <= max(most, 1)
    halvings = int(np.ceil(np.log2(N_STEPS / most)))
    assert sum(n > most for n in backend.attempts) <= halvings + 1


def test_a_later_window_is_halved_too(expected):
    backend = SmallMemory(N_STEPS, window=400)
    update = backend.newton_update

    def shrinking(A, fy, y, *, method):
        backend.most = 400 if len(backend.attempts) < 4 else 150
        update(A, fy, y, method=method)

    backend.newton_update = shrinking
    solution = solve(backend)
    assert solution.success
    np.testing.assert_allclose(solution.y, expected, atol=1e-11)
    assert max(r.stop - r.start for r in solution.history[1:]) <= 200


def test_gradients_take_smaller_windows_too():
    backend = SmallMemory(N_STEPS)
    solution = solve(backend)
    expected = seqsolve.vjp(solution, np.ones_like(solution.y))
    solver, sizes = backend.linear_recurrence, []

    def limited(A, b, y0, **options):
        sizes.append(b.shape[0])
        if b.shape[0] > 300:
            raise MemoryError
        return solver(A, b, y0, **options)

    backend.linear_recurrence = limited
    cotangents = seqsolve.vjp(solution, np.ones_like(solution.y))
    np.testing.assert_allclose(cotangents.adjoint, expected.adjoint, rtol=1e-12)
    np.testing.assert_allclose(cotangents.y0, expected.y0, rtol=1e-12)
    assert sizes == [1000, 500, 250, 250, 250, 250]


@pytest.mark.parametrize("default", [100, N_STEPS])
def test_a_given_window_is_kept_and_the_error_says_which_would_fit(default):
    backend = SmallMemory(300, window=default)
    message = (
        f"A window of {N_STEPS} steps of 1 sequence of 2 states does not fit in memory: Unable "
        f"to allocate 8 GiB. A window of {min(default, 500)} should: pass "
        f"`window={min(default, 500)}`, or leave `window` out, and it is found."
    )
    with pytest.raises(MemoryError, match=f"^{re.escape(message)}$"):
        solve(backend, window=N_STEPS)
    backend.left_behind.clear()
    assert solve(backend, window=300).success


def test_not_even_one_step_fits():
    with pytest.raises(MemoryError, match="Not even a window of 1 step of 1 sequence of 2 states"):
        solve(SmallMemory(0))


def test_a_single_step_that_is_asked_for_needs_no_update():
    assert solve(SmallMemory(0), window=1).success
