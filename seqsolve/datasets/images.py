"""Pictures of handwritten digits."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from seqsolve.datasets.files import (
    DatasetError,
    Source,
    directory,
    obtain,
    require_labels,
    require_shape,
)

_MNIST = Source(
    "mnist.npz",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
)
_MNIST_KEYS = {  # this file's names, and those of Keras
    "train_images": "x_train",
    "train_labels": "y_train",
    "test_images": "x_test",
    "test_labels": "y_test",
}
_N_DIGITS_TEST = 360


@dataclass(frozen=True)
class Images:
    """Labelled pictures in two splits.

    Parameters
    ----------
    train_images, test_images : ndarray, shape (n_images, height, width), float32
        Grey levels from 0 to 1.
    train_labels, test_labels : ndarray, shape (n_images,), int64
        Classes, from 0.
    """

    train_images: npt.NDArray[np.float32]
    train_labels: npt.NDArray[np.int64]
    test_images: npt.NDArray[np.float32]
    test_labels: npt.NDArray[np.int64]


def mnist(path: str | os.PathLike[str] | None = None, *, progress: bool = False) -> Images:
    """Return MNIST: 60,000 handwritten digits to train on and 10,000 to test.

    Parameters
    ----------
    path : path, optional
        Directory of ``mnist.npz``, which is downloaded (11 MB) if it is not there. By default
        the directory that ``SEQSOLVE_DATA`` names, else the user's cache.
    progress : bool, optional
        Whether to show a progress bar of the download (needs tqdm).

    Returns
    -------
    Images
        Pictures of 28 x 28 pixels in 10 classes.

    Raises
    ------
    DatasetError
        If the file cannot be had or is not MNIST.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition,
    Proc. IEEE 86 (1998). The file and its checksum are those of Keras.

    Examples
    --------
    >>> from seqsolve import datasets
    >>> datasets.mnist().train_images.shape  # doctest: +SKIP
    (60000, 28, 28)
    """
    file = obtain(_MNIST, directory(path), progress)
    with np.load(file) as archive:
        missing = [a for a, b in _MNIST_KEYS.items() if a not in archive and b not in archive]
        if missing:
            raise DatasetError(f"{file} must hold {', '.join(_MNIST_KEYS)}; {missing} are missing.")
        arrays = {a: archive[a if a in archive else b] for a, b in _MNIST_KEYS.items()}
    for split, n in (("train", 60_000), ("test", 10_000)):
        images, labels = f"{split}_images", f"{split}_labels"
        require_shape(images, arrays[images], (n, 28, 28), file)
        require_shape(labels, arrays[labels], (n,), file)
        arrays[images] = _unit_range(arrays[images], 255)
        arrays[labels] = require_labels(labels, arrays[labels], 10, file)
    return Images(**arrays)


def digits() -> Images:
    """Return the small handwritten digits of scikit-learn, which need no download.

    Returns
    -------
    Images
        Pictures of 8 x 8 pixels in 10 classes: 1,437 to train on and the last 360 to test.

    Raises
    ------
    DatasetError
        If scikit-learn is not installed.

    References
    ----------
    Alpaydin, Kaynak, Optical recognition of handwritten digits, UCI Machine Learning Repository
    (1998).

    Examples
    --------
    >>> from seqsolve import datasets
    >>> datasets.digits().train_images.shape
    (1437, 8, 8)
    """
    if find_spec("sklearn") is None:
        raise DatasetError("digits() needs scikit-learn, which brings them: install scikit-learn.")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images, labels = _unit_range(bunch.images, 16), bunch.target.astype(np.int64)
    return Images(
        images[:-_N_DIGITS_TEST],
        labels[:-_N_DIGITS_TEST],
        images[-_N_DIGITS_TEST:],
        labels[-_N_DIGITS_TEST:],
    )


def _unit_range(levels: npt.NDArray[Any], largest: int) -> npt.NDArray[np.float32]:
    return levels.astype(np.float32) / np.float32(largest)
