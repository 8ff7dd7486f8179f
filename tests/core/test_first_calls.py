"""How a step is tried, and which of what it brings is called how often."""

from __future__ import annotations

import numpy as np
import pytest
from support.steps import assert_solves, random_recurrence

import seqsolve
from seqsolve.portable import PortableBackend

SOLVERS = {
    "deer": lambda f, y0: seqsolve.deer(f, None, None, y0, n_steps=20, rtol=1e-9),
    "sequential": lambda f, y0: seqsolve.sequential(f, None, y0, n_steps=20),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("size", [1.0, 1e9])
@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize(("error", "accepted"), [(1e-12, True), (1e-6, False)])
def test_steps_may_round_differently_for_more_positions(solver, size, batch, error, accepted):
    """As products of matrices do, whose order of operations depends on their shape."""

    def f(y, x):
        return 0.5 * y + size * (1 + error * y.size)

    y0 = np.full((*batch, 3), size)
    if accepted:
        assert SOLVERS[solver](f, y0).success
    else:
        with pytest.raises(ValueError, match="`f` must treat every step and every sequence"):
            SOLVERS[solver](f, y0)


class Bound:
    """A step with its input fixed; counts what is asked of it."""

    def __init__(self, f, jac, x, calls):
        self.f, self.jac, self.x, self.calls = f, jac, x, calls

    def __call__(self, y):
        self.calls.append("f")
        return self.f(y, self.x)

    def linearize(self, y):
        self.calls.append("f and jac")

        def complete():
            self.calls.append("complete")
            return self.jac(y, self.x)

        return self.f(y, self.x), complete


class Step:
    """A step that binds its input, and shares the work of function and Jacobian."""

    def __init__(self, f, jac):
        self.f, self.own_jac, self.calls = f, jac, []

    def __call__(self, y, x):
        raise AssertionError("it is to be bound")

    def bind(self, x):
        return Bound(self.f, self.own_jac, x, self.calls)


@pytest.mark.parametrize("batch", [(), (3,)])
def test_bound_steps_share_the_work_of_function_and_jacobian(batch):
    r = random_recurrence("dense", np.random.default_rng(0), 40, batch)
    step = Step(r.f, r.jac)
    solution = seqsolve.deer(step, None, r.x, r.y0, window=40)
    assert_solves(solution, r.f, r.x, r.y0)
    after_trial = step.calls[step.calls.index("complete") + 1 :]
    assert "f" not in after_trial
    assert after_trial.count("f and jac") == solution.nit + 1
    assert after_trial.count("complete") == solution.nit
    assert solution.nfev == step.calls.count("f") + after_trial.count("f and jac")
    assert solution.njev == step.calls.count("complete")


def step(y_prev, x, params, y_out):
    y_out[0] = 0.5 * y_prev[0] + x[0]
    y_out[1] = 0.9 * y_prev[1] * y_prev[0]


def jac(y_prev, x, params, jac_out):
    jac_out[0, 0] = 0.5
    jac_out[0, 1] = 0.0
    jac_out[1, 0] = 0.9 * y_prev[1]
    jac_out[1, 1] = 0.9 * y_prev[0]


class Compiles(PortableBackend):
    """Evaluates element steps at many positions, as a compiler would."""

    def __init__(self):
        super().__init__("compiles", np)
        self.calls = []

    def bind_step(self, step, x):
        return Bound(step.__call__, step.jac, x, self.calls)


@pytest.mark.parametrize("batch", [(), (3,)])
def test_backends_that_bind_element_steps_evaluate_them(batch):
    cell = seqsolve.element_step(step, jac, n_state=2)
    rng = np.random.default_rng(1)
    x, y0 = rng.uniform(-0.5, 0.5, (40, *batch, 1)), rng.uniform(-0.5, 0.5, (*batch, 2))
    backend = Compiles()
    solution = seqsolve.deer(cell, None, x, y0, backend=backend, window=40)
    assert solution.success
    np.testing.assert_allclose(solution.y, seqsolve.sequential(cell, x, y0).y, atol=1e-12)
    assert backend.calls.count("complete") >= solution.nit
    n = len(backend.calls)
    h = seqsolve.triangular_map(cell, x, y0, backend=backend)
    assert seqsolve.jacobi(h, np.zeros(h.shape)).success
    assert len(backend.calls) > n


@pytest.mark.parametrize(
    ("shape", "n_steps"), [((1,), 20_000), ((5, 3), 20_000), ((7, 2000), 90), ((500, 3000), 3)]
)
def test_steps_are_kept_a_few_megabytes_at_a_time(shape, n_steps):
    y0 = np.zeros(shape)
    solution = seqsolve.sequential(lambda y, x: y + 1, None, y0, n_steps=n_steps)
    last = solution.y.reshape(n_steps, -1)[:, -1]
    np.testing.assert_array_equal(last, 1 + np.arange(n_steps))
    sizes = [record.stop - record.start for record in solution.history]
    assert max(sizes) <= 8192
    assert max(sizes) * y0.size <= max(2**20, y0.size)
    assert len(sizes) == -(-n_steps // max(sizes))


@pytest.mark.parametrize("batch", [(), (2,)])
def test_errors_of_a_late_step_tell_what_it_was_called_with(batch):
    def f(y, x):
        if x["u"].max() > 10:
            raise RuntimeError("too much")
        return 0.5 * y + x["u"]

    x = {"u": np.arange(20.0).reshape(20, *(1 for _ in batch), 1)}
    with pytest.raises(RuntimeError, match="too much") as caught:
        seqsolve.sequential(f, x, np.zeros((*batch, 3)))
    item = (1, *(1 for _ in batch), 1)
    given = f"an array of shape {(1, *batch, 3)}, {{'u': an array of shape {item}}}"
    assert f"seqsolve called `f` with {given}: it must broadcast" in caught.value.__notes__[0]


LOOK_AT_OTHERS = {
    "a branch on all values": lambda y, x: (y if (y > -1).all() else -y) * 0.5 + x,
    "a scale of all values": lambda y, x: 0.5 * y / np.maximum(1, np.abs(y).max() - 3) + x,
}


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("f", LOOK_AT_OTHERS.values(), ids=LOOK_AT_OTHERS)
def test_steps_that_look_at_others_later_on_are_never_a_success(f, batch, request):
    """They treat the first two steps on their own; so they are found out at the end."""
    x = np.random.default_rng(0).standard_normal((50, *batch, 2))
    x[10:] *= 3
    x[:2] = 0.1
    y0 = np.zeros((*batch, 2))

    def jac(y, x):
        return 0 * y

    if "scale" in request.node.name:
        solution = seqsolve.deer(f, jac, x, y0, window=50, on_failure="return")
        assert solution.status.name == "STALLED"
        assert "it looks at other steps" in solution.message
    else:
        with pytest.raises(ValueError, match=r"step \d+ among others and the same step alone"):
            seqsolve.deer(f, jac, x, y0, window=50)


@pytest.mark.parametrize("tolerance", [0.3, 1e-3, 1e-12])
@pytest.mark.parametrize("solver", ["deer", "jacobi"])
def test_residuals_are_not_taken_for_steps_that_look_at_others(solver, tolerance):
    f, x, y0 = lambda y, x: np.tanh(1.2 * y + x), np.ones((50, 2, 1)), np.zeros((2, 1))
    options = {"rtol": tolerance, "atol": tolerance}
    if solver == "deer":
        assert seqsolve.deer(f, "2-point", x, y0, window=50, **options).success
    else:
        h = seqsolve.triangular_map(f, x, y0)
        assert seqsolve.jacobi(h, np.zeros(h.shape), **options).success
