"""Cells, layers and networks, ready to use."""

from __future__ import annotations

from seqsolve.models import layers
from seqsolve.models.gru import GRU, MultiHeadGRU
from seqsolve.models.stack import GCN, MLP, RNN, Stack

__all__ = ["GCN", "GRU", "MLP", "RNN", "MultiHeadGRU", "Stack", "layers"]
