"""Computes the reference solutions of the problems in `odes.py`, in extended precision.

    python tests/support/ode_references.py

Radau IIA with seven stages, of order 13, in 80-bit numbers. A step is made as a
whole and in two halves; it is accepted when both agree. Stages are found by
simplified Newton iterations, whose residuals are in extended precision and
whose linear systems are in double precision. Takes minutes, and writes
`ode_references.json` beside this file.

References
----------
.. [1] E. Hairer, G. Wanner, "Solving Ordinary Differential Equations II",
   sections IV.5 and IV.8.
"""

from __future__ import annotations

import json
from decimal import Decimal, getcontext
from pathlib import Path
from typing import Any

import numpy as np
from odes import PROBLEMS, Ode

STAGES, POINTS = 7, 40
RTOL, ATOL = 1e-15, 1e-18
Real = np.longdouble


def radau(s: int) -> tuple[Any, Any]:
    """Return nodes and coefficients; the nodes are the zeros of P_s - P_{s-1}."""
    getcontext().prec = 50
    difference = np.polynomial.legendre.leg2poly([0] * (s - 1) + [-1, 1])
    nodes = []
    for guess in sorted(np.roots(difference[::-1]).real):
        x = Decimal(float(guess))
        for _ in range(6):
            x -= legendre(x, s)
        nodes.append((x + 1) / 2)
    nodes[-1] = Decimal(1)
    rows = [solve(nodes, [c ** (k + 1) / (k + 1) for k in range(s)]) for c in nodes]
    return real(nodes), np.array([real(row) for row in rows])


def legendre(x: Decimal, s: int) -> Decimal:
    """Return the Newton increment of P_s - P_{s-1} at `x`."""
    p, d = [Decimal(1), x], [Decimal(0), Decimal(1)]
    for k in range(1, s):
        p.append(((2 * k + 1) * x * p[k] - k * p[k - 1]) / (k + 1))
        d.append(d[k - 1] + (2 * k + 1) * p[k])
    slope = d[s] - d[s - 1]
    return (p[s] - p[s - 1]) / slope if slope else Decimal(0)


def solve(nodes: list[Decimal], right: list[Decimal]) -> list[Decimal]:
    """Return weights that integrate the powers: a Vandermonde system."""
    n = len(nodes)
    M = [[c**k for c in nodes] + [right[k]] for k in range(n)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda r: abs(M[r][i]))
        M[i], M[pivot] = M[pivot], M[i]
        for r in range(n):
            if r != i:
                factor = M[r][i] / M[i][i]
                M[r] = [a - factor * b for a, b in zip(M[r], M[i], strict=True)]
    return [M[i][n] / M[i][i] for i in range(n)]


def real(numbers: list[Decimal]) -> Any:
    """Return extended precision numbers."""
    return np.array([Real(format(x, ".30f")) for x in numbers])


class Step:
    """Steps of the method for one equation."""

    def __init__(self, ode: Ode) -> None:
        self.fun = ode.fun
        self.c, self.A = radau(STAGES)

    def __call__(self, t: Any, y: Any, h: Any) -> Any | None:
        """Return the new state, or None if the stages are not found."""
        s, n = STAGES, y.size
        times = t + self.c * h
        Z = np.zeros((s, n), Real)
        J = np.array([self.jacobian(t, y)] * s, float)
        for attempt in range(40):
            if attempt % 6 == 5:
                J = np.array([self.jacobian(u, y + z) for u, z in zip(times, Z, strict=True)])
            residual = Z - h * (self.A @ self.derivatives(times, y + Z))
            if not np.isfinite(residual).all():
                return None
            A = self.A.astype(float)
            M = np.eye(s * n) - float(h) * np.einsum("ij,jkl->ikjl", A, J).reshape(s * n, s * n)
            change = np.linalg.solve(M, residual.astype(float).ravel()).reshape(s, n)
            Z = Z - change
            sizes = np.abs(y + Z)
            if (np.abs(change) <= 1e-17 * sizes + 1e-18 * sizes.max()).all():
                return y + Z[-1]
        return None

    def derivatives(self, t: Any, Y: Any) -> Any:
        return np.array([self.fun(u, y) for u, y in zip(t, Y, strict=True)], Real)

    def jacobian(self, t: Any, y: Any) -> Any:
        f, columns = np.array(self.fun(t, y), Real), []
        for i in range(y.size):
            moved = y.copy()
            moved[i] += Real(1e-10) * max(abs(y[i]), Real(1e-8))
            columns.append((np.array(self.fun(t, moved), Real) - f) / (moved[i] - y[i]))
        return np.array(columns, float).T


def integrate(ode: Ode, times: Any) -> Any:
    """Return the states at some times, the first of which is the beginning."""
    step = Step(ode)
    t, y, h = Real(times[0]), np.array(ode.y0, Real), Real(1e-6)
    states = [y]
    for end in times[1:]:
        end = Real(end)
        while t < end:
            h_try = (end - t) / np.ceil((end - t) / h)
            whole = step(t, y, h_try)
            half = None if whole is None else step(t, y, h_try / 2)
            fine = None if half is None else step(t + h_try / 2, half, h_try / 2)
            if fine is None:
                h = h_try / 5
                continue
            error = float((np.abs(whole - fine) / (ATOL + RTOL * np.abs(fine))).max()) / 2**12
            factor = 0.8 * max(error, 1e-12) ** (-1 / (2 * STAGES))
            if error <= 1:
                t, y = (end if h_try == end - t else t + h_try), fine
            h = h_try * min(3.0, max(0.2, factor))
        states.append(y)
    return np.array(states).T


def main() -> None:
    """Write the file."""
    lines = []
    for name, ode in PROBLEMS.items():
        times = np.linspace(*ode.t_span, POINTS)
        y = integrate(ode, times).astype(float)
        entry = {"t": times.tolist(), "y": y.tolist()}
        lines.append(f"{json.dumps(name)}: {json.dumps(entry)}")
        print(name, y[:, -1], flush=True)
    path = Path(__file__).parent / "ode_references.json"
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
