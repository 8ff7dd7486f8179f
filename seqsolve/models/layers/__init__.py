"""Layers for training, by likelihood ratios or by exact back-propagation.

Each keeps the contract of :class:`seqsolve.likelihood_ratio.Layer`.
"""

from __future__ import annotations

from seqsolve.models.layers.activation import Activation
from seqsolve.models.layers.affine import Linear, Scale
from seqsolve.models.layers.conv import Conv2d
from seqsolve.models.layers.graph import GraphConv
from seqsolve.models.layers.recurrent import Recurrent
from seqsolve.models.layers.shaping import Embedding, Flatten, Pool

__all__ = [
    "Activation",
    "Conv2d",
    "Embedding",
    "Flatten",
    "GraphConv",
    "Linear",
    "Pool",
    "Recurrent",
    "Scale",
]
