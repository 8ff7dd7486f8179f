"""Training of a task, by any method, with a record of how it went."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from seqsolve import _checks
from seqsolve import likelihood_ratio as lr
from seqsolve.backend import Backend, get_backend
from seqsolve.training.methods import noise_of
from seqsolve.training.tasks import Task


@dataclass(frozen=True)
class Epoch:
    """One pass through the data.

    Parameters
    ----------
    loss : float
        Mean loss of the batches, before each was learnt.
    accuracy : float
        Share of the test data that is classified right, afterwards.
    seconds, process_seconds : float
        What the training took, without the test: on the clock, and of the processor.
    flops : int
        Operations in the matrix products of all forward passes. Back-propagation goes backwards
        besides, for about twice as many.
    cosines : tuple of float
        Between estimate and exact gradient of the first batch, for each layer with parameters;
        empty for back-propagation, and where there is no exact gradient.
    delta_cosines : tuple of float
        The same of ``delta``, the derivative with respect to one datum's preactivations, as mean
        over the data, for each layer with noise.
    """

    loss: float
    accuracy: float
    seconds: float
    process_seconds: float
    flops: int
    cosines: tuple[float, ...]
    delta_cosines: tuple[float, ...]


@dataclass(frozen=True)
class Run:
    """How a training went.

    Parameters
    ----------
    task, method : str
        What was trained, and how.
    seed : int
        Of weights, batches and noise.
    copies : tuple of int
        Copies of every datum, for each layer with noise; empty for back-propagation.
    units : tuple of int
        How many numbers are perturbed together, for each of these layers.
    epochs : tuple of Epoch
        Pass after pass.
    model : Stack or None
        The trained network; None if the run was read from a file.

    Examples
    --------
    >>> from seqsolve import training
    >>> run = training.fit(training.digits_mlp(), "lr-l", epochs=1, copies=8)
    >>> run.copies, run.units
    ((8, 8, 8), (64, 32, 10))
    """

    task: str
    method: str
    seed: int
    copies: tuple[int, ...]
    units: tuple[int, ...]
    epochs: tuple[Epoch, ...]
    model: Any = field(default=None, compare=False, repr=False)

    @property
    def accuracy(self) -> float:
        """Test accuracy after the last epoch."""
        return self.epochs[-1].accuracy

    @property
    def law(self) -> tuple[float, ...]:
        """What theory expects of `Epoch.delta_cosines`: ``sqrt(K / (K + n))``, layer by layer.

        ``K`` draws tell the gradient of ``n`` numbers that are perturbed together. A pair of
        antithetic copies is one draw, and leave-one-out spends one of its draws on the mean.
        Empty where layers share their copies: then it depends on
        their shares in the change of the loss.
        """
        if self.method == "lr-f":
            return ()
        draws = [k / 2 if self.method == "lr-l" else k - 1 for k in self.copies]
        return tuple(math.sqrt(k / (k + n)) for k, n in zip(draws, self.units, strict=True))


def fit(
    task: Task,
    method: str = "lr-m",
    *,
    epochs: int | None = None,
    copies: int | None = None,
    seed: int = 0,
    backend: str = "numba",
    progress: bool = False,
    callback: Callable[[Epoch], Any] | None = None,
) -> Run:
    """Train a task's network.

    Parameters
    ----------
    task : Task
        What to train.
    method : {"bp", "lr-f", "lr-l", "lr-m"}, optional
        Where gradients come from, as `seqsolve.training.methods.METHODS` describes it.
    epochs, copies : int, optional
        How often to go through the data, and with how many copies; by default the task's.
    seed : int, optional
        Of weights, batches and noise.
    backend : str, optional
        Name of the backend that computes.
    progress : bool, optional
        Show a progress bar (needs tqdm).
    callback : callable, optional
        Called with each `Epoch`.

    Returns
    -------
    Run
        The record, and the trained network.

    Raises
    ------
    ValueError
        If `method` is unknown, or `epochs` or `copies` is too small.
    FloatingPointError
        If the loss is not finite.

    Examples
    --------
    >>> from seqsolve import training
    >>> run = training.fit(training.digits_mlp(), "lr-m", epochs=2)
    >>> run.accuracy > 0.7
    True
    """
    home = get_backend(backend)
    epochs = _checks.integer("epochs", task.epochs if epochs is None else epochs, 1)
    copies = task.copies if copies is None else copies
    network = task.model(seed)
    first = next(task.train.batches(task.batch_size))
    noise = noise_of(method, network, first[0], sigma=task.sigma, copies=copies, seed=seed)
    sites = () if noise is None else lr.sites(network, first[0])
    trainer = _Trainer(task, noise, home, seed, epochs, method if progress else None)
    records = []
    try:
        for _ in range(epochs):
            records.append(trainer.epoch())
            if callback is not None:
                callback(records[-1])
    finally:
        trainer.bar.close()
    counts: Any = () if noise is None else noise.copies
    return Run(
        task.name,
        method,
        seed,
        counts if isinstance(counts, tuple) else (counts,) * len(sites),
        tuple(site.units for site in sites),
        tuple(records),
        trainer.model,
    )


class _Trainer:
    """A network on its way."""

    def __init__(
        self,
        task: Task,
        noise: lr.Noise | None,
        home: Backend,
        seed: int,
        epochs: int,
        label: str | None,
    ) -> None:
        self._task, self._noise, self._home = task, noise, home
        self._train, self._test = task.train.on(home), task.test.on(home)
        self._rng = np.random.default_rng(seed)
        self._total = epochs * self._train.n_batches(task.batch_size)
        self._done = 0
        self.bar = _bar(self._total, f"{task.name} {label}" if label else None)
        self.model = _on(task.model(seed), home)
        self._optimizer = lr.Adam(task.learning_rate)
        self._state = self._optimizer.init(self.model.params)

    def epoch(self) -> Epoch:
        """Go through the data once."""
        size = self._task.batch_size
        order = self._home.asarray(self._rng.permutation(len(self._train)))
        losses, flops = [], 0
        wall, process = time.perf_counter(), time.process_time()
        for x, target in self._train.batches(size, order):
            estimate = self._estimate(x, target)
            self._learn(estimate)
            losses.append(estimate.value)
            flops += estimate.flops
            self.bar.update()
        self._home.synchronize()
        wall, process = time.perf_counter() - wall, time.process_time() - process
        accuracy = self._test.accuracy(self.model)
        cosines, delta_cosines = self._compare(*next(self._train.batches(size)))
        self.bar.set_postfix(accuracy=f"{accuracy:.3f}")
        return Epoch(float(np.mean(losses)), accuracy, wall, process, flops, cosines, delta_cosines)

    def _estimate(self, x: Any, target: Any) -> lr.Estimate:
        if self._noise is None:
            estimate = self._exact(x, target)
        else:
            noise = self._noise.iteration(self._done)
            estimate = lr.value_and_grad(
                self.model, self._task.loss, noise, x, target, backend=self._home.name
            )
        if not math.isfinite(estimate.value):
            raise FloatingPointError(
                f"the loss of {self._task.name} is {estimate.value} after {self._done} updates: "
                "try a smaller learning rate."
            )
        return estimate

    def _exact(self, x: Any, target: Any) -> lr.Estimate:
        return lr.backpropagate(self.model, self._task.loss, x, target, backend=self._home.name)

    def _learn(self, estimate: lr.Estimate) -> None:
        """Update the parameters, at a rate that falls along half a cosine."""
        share = (self._done + 0.5) / self._total
        rate = self._task.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
        params = self.model.params
        grads = tuple(
            {name: g + self._decay(layer[name]) for name, g in layer_grads.items()}
            for layer, layer_grads in zip(params, estimate.grads, strict=True)
        )
        optimizer = replace(self._optimizer, learning_rate=rate)
        params, self._state = optimizer.step(params, grads, self._state)
        self.model = self.model.with_params(params)
        self._done += 1

    def _decay(self, param: Any) -> Any:
        return self._task.weight_decay * param if param.ndim == 2 else 0.0

    def _compare(self, x: Any, target: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the cosines between estimated and exact gradients, and deltas."""
        if self._noise is None or not self._task.differentiable:
            return (), ()
        estimate, exact = self._estimate(x, target), self._exact(x, target)
        gradients = [lr.cosine(a, b) for a, b in zip(estimate.grads, exact.grads, strict=True) if b]
        perturbed = {site.layer for site in lr.sites(self.model, x, backend=self._home.name)}
        deltas = [
            _mean_cosine(*(self._home.to_numpy(e.deltas[i]) for e in (estimate, exact)))
            for i in sorted(perturbed)
        ]
        return tuple(gradients), tuple(deltas)


def _mean_cosine(estimate: Any, exact: Any) -> float:
    """Return the mean cosine of data whose exact delta is not zero; data before units."""
    axes = tuple(axis for axis in range(exact.ndim) if axis != exact.ndim - 2)
    inner = (estimate * exact).sum(axis=axes)
    norms = np.sqrt((estimate**2).sum(axis=axes) * (exact**2).sum(axis=axes))
    return float(np.mean(inner[norms > 0] / norms[norms > 0]))


def _on(model: Any, home: Backend) -> Any:
    return model.with_params(
        tuple({name: home.asarray(a) for name, a in layer.items()} for layer in model.params)
    )


class _NoBar:
    """Shows nothing."""

    def update(self) -> None:
        pass

    def set_postfix(self, **values: str) -> None:
        pass

    def close(self) -> None:
        pass


def _bar(total: int, label: str | None) -> Any:
    if label is None:
        return _NoBar()
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise ImportError(
            "`progress=True` needs tqdm: pip install 'seqsolve[progress]' (or tqdm)."
        ) from None
    return tqdm(total=total, desc=label, unit="batch")
