"""Likelihood-ratio gradients: the noise by itself, and an iteration of training."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqsolve import likelihood_ratio as lr
from seqsolve import random
from seqsolve.models import MLP, RNN

from .common import BACKENDS, Benchmark


class Noise(Benchmark):
    """A million numbers for one layer: 32 copies of 128 data with 256 units."""

    param_names = ("backend", "kind")
    params = (BACKENDS, ("normal", "sign"))

    def prepare(self, kind: str) -> None:
        self.stream = random.NoiseStream((1, 2), 0, kind, False, None)
        self.z = self.asarray(np.zeros((1, 128, 256), np.float32))
        self.weights = self.asarray(np.ones((32, 128), np.float32))
        self.out = self.asarray(np.zeros((128, 256), np.float32))
        kernels: Any = random
        self.add, self.weigh = kernels.add_noise, kernels.weigh_noise
        self.first = (self.backend.xp,)
        if isinstance(self.backend, random.NoiseKernels):
            self.add, self.weigh, self.first = (
                self.backend.add_noise,
                self.backend.weigh_noise,
                (),
            )
        self.time_add()
        self.time_weigh()

    def time_add(self, *_: Any) -> None:
        self.add(*self.first, self.z, 0.1, self.stream, range(32))
        self.backend.synchronize()

    def time_weigh(self, *_: Any) -> None:
        self.weigh(*self.first, self.weights, self.stream, range(32), self.out)
        self.backend.synchronize()


class Perceptron(Benchmark):
    """784-256-128-10 units, 128 data, 16 copies, in float32."""

    param_names = ("backend", "method")
    params = (BACKENDS, ("full", "layerwise", "mixed", "exact"))

    def prepare(self, method: str) -> None:
        self.method = method
        self.model = MLP.random((784, 256, 128, 10), dtype="float32", rng=0)
        rng = np.random.default_rng(0)
        self.x = rng.random((128, 784), dtype=np.float32)
        self.target = rng.integers(0, 10, 128)
        self.time_gradient()

    def time_gradient(self, *_: Any) -> None:
        if self.method == "exact":
            lr.backpropagate(
                self.model, lr.cross_entropy, self.x, self.target, backend=self.backend
            )
        else:
            make = {"full": lr.full, "layerwise": lr.layerwise, "mixed": lr.mixed}[self.method]
            noise = make(0.03, 16, kind="sign", scale="rms")
            lr.value_and_grad(
                self.model, lr.cross_entropy, noise, self.x, self.target, backend=self.backend
            )
        self.backend.synchronize()

    def peakmem_gradient(self, *_: Any) -> None:
        self.time_gradient()


class Recurrence(Perceptron):
    """Sixteen units over 32 steps, 64 sequences."""

    params = (BACKENDS, ("layerwise", "exact"))

    def prepare(self, method: str) -> None:
        self.method = method
        self.model = RNN.random(5000, 64, 16, 4, dtype="float32", rng=0)
        rng = np.random.default_rng(0)
        self.x, self.target = rng.integers(0, 5000, (32, 64)), rng.integers(0, 4, 64)
        self.time_gradient()
