"""What is trained: a network, data, and settings that suit them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from seqsolve import _checks, datasets, models
from seqsolve import likelihood_ratio as lr
from seqsolve.backend import Array, Backend

#: So many articles of AG-News are trained on; of all 120,000, a pass takes twenty times as long.
_N_ARTICLES = 6_000

_Path = str | os.PathLike[str] | None


@dataclass(frozen=True, eq=False)
class Split:
    """Data to train on, or to test.

    Parameters
    ----------
    x : array
        Input of a model.
    labels : array of int, shape (n_data,)
        Classes.
    weights : array, shape (n_data,), optional
        What each datum counts; None counts all the same. Those of a graph's nodes choose a split.
    axis : int, optional
        The axis of `x` that counts data; None where data cannot be separated, as in a graph.

    Raises
    ------
    TypeError, ValueError
        Labels are no integers, or not one for each datum.

    Examples
    --------
    >>> import numpy as np
    >>> from seqsolve import training
    >>> split = training.Split(np.eye(3), np.array([0, 1, 2]))
    >>> split.accuracy(lambda x: x)
    1.0
    """

    x: Array
    labels: Array
    weights: Array | None = None
    axis: int | None = 0

    def __post_init__(self) -> None:
        x, labels = _checks.array("x", self.x), _checks.array("labels", self.labels)
        if _checks.as_dtype(labels.dtype).kind not in "iub":
            raise TypeError(f"`labels` must be integers; got {labels.dtype} values.")
        if len(labels.shape) != 1 or labels.shape[0] == 0:
            raise ValueError(
                f"`labels` must have shape (n_data,), one at least; got {tuple(labels.shape)}."
            )
        if self.axis is not None and x.shape[self.axis] != labels.shape[0]:
            raise ValueError(
                f"`labels` must be one for each of the {x.shape[self.axis]} data on axis "
                f"{self.axis} of `x`; got {labels.shape[0]}."
            )
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "labels", labels)
        if self.weights is not None:
            weights = _checks.array("weights", self.weights)
            if tuple(weights.shape) != tuple(labels.shape):
                raise ValueError(
                    f"`weights` must have shape {tuple(labels.shape)}, as `labels`; "
                    f"got {tuple(weights.shape)}."
                )
            object.__setattr__(self, "weights", weights)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def target(self) -> Any:
        """What the loss needs: labels, and weights if there are any."""
        return _target(self.labels, self.weights)

    def on(self, backend: Backend) -> Split:
        """Return the same data as arrays of a backend.

        Parameters
        ----------
        backend : Backend
            The backend.

        Returns
        -------
        Split
            The same, moved.
        """
        weights = None if self.weights is None else backend.asarray(self.weights)
        return Split(backend.asarray(self.x), backend.asarray(self.labels), weights, self.axis)

    def n_batches(self, size: int) -> int:
        """Return how many batches there are.

        Parameters
        ----------
        size : int
            Data in a batch.

        Returns
        -------
        int
            1 where data cannot be separated.
        """
        return 1 if self.axis is None else math.ceil(len(self) / size)

    def batches(self, size: int, order: Array | None = None) -> Iterator[tuple[Array, Any]]:
        """Yield batches.

        Parameters
        ----------
        size : int
            Data in a batch; the last may have fewer. Where data cannot be separated, all are one.
        order : array of int, optional
            Numbers of the data, in the order in which they come.

        Yields
        ------
        x : array
            Input of the model.
        target
            What the loss needs.
        """
        if self.axis is None:
            yield self.x, self.target
            return
        for start in range(0, len(self), size):
            chosen: Any = slice(start, start + size)
            if order is not None:
                chosen = order[chosen]
            place = (slice(None),) * self.axis + (chosen,)
            weights = self.weights if self.weights is None else self.weights[chosen]
            yield self.x[place], _target(self.labels[chosen], weights)

    def accuracy(self, model: Any, *, batch_size: int = 2_000) -> float:
        """Return the share of data that a model classifies as labelled.

        Parameters
        ----------
        model : callable
            Returns one number for each datum and class.
        batch_size : int, optional
            How many data are classified together.

        Returns
        -------
        float
            Between 0 and 1, weighted if the data are.
        """
        right = 0.0
        for x, target in self.batches(batch_size):
            labels, weights = (target, 1.0) if self.weights is None else target
            right += float(((model(x).argmax(axis=-1) == labels) * weights).sum())
        return right / (len(self) if self.weights is None else float(self.weights.sum()))


@dataclass(frozen=True, eq=False)
class Task:
    """A network, its data, and how it is trained.

    Parameters
    ----------
    name : str
        What it is called.
    model : callable
        ``model(seed)`` returns the network before training, a `models.Stack`.
    train, test : Split
        The data.
    loss : callable
        As for :func:`seqsolve.likelihood_ratio.value_and_grad`.
    batch_size, epochs : int
        Data in a batch; how often to go through all of them.
    learning_rate : float
        Adam's at the beginning; it falls along half a cosine.
    sigma : float
        Scale of the noise, relative to what it is added to.
    copies : int
        Copies of every datum.
    weight_decay : float, optional
        ``weight_decay * W`` is added to the gradient of every matrix of weights.
    differentiable : bool, optional
        Whether there are exact gradients. Where an activation or the loss jumps, there are none:
        estimates are not compared, and back-propagation raises.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    Examples
    --------
    Points, classified by units that jump, with the number of errors as the loss:

    >>> import numpy as np
    >>> from seqsolve import likelihood_ratio, models, training
    >>> x = np.random.default_rng(0).standard_normal((600, 2))
    >>> labels = (x.sum(axis=1) > 0).astype(int)
    >>> task = training.Task(
    ...     name="points",
    ...     model=lambda seed: models.MLP.random((2, 16, 2), activation="threshold", rng=seed),
    ...     train=training.Split(x[:500], labels[:500]),
    ...     test=training.Split(x[500:], labels[500:]),
    ...     loss=likelihood_ratio.zero_one,
    ...     batch_size=50,
    ...     epochs=10,
    ...     learning_rate=0.03,
    ...     sigma=0.3,
    ...     copies=16,
    ...     differentiable=False,
    ... )
    >>> training.fit(task).accuracy > 0.9
    True
    """

    name: str
    model: Callable[[int], Any]
    train: Split
    test: Split
    loss: Any
    batch_size: int
    epochs: int
    learning_rate: float
    sigma: float
    copies: int
    weight_decay: float = 0.0
    differentiable: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.model, lr.Model):
            raise TypeError(
                "`model` must be a function of a seed that returns a network, as "
                f"`lambda seed: network` is; got a network ({type(self.model).__name__})."
            )
        _checks.function("model", self.model)
        _checks.function("loss", self.loss)
        for name in ("train", "test"):
            if not isinstance(split := getattr(self, name), Split):
                raise TypeError(f"`{name}` must be a Split(x, labels); got {type(split).__name__}.")
        for name in ("batch_size", "epochs", "copies"):
            _checks.integer(name, getattr(self, name), 1)
        for name in ("learning_rate", "sigma", "weight_decay"):
            _checks.real(name, getattr(self, name), 0.0)


def _target(labels: Array, weights: Array | None) -> Any:
    return labels if weights is None else (labels, weights)


def mnist_mlp(path: _Path = None) -> Task:
    """Return MNIST for a multilayer perceptron of 784-256-128-10 units.

    Parameters
    ----------
    path : path, optional
        Directory of the data, as for `seqsolve.datasets.mnist`.

    Returns
    -------
    Task
        The task.

    Examples
    --------
    >>> from seqsolve import training
    >>> training.mnist_mlp().train.x.shape  # doctest: +SKIP
    (60000, 784)
    """
    return _images("mnist-mlp", datasets.mnist(path), (256, 128), 250, epochs=8, rate=2e-3)


def digits_mlp(path: _Path = None) -> Task:
    """Return scikit-learn's digits for a multilayer perceptron of 64-64-32-10 units.

    Parameters
    ----------
    path : path, optional
        Not used: the data come with scikit-learn.

    Returns
    -------
    Task
        The task.

    Examples
    --------
    >>> from seqsolve import training
    >>> task = training.digits_mlp()
    >>> task.train.accuracy(task.model(0)) < 0.3
    True
    """
    return _images("digits-mlp", datasets.digits(), (64, 32), 48, epochs=12, rate=5e-3)


def ag_news(
    path: _Path = None, *, cell: str = "rnn", n_steps: int = 48, n_embedding: int = 128
) -> Task:
    """Return AG-News for a recurrent network of 16 units.

    Words have fixed vectors, made of the training texts without their labels
    (:func:`seqsolve.datasets.word_vectors`). Of the articles to train on, those that also stand
    in the test are left out, and at most 6,000 of the others are taken, at random.

    Parameters
    ----------
    path : path, optional
        Directory of the data, as for `seqsolve.datasets.ag_news`.
    cell : {"rnn", "lstm", "gru"}
        Which recurrence. With long short-term memory, four times as many numbers are perturbed.
    n_steps, n_embedding : int
        Words of an article that are read, and size of their vectors.

    Returns
    -------
    Task
        The task. The mean of the states is classified.

    Examples
    --------
    >>> from seqsolve import training
    >>> training.ag_news().train.x.shape  # doctest: +SKIP
    (48, 6000)
    """
    news = datasets.ag_news(path)
    chosen = _selection(news)
    train_texts = [news.train_texts[i] for i in chosen]
    vocabulary = datasets.Vocabulary.of(train_texts, min_count=2)
    train, test = (
        vocabulary.encode(texts, n_steps=n_steps) for texts in (train_texts, news.test_texts)
    )
    vectors = datasets.word_vectors(train, len(vocabulary), n_embedding)

    def model(seed: int) -> Any:
        drawn = models.RNN.random(1, n_embedding, 16, 4, cell=cell, dtype="float32", rng=seed)
        return models.Stack((models.layers.Embedding(vectors, trainable=False), *drawn.layers[1:]))

    return Task(
        f"ag-news-{cell}",
        model,
        Split(train, news.train_labels[chosen], axis=1),
        Split(test, news.test_labels, axis=1),
        lr.cross_entropy,
        batch_size=200,
        epochs=8,
        learning_rate=5e-3,
        sigma=0.03,
        copies=32,
    )


def cora_gcn(path: _Path = None) -> Task:
    """Return Cora for a graph convolutional network of 1433-16-7 units.

    Parameters
    ----------
    path : path, optional
        Directory of the data, as for `seqsolve.datasets.cora`.

    Returns
    -------
    Task
        The task: all nodes are one batch, and 140 have labels to train on. The rows of the
        features have sum 1.

    References
    ----------
    Kipf, Welling, arXiv:1609.02907, whose settings these are, without dropout.

    Examples
    --------
    >>> from seqsolve import training
    >>> training.cora_gcn().train.x.shape  # doctest: +SKIP
    (2708, 1433)
    """
    graph = datasets.cora(path)
    adjacency = datasets.normalized_adjacency(graph.adjacency)
    x = graph.features.toarray()
    x /= np.maximum(x.sum(axis=1, keepdims=True), 1)
    n_nodes, n_features = x.shape

    def split(index: npt.NDArray[np.int64]) -> Split:
        weights = np.zeros(n_nodes, np.float32)
        weights[index] = n_nodes / len(index)
        return Split(x, graph.labels, weights, axis=None)

    return Task(
        "cora-gcn",
        lambda seed: models.GCN.random((n_features, 16, 7), adjacency, dtype="float32", rng=seed),
        split(graph.train_index),
        split(graph.test_index),
        lr.masked(lr.cross_entropy),
        batch_size=n_nodes,
        epochs=200,
        learning_rate=0.01,
        sigma=0.03,
        copies=16,
        weight_decay=5e-4,
    )


def _images(
    name: str,
    images: datasets.Images,
    hidden: tuple[int, ...],
    batch_size: int,
    *,
    epochs: int,
    rate: float,
) -> Task:
    n_pixels = images.train_images[0].size
    return Task(
        name,
        lambda seed: models.MLP.random((n_pixels, *hidden, 10), dtype="float32", rng=seed),
        Split(images.train_images.reshape(-1, n_pixels), images.train_labels),
        Split(images.test_images.reshape(-1, n_pixels), images.test_labels),
        lr.cross_entropy,
        batch_size=batch_size,
        epochs=epochs,
        learning_rate=rate,
        sigma=0.03,
        copies=16,
    )


def _selection(news: datasets.Articles) -> npt.NDArray[np.int64]:
    """Return which articles to train on: those that the test lacks, at most `_N_ARTICLES`."""
    tested = set(news.test_texts)
    fresh = np.array([i for i, text in enumerate(news.train_texts) if text not in tested])
    if len(fresh) <= _N_ARTICLES:
        return fresh
    return np.sort(np.random.default_rng(0).choice(fresh, _N_ARTICLES, replace=False))


#: The tasks by name; each takes the directory of its data.
TASKS: dict[str, Callable[[_Path], Task]] = {
    "mnist-mlp": mnist_mlp,
    "ag-news-rnn": ag_news,
    "ag-news-lstm": partial(ag_news, cell="lstm"),
    "cora-gcn": cora_gcn,
    "digits-mlp": digits_mlp,
}
