"""Training runs: networks trained by likelihood-ratio gradients beside back-propagation.

``python -m seqsolve.training mnist-mlp`` trains one on the command line.
"""

from __future__ import annotations

from seqsolve.training.fitting import Epoch, Run, fit
from seqsolve.training.methods import noise_of
from seqsolve.training.reports import as_table, draw, load_runs, save_runs
from seqsolve.training.tasks import (
    Split,
    Task,
    ag_news,
    cora_gcn,
    digits_mlp,
    mnist_mlp,
)

__all__ = [
    "Epoch",
    "Run",
    "Split",
    "Task",
    "ag_news",
    "as_table",
    "cora_gcn",
    "digits_mlp",
    "draw",
    "fit",
    "load_runs",
    "mnist_mlp",
    "noise_of",
    "save_runs",
]
