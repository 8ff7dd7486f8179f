"""What the page for those who come from other code says of recurrent layers, step by step."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

import seqsolve

PAGE = Path(__file__).parents[2] / "docs" / "coming-from.md"


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def test_the_lstm_of_the_page_is_that_of_torch():
    page = PAGE.read_text(encoding="utf-8")
    (cell,) = re.findall(r"```\{code-cell\} ipython3\n(n_inputs, n_units.*?)```", page, re.S)
    rng = np.random.default_rng(0)
    names = {"np": np, "seqsolve": seqsolve, "rng": rng, "x": rng.standard_normal((50, 3))}
    exec(cell, names)
    h = c = np.zeros(4)
    for t in range(50):
        a = names["W_ih"] @ names["x"][t] + names["b_ih"] + names["W_hh"] @ h + names["b_hh"]
        i, f, g, o = a.reshape(4, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        np.testing.assert_allclose(names["outputs"][t], h, rtol=1e-9, atol=1e-12)


def test_kernels_for_each_gate_become_the_weights_of_a_gru():
    rng = np.random.default_rng(1)
    kernels = {k: rng.standard_normal((3, 4)) for k in ("ir", "iz", "in")}
    kernels |= {k: 0.5 * rng.standard_normal((4, 4)) for k in ("hr", "hz", "hn")}
    biases = {k: rng.standard_normal(4) for k in ("ir", "iz", "in", "hn")}

    def gates(*names):
        weight = np.concatenate([kernels[k].T for k in names])
        return weight, np.concatenate([biases.get(k, np.zeros(4)) for k in names])

    (w_ih, b_ih), (w_hh, b_hh) = gates("ir", "iz", "in"), gates("hr", "hz", "hn")
    x, h = rng.standard_normal((30, 3)), np.zeros(4)
    solution = seqsolve.deer(seqsolve.models.GRU(w_ih, w_hh, b_ih, b_hh), None, x, h)

    def dense(name, v):
        return v @ kernels[name] + biases.get(name, 0.0)

    for t in range(30):
        r = sigmoid(dense("ir", x[t]) + dense("hr", h))
        z = sigmoid(dense("iz", x[t]) + dense("hz", h))
        h = (1 - z) * np.tanh(dense("in", x[t]) + r * dense("hn", h)) + z * h
        np.testing.assert_allclose(solution.y[t], h, rtol=1e-9, atol=1e-12)
