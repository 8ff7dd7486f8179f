"""Cells, ready to use as steps of a recurrence."""

from __future__ import annotations

from seqsolve.models.gru import GRU, MultiHeadGRU

__all__ = ["GRU", "MultiHeadGRU"]
