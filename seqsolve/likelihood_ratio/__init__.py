"""Likelihood-ratio gradients: training from forward passes, without back-propagation."""

from __future__ import annotations

from seqsolve.likelihood_ratio.allocation import LayerCost, allocate, sites
from seqsolve.likelihood_ratio.by_hand import error, perturb
from seqsolve.likelihood_ratio.estimate import Estimate, value_and_grad
from seqsolve.likelihood_ratio.exact import backpropagate, cosine
from seqsolve.likelihood_ratio.layer import Layer, Model, Padded, Pass, Site, Tape
from seqsolve.likelihood_ratio.losses import (
    DifferentiableLoss,
    cross_entropy,
    differentiable,
    masked,
    squared_error,
    zero_one,
)
from seqsolve.likelihood_ratio.noise import Noise, full, layerwise, mixed
from seqsolve.likelihood_ratio.optimizers import SGD, Adam, AdamState

__all__ = [
    "SGD",
    "Adam",
    "AdamState",
    "DifferentiableLoss",
    "Estimate",
    "Layer",
    "LayerCost",
    "Model",
    "Noise",
    "Padded",
    "Pass",
    "Site",
    "Tape",
    "allocate",
    "backpropagate",
    "cosine",
    "cross_entropy",
    "differentiable",
    "error",
    "full",
    "layerwise",
    "masked",
    "mixed",
    "perturb",
    "sites",
    "squared_error",
    "value_and_grad",
    "zero_one",
]
