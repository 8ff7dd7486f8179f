"""A program as users write it: type checkers accept it, and know what it gets.

``mypy --strict`` reads this file against the installed packages; running it checks that the types
are those that are there.
"""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import seqsolve
import seqsolve_cupy
import seqsolve_numba
import seqsolve_numpy
from seqsolve import ivp

Floats = npt.NDArray[np.float64]


def f(y: Floats, x: Floats) -> Floats:
    return np.tanh(0.7 * y + x)


def jac(y: Floats, x: Floats) -> Floats:
    return 0.7 * (1 - f(y, x) ** 2)


def trajectory(x: Floats) -> Floats:
    return seqsolve.deer(f, jac, x, np.zeros(1)).y


def bound(solution: seqsolve.Solution) -> Floats:
    return solution.error_bound()


def gradient(solution: seqsolve.Solution) -> Floats:
    return seqsolve.vjp(solution, np.ones_like(solution.y)).y0


def running_sum(b: Floats) -> Floats:
    return seqsolve.linear_recurrence(np.ones_like(b), b)


def stop(state: seqsolve.IterationState) -> None:
    if state.residual < 1e-3:
        raise StopIteration


def decay(t: float, y: Floats, rate: float) -> Floats:
    return -rate * y


def rosen(t: float, y: Floats) -> list[float]:
    return [y[0] - y[0] * y[1], y[0] * y[1] - y[1]]


def recurrences(x: Floats) -> list[seqsolve.Solution]:
    h = seqsolve.triangular_map(f, x, np.zeros(1))
    pair = {"gain": x, "shift": x}
    return [
        seqsolve.deer(f, jac, x, np.zeros(1), on_failure="raise", callback=stop),
        seqsolve.deer(lambda y, x: 0.5 * y + x, "cs", x, [0.0], jac_structure="diagonal"),
        seqsolve.deer(lambda y, x: x["gain"] * np.sin(y) + x["shift"], "2-point", pair, [0.0]),
        seqsolve.deer(lambda y, _: 0.5 * y, None, None, [1.0], n_steps=len(x)),
        seqsolve.deeppcr(f, jac, x, [0.0], maxiter=50),
        seqsolve.sequential(f, x, [0.0]),
        seqsolve.jacobi(h, np.zeros(h.shape)),
        seqsolve.gs_jacobi(h, np.zeros(h.shape), block_size=4),
    ]


def main() -> None:
    x = np.sin(0.1 * np.arange(50))[:, None]
    solution = seqsolve.deer(f, jac, x, np.zeros(1))
    assert_type(solution.y, npt.NDArray[Any])
    assert_type(solution.success, bool)
    assert_type(solution.status, seqsolve.Status)
    assert_type(solution.nit, int)
    assert_type(solution.residual, npt.NDArray[np.float64])
    assert_type(solution.history, tuple[seqsolve.WindowRecord, ...])
    assert_type(seqsolve.cyclic_reduction(x, x), npt.NDArray[Any])
    assert_type(seqsolve.lyapunov_exponent(solution), npt.NDArray[np.float64])
    assert_type(seqsolve.vjp(solution, solution.y).adjoint, npt.NDArray[Any])
    ode = seqsolve.solve_ivp(decay, (0, 1), [1.0], method="RK45", args=(2.0,), dense_output=True)
    assert_type(ode, seqsolve.OdeResult)
    assert_type(ode.y, npt.NDArray[Any])
    arrays = [
        trajectory(x),
        bound(solution),
        gradient(solution),
        running_sum(x),
        ivp.solve_ivp(rosen, (0.0, 1.0), np.array([1.0, 2.0]), t_eval=np.linspace(0, 1, 5)).y,
        *(s.y for s in recurrences(x)),
    ]
    for array in arrays:
        assert isinstance(array, np.ndarray), type(array)
    for package in (seqsolve_cupy, seqsolve_numba, seqsolve_numpy):
        assert callable(package.make_backend)


if __name__ == "__main__":
    main()
